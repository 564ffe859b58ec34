"""The examples do what they say."""

from tests.running import ROOT, Running

EXAMPLES = ROOT / "config" / "examples"


def test_every_example_is_tested_here(picloud: Running) -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.lua")) == ["hello", "status", "transform"]


def test_hello_greets_by_name(picloud: Running) -> None:
    picloud.deploy("hello", (EXAMPLES / "hello.lua").read_bytes())
    assert picloud.call("GET", "/fn/hello").body == b"hello world\n"
    assert picloud.call("GET", "/fn/hello?name=Ada%20L").body == b"hello Ada L\n"


def test_transform_turns_a_push_into_a_message(picloud: Running) -> None:
    picloud.deploy("transform", (EXAMPLES / "transform.lua").read_bytes())
    push = b'{"repository": {"name": "x"}, "commits": [{"message": "fix\\nlong", "author": {"name": "Ada"}}]}'
    answer = picloud.call("POST", "/fn/transform", push)
    assert answer.json == {"text": "1 new commits in x", "attachments": [{"author": "Ada", "title": "fix"}]}
    empty = picloud.call("POST", "/fn/transform", b'{"repository": {"name": "x"}, "commits": []}')
    assert empty.json["attachments"] == []
    assert picloud.call("POST", "/fn/transform", b"{}").status == 422
    assert picloud.call("POST", "/fn/transform", b"nonsense").problem == "invalid-request"
    refused = picloud.call("GET", "/fn/transform")
    assert (refused.status, refused.header("allow")) == (405, "POST")


def test_status_is_a_page_that_escapes_what_it_shows(picloud: Running) -> None:
    picloud.deploy("status", (EXAMPLES / "status.lua").read_bytes())
    answer = picloud.call("GET", "/fn/status", headers={"user-agent": "<script>"})
    assert answer.header("content-type") == "text/html; charset=utf-8"
    assert b"&lt;script&gt;" in answer.body
    assert b"<script>" not in answer.body
