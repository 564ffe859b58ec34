"""The control plane over HTTP."""

import pytest

from tests.running import Answer, Running


def test_an_upload_answers_with_version_and_url(picloud: Running) -> None:
    answer = picloud.api("PUT", "scripts/uploaded", b"return 'one'", "text/x-lua")
    assert (answer.status, answer.json) == (201, {"script": "uploaded", "version": 1, "url": "/fn/uploaded"})
    assert answer.header("etag") == '"1"'
    assert picloud.call("GET", answer.json["url"]).body == b"one"


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "text/plain; charset=utf-8", "application/octet-stream", "application/x-www-form-urlencoded"],
)
def test_lua_comes_under_several_types(picloud: Running, content_type: str) -> None:
    assert (
        picloud.api("POST", "scripts?name=typed", b"return '" + content_type.encode() + b"'", content_type).status
        == 201
    )


def test_an_upload_by_name_says_where_the_script_is(picloud: Running) -> None:
    made = picloud.api("POST", "scripts?name=placed", b"return 1", "text/x-lua")
    assert (made.status, made.header("location")) == (201, "/api/v1/scripts/placed")
    again = picloud.api("POST", "scripts?name=placed", b"return 1", "text/x-lua")
    assert (again.status, again.header("location")) == (200, None)


def test_another_type_is_refused(picloud: Running) -> None:
    assert picloud.api("PUT", "scripts/typed", b"{}", "image/png").problem == "unsupported-media-type"


def test_the_same_source_again_is_200_and_no_new_version(picloud: Running) -> None:
    picloud.deploy("same", "return 1")
    answer = picloud.api("PUT", "scripts/same", b"return 1", "text/x-lua")
    assert (answer.status, answer.json["version"]) == (200, 1)


def test_a_source_that_does_not_compile_leaves_the_active_version(picloud: Running) -> None:
    picloud.deploy("stays", 'return "old"')
    answer = picloud.api("PUT", "scripts/stays", b"return 1\nlocal x = = 2\n", "text/x-lua")
    assert (answer.status, answer.problem) == (422, "syntax-error")
    assert (answer.json["file"], answer.json["line"]) == ("main.lua", 2)
    assert "main.lua:2:" in answer.json["detail"]
    assert picloud.call("GET", "/fn/stays").body == b"old"
    assert len(picloud.api("GET", "scripts/stays/versions").json["items"]) == 1


def test_a_source_that_takes_too_much_to_compile_is_refused(picloud: Running) -> None:
    bomb = b"if a then " + b"elseif a then " * 70_000 + b"end"
    answer = picloud.api("PUT", "scripts/bomb", bomb, "text/x-lua")
    assert (answer.problem, answer.status) == ("syntax-error", 422)
    assert "within the limits" in answer.json["detail"]
    assert picloud.api("GET", "scripts/bomb").status == 404


@pytest.mark.parametrize(
    "path", ["//api/v1/scripts", "///api/v1/logs", "/%61pi/v1/scripts", "//healthz", "/api//v1/scripts"]
)
def test_a_path_with_tricks_opens_nothing(picloud: Running, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()
    assert picloud.raw(request).split(b" ")[1] in (b"401", b"404")


def test_bytecode_is_refused(picloud: Running) -> None:
    assert picloud.api("PUT", "scripts/bytecode", b"\x1bLuaT\0\x19", "text/x-lua").problem == "syntax-error"


def test_a_rollback_is_live_at_once_and_history_stays(picloud: Running) -> None:
    for text in ("one", "two"):
        picloud.deploy("history", f"return '{text}'")
    assert picloud.api("PUT", "scripts/history/active", {"version": 1}).json["active_version"] == 1
    assert {picloud.call("GET", "/fn/history").body for _ in range(20)} == {b"one"}
    assert [it["version"] for it in picloud.api("GET", "scripts/history/versions").json["items"]] == [2, 1]
    assert picloud.api("GET", "scripts/history/versions/2?source=true").json["source"] == "return 'two'"


def test_a_deleted_script_is_gone_and_its_invocations_stay(picloud: Running) -> None:
    picloud.deploy("gone", "return 1")
    record = picloud.record_of(picloud.call("GET", "/fn/gone"))
    assert picloud.api("DELETE", "scripts/gone").status == 204
    assert {picloud.call("GET", "/fn/gone").status for _ in range(20)} == {404}
    assert picloud.api("GET", "scripts/gone").problem == "not-found"
    assert picloud.api("GET", "invocations?script=gone").json["items"] == [record]


def test_invoke_runs_the_script_with_this_body(picloud: Running) -> None:
    picloud.deploy(
        "invoked",
        "return function(r) return { r.method, r.path, r.trigger, r:json().x, r.headers['content-type'] } end",
    )
    answer = picloud.api("POST", "scripts/invoked/invoke", {"x": 7})
    assert answer.json == ["POST", "/", "invoke", 7, "application/json"]
    assert picloud.record_of(answer)["trigger"] == "invoke"


def test_lists_come_in_pages(picloud: Running) -> None:
    for name in ("page-a", "page-b", "page-c"):
        picloud.deploy(name, "return 1")
    names, after = [], "page-"
    while after:
        page = picloud.api("GET", f"scripts?limit=2&after={after}").json
        names += [it["name"] for it in page["items"]]
        after = page["next"]
    assert names[:3] == ["page-a", "page-b", "page-c"]


def test_a_refusal_says_how_to_be_let_in(picloud: Running) -> None:
    answer = picloud.call("GET", "/api/v1/scripts")
    assert (answer.status, answer.problem) == (401, "unauthorized")
    assert answer.header("www-authenticate") == "Bearer"


@pytest.mark.parametrize(
    ("method", "path", "body", "problem"),
    [
        ("GET", "scripts?limit=0", None, "invalid-request"),
        ("GET", "scripts?limit=x", None, "invalid-request"),
        ("GET", "logs?after=x", None, "invalid-request"),
        ("GET", "logs?invocation=x", None, "invalid-request"),
        ("GET", "invocations?after=x", None, "invalid-request"),
        ("GET", "invocations/x", None, "not-found"),
        ("GET", "scripts/typed/versions/x", None, "not-found"),
        ("GET", "scripts/typed/versions/99", None, "not-found"),
        ("PUT", "scripts/Bad_Name", b"return 1", "invalid-request"),
        ("POST", "scripts", b"return 1", "invalid-request"),
        ("PUT", "scripts/typed/active", b"{", "invalid-request"),
        ("PUT", "scripts/typed/active", b'{"version": "1"}', "invalid-request"),
        ("PUT", "scripts/typed/active", b'{"version": 1, "x": 2}', "invalid-request"),
        ("PUT", "scripts/typed/active", b'{"version": 99}', "not-found"),
        ("PUT", "scripts/typed/active", b'{"\xff": 1}', "invalid-request"),
        ("PUT", "scripts/typed/active", b'{"version": 1, "\xed\xa0\x80": 1}', "invalid-request"),
        ("PUT", "scripts/typed/active", b'{"version": 99999999999999999999}', "invalid-request"),
        ("PUT", "scripts/big", b"--" + b"x" * 1024 * 1024, "body-too-large"),
        ("PUT", "scripts/typed?activate=maybe", b"return 2", "invalid-request"),
        ("PUT", "scripts/typed?activated=false", b"return 2", "invalid-request"),
        ("GET", "scripts/typed/versions/1?source=x", None, "invalid-request"),
        ("GET", "scripts/%00", None, "not-found"),
        ("GET", "scripts/%0Aforged", None, "not-found"),
        ("GET", "scripts?after=%00", None, "invalid-request"),
        ("GET", "scripts?after=", None, "invalid-request"),
        ("GET", "invocations?after=", None, "invalid-request"),
        ("GET", "routes?after=", None, "invalid-request"),
        ("GET", "logs?script=%00", None, "invalid-request"),
        ("GET", "invocations?script=%00", None, "invalid-request"),
        ("POST", "scripts?name=%00", b"return 1", "invalid-request"),
        ("PATCH", "scripts", b"", "method-not-allowed"),
        ("GET", "no-such-thing", None, "not-found"),
    ],
)
def test_bad_input_is_a_problem_that_says_what(
    picloud: Running, method: str, path: str, body: bytes | None, problem: str
) -> None:
    picloud.deploy("typed", "return 1")
    content_type = "application/json" if path.endswith("/active") else "text/plain"
    answer = picloud.api(method, path, body, content_type)
    assert answer.problem == problem
    assert answer.json["detail"]


def test_a_parameter_that_is_missing_is_named(picloud: Running) -> None:
    answer = picloud.api("POST", "scripts", b"return 1", "text/x-lua")
    assert (answer.problem, answer.json["detail"]) == ("invalid-request", "?name: is missing")
    assert answer.json["errors"] == [{"field": "name", "message": "is missing"}]


@pytest.mark.parametrize(
    ("method", "path"),
    [("PATCH", "scripts/typed/settings"), ("PUT", "scripts/typed/active"), ("POST", "routes"), ("POST", "tokens")],
)
def test_a_body_of_json_has_one_rule_everywhere(picloud: Running, method: str, path: str) -> None:
    picloud.deploy("typed", "return 1")
    assert picloud.api(method, path, b"[]", "text/plain").problem == "unsupported-media-type"
    for content_type in ("application/x-www-form-urlencoded", "application/merge-patch+json"):
        assert picloud.api(method, path, b"[]", content_type).problem == "invalid-request"


def test_a_version_that_is_not_there_is_named(picloud: Running) -> None:
    picloud.deploy("typed", "return 1")
    assert picloud.api("GET", "scripts/typed/versions/99").json["detail"] == "script 'typed' has no version 99"
    assert picloud.api("GET", "scripts/none/versions/1").json["detail"] == "there is no script 'none'"


def test_405_lists_what_is_allowed(picloud: Running) -> None:
    assert "GET" in (picloud.api("PATCH", "scripts").header("allow") or "")


def test_health_needs_no_token(picloud: Running) -> None:
    assert picloud.call("GET", "/healthz").json == {"status": "ok"}
    ready = picloud.call("GET", "/readyz")
    assert (ready.status, ready.json["checks"]) == (200, {"database": "ok", "executor": "ok"})


def test_the_front_page_is_html_or_json(picloud: Running) -> None:
    assert (picloud.call("GET", "/").header("content-type") or "").startswith("text/html")
    assert picloud.call("GET", "/", headers={"accept": "application/json"}).json["name"] == "PiCloud"


def test_every_problem_has_a_page(picloud: Running) -> None:
    kind = picloud.call("GET", "/nowhere").json["type"]
    assert picloud.call("GET", kind).status == 200
    assert picloud.call("GET", "/problems/none").problem == "not-found"


def conditional(picloud: Running, header: str, value: str, source: bytes) -> tuple[int, str]:
    headers = {"authorization": f"Bearer {picloud.token}", "content-type": "text/x-lua", header: value}
    answer = picloud.call("PUT", "/api/v1/scripts/conditional", source, headers)
    return answer.status, "" if answer.status < 400 else answer.problem


def test_an_upload_may_ask_that_nobody_was_faster(picloud: Running) -> None:
    assert conditional(picloud, "if-none-match", "*", b"return 1") == (201, "")
    assert conditional(picloud, "if-none-match", "*", b"return 2") == (412, "precondition-failed")
    assert conditional(picloud, "if-match", '"7"', b"return 2") == (412, "precondition-failed")
    assert conditional(picloud, "if-match", "nonsense", b"return 2") == (412, "precondition-failed")
    assert conditional(picloud, "if-match", '"1"', b"return 2") == (201, "")
    assert picloud.call("GET", "/fn/conditional").body == b"2"


def test_every_change_of_a_script_may_ask_that_nobody_was_faster(picloud: Running) -> None:
    for version in ("1", "2"):
        picloud.deploy("matched", f"return {version}")
    path = "/api/v1/scripts/matched"
    key = {"authorization": f"Bearer {picloud.token}"}

    def activate(version: int, match: str) -> Answer:
        body = f'{{"version": {version}}}'.encode()
        return picloud.call(
            "PUT", f"{path}/active", body, {**key, "content-type": "application/json", "if-match": match}
        )

    assert activate(1, '"1"').problem == "precondition-failed"
    done = activate(1, '"7", "2"')
    assert (done.status, done.header("etag"), done.json["active_version"]) == (200, '"1"', 1)
    refused = picloud.call("DELETE", path, headers={**key, "if-match": '"2", W/"1"'})
    assert (refused.status, refused.problem) == (412, "precondition-failed")
    assert refused.json["detail"] == "version 2 of 'matched' is not active: version 1 is active"
    assert picloud.api("GET", "scripts/matched").header("etag") == '"1"'
    assert picloud.call("DELETE", path, headers={**key, "if-match": '"1"'}).status == 204
    assert picloud.call("DELETE", path, headers={**key, "if-match": '"1"'}).status == 404


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/problems/timeout"])
def test_monitors_may_ask_with_head(picloud: Running, path: str) -> None:
    answer = picloud.call("HEAD", path)
    assert (answer.status, answer.body) == (200, b"")
