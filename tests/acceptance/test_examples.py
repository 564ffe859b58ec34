"""The examples do what they say."""

import base64
import gzip
import hashlib
import hmac
import io
import json
import tarfile
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest

from tests.documents import rows, section
from tests.running import ROOT, Answer, Running

EXAMPLES = ROOT / "config" / "examples"
STATELESS = {"badge", "csv", "form", "guarded", "hello", "redirects", "shop", "status", "transform", "webhook"}
STATEFUL = {
    "chatbot",
    "feed",
    "guestbook",
    "hits",
    "orders",
    "pushes",
    "shortener",
    "stock",
    "watch",
}  # tested in test_stateful_examples.py
TESTED = STATELESS | STATEFUL

FORM = {"content-type": "application/x-www-form-urlencoded"}


def test_every_example_is_tested_here() -> None:
    assert {path.stem for path in EXAMPLES.iterdir()} == TESTED


def test_every_example_is_listed_in_the_docs() -> None:
    listed = rows(section(ROOT / "docs" / "scripting.md", "## Examples"))
    assert {Path(cells[0].partition("](")[2].rstrip(")")).stem for cells in listed} == TESTED


@pytest.mark.parametrize("name", sorted(TESTED))
def test_an_example_begins_with_what_it_is(name: str) -> None:
    path = EXAMPLES / name
    main = path / "main.lua" if path.is_dir() else path.with_suffix(".lua")
    assert main.read_text(encoding="utf-8").startswith("-- ")


def deploy(picloud: Running, name: str) -> None:
    """Upload an example: its file, or its folder as a bundle."""
    path = EXAMPLES / name
    if not path.is_dir():
        picloud.deploy(name, path.with_suffix(".lua").read_bytes())
        return
    answer = picloud.api("PUT", f"scripts/{name}", bundle(path), "application/gzip")
    assert answer.status in (200, 201), answer


def bundle(folder: Path) -> bytes:
    """A folder as a .tar.gz."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.add(path, path.relative_to(folder).as_posix())
    return gzip.compress(packed.getvalue())


def post_json(picloud: Running, path: str, value: object) -> Answer:
    return picloud.call("POST", path, json.dumps(value).encode(), {"content-type": "application/json"})


def test_hello_greets_by_name(picloud: Running) -> None:
    deploy(picloud, "hello")
    assert picloud.call("GET", "/fn/hello").body == b"hello world\n"
    assert picloud.call("GET", "/fn/hello?name=Ada%20L").body == b"hello Ada L\n"


def test_transform_turns_a_push_into_a_message(picloud: Running) -> None:
    deploy(picloud, "transform")
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
    deploy(picloud, "status")
    answer = picloud.call("GET", "/fn/status", headers={"user-agent": "<script>"})
    assert answer.header("content-type") == "text/html; charset=utf-8"
    assert b"&lt;script&gt;" in answer.body
    assert b"<script>" not in answer.body


def test_form_thanks_after_a_redirect_and_logs_what_was_written(picloud: Running) -> None:
    deploy(picloud, "form")
    assert b"<form method=post>" in picloud.call("GET", "/fn/form").body
    fields = {"name": "Zoë", "email": "zoe@example.org", "message": "Two\nlines & more"}
    sent = picloud.call("POST", "/fn/form", urlencode(fields).encode(), FORM)
    assert (sent.status, sent.header("location")) == (303, "?sent=yes")
    assert b"Thank you" in picloud.call("GET", "/fn/form?sent=yes").body
    picloud.record_of(sent)
    lines = picloud.api("GET", f"logs?invocation={sent.header('picloud-invocation')}").json["items"]
    assert [line["fields"] for line in lines] == [fields]


@pytest.mark.parametrize(
    ("fields", "mistake"),
    [
        ({"name": "  ", "email": "a@b.example", "message": "x"}, "is missing"),
        ({"name": "Ada", "email": "nobody", "message": "x"}, "does not look right"),
        ({"name": "Ada", "email": "a@b.example", "message": "x" * 2001}, "has more than 2000 characters"),
        ({"name": b"\xff", "email": "a@b.example", "message": "x"}, "has more than 80 characters"),
        ({}, "is missing"),
    ],
)
def test_form_shows_what_is_wrong(picloud: Running, fields: dict[str, str], mistake: str) -> None:
    deploy(picloud, "form")
    answer = picloud.call("POST", "/fn/form", urlencode(fields).encode(), FORM)
    assert answer.status == 422
    assert f"<strong>{mistake}</strong>".encode() in answer.body


def test_form_gives_back_what_was_typed_and_escapes_it(picloud: Running) -> None:
    deploy(picloud, "form")
    typed = urlencode({"name": '"><script>alert(1)</script>'}).encode()
    answer = picloud.call("POST", "/fn/form", typed, FORM)
    assert b'value="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"' in answer.body
    assert b"<script>" not in answer.body
    assert picloud.call("POST", "/fn/form", b"{}", {"content-type": "application/json"}).problem == "invalid-request"


def test_badge_draws_label_and_message(picloud: Running) -> None:
    deploy(picloud, "badge")
    answer = picloud.call("GET", "/fn/badge?label=build&message=passing&color=green")
    assert answer.header("content-type") == "image/svg+xml; charset=utf-8"
    picture = ElementTree.fromstring(answer.body)
    texts = [node.text for node in picture.iter("{http://www.w3.org/2000/svg}text")]
    fills = [node.get("fill") for node in picture.iter("{http://www.w3.org/2000/svg}rect")]
    assert (texts, fills) == (["build", "passing"], ["#424242", "#2e7d32"])


@pytest.mark.parametrize("color", ['"/><script>', "1234567", "url(x)", ""])
def test_badge_is_a_picture_whatever_is_asked_for(picloud: Running, color: str) -> None:
    deploy(picloud, "badge")
    query = urlencode({"label": "<\"&'%d>", "message": "50 %", "color": color})
    picture = ElementTree.fromstring(picloud.call("GET", f"/fn/badge?{query}").body)
    texts = [node.text for node in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["<\"&'%d>", "50 %"]
    assert b"#616161" in ElementTree.tostring(picture)


def test_badge_refuses_text_that_is_too_long_or_none(picloud: Running) -> None:
    deploy(picloud, "badge")
    assert picloud.call("GET", "/fn/badge?label=" + "x" * 61).status == 422
    assert picloud.call("GET", "/fn/badge?message=%ff").status == 422


PUSH = json.dumps({"ref": "refs/heads/main", "repository": {"full_name": "a/b"}, "commits": [{}, {}]}).encode()


def trust(picloud: Running) -> None:
    """Have the example believe what is signed with s3cret."""
    assert picloud.api("PUT", "secrets/WEBHOOK_SECRET", {"value": "s3cret"}).status in (200, 201)
    picloud.set("webhook", {"secrets": ["WEBHOOK_SECRET"]})


def hook(picloud: Running, body: bytes, event: str, secret: bytes = b"s3cret") -> Answer:
    signature = hmac.new(secret, body, hashlib.sha256).hexdigest()
    headers = {"x-github-event": event, "x-hub-signature-256": f"sha256={signature}"}
    return picloud.call("POST", "/fn/webhook", body, headers)


def test_webhook_takes_what_is_signed(picloud: Running) -> None:
    deploy(picloud, "webhook")
    trust(picloud)
    assert hook(picloud, PUSH, "push").json == {"branch": "main", "commits": 2}
    assert hook(picloud, b'{"zen": "Keep it."}', "ping").json == {"answer": "pong", "zen": "Keep it."}
    assert hook(picloud, b"{}", "star").status == 204


def test_webhook_refuses_what_is_not_signed_with_its_secret(picloud: Running) -> None:
    deploy(picloud, "webhook")
    trust(picloud)
    assert hook(picloud, PUSH, "push", b"guess").status == 401
    assert picloud.call("POST", "/fn/webhook", PUSH, {"x-github-event": "push"}).status == 401
    tampered = hmac.new(b"s3cret", PUSH, hashlib.sha256).hexdigest()
    headers = {"x-github-event": "push", "x-hub-signature-256": f"sha256={tampered}"}
    assert picloud.call("POST", "/fn/webhook", PUSH + b" ", headers).status == 401
    assert picloud.call("GET", "/fn/webhook").header("allow") == "POST"


def test_webhook_without_a_secret_believes_nobody(picloud: Running) -> None:
    deploy(picloud, "webhook")
    picloud.set("webhook", {"secrets": ["WEBHOOK_SECRET"]})
    picloud.api("DELETE", "secrets/WEBHOOK_SECRET")
    answer = hook(picloud, PUSH, "push", b"")
    assert answer.problem == "script-error"
    assert "WEBHOOK_SECRET is not set" in answer.json["detail"]


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("a,b\n1,2\n", [{"a": "1", "b": "2"}]),
        ("a,b\r\n1,2\r\n\r\n3,4", [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]),
        ('a,b\n"x, ""y""","two\r\nlines"\n', [{"a": 'x, "y"', "b": "two\r\nlines"}]),
        ('a,b\n"",\n', [{"a": "", "b": ""}]),
        ('"a"\n""""\n', [{"a": '"'}]),
        ("\ufeffé\nü", [{"é": "ü"}]),
        ("a,b", []),
    ],
)
def test_csv_becomes_json(picloud: Running, text: str, objects: list[dict[str, str]]) -> None:
    deploy(picloud, "csv")
    assert picloud.call("POST", "/fn/csv", text.encode()).json == objects


def test_csv_takes_other_delimiters(picloud: Running) -> None:
    deploy(picloud, "csv")
    assert picloud.call("POST", "/fn/csv?delimiter=;", b"a;b\n1,5;2\n").json == [{"a": "1,5", "b": "2"}]
    assert picloud.call("POST", "/fn/csv?delimiter=%09", b"a\tb\n1\t2\n").json == [{"a": "1", "b": "2"}]
    assert picloud.call("POST", "/fn/csv?delimiter=a", b"a").status == 422


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (b"", 1, "there is nothing here"),
        (b"a,b\n1,2\n1\n", 3, "1 fields, but the first row names 2"),
        (b'a,b\n"x\ny",1,2\n', 2, "3 fields, but the first row names 2"),
        (b'a,b\n"x\ny",1\n1\n', 4, "1 fields, but the first row names 2"),
        (b'a\n1\n"open\n\n', 3, "a quote is not closed"),
        (b'a\n"x"y\n', 2, "after a field comes a delimiter or the end of the line"),
        (b'a\nx"y\n', 2, "after a field comes a delimiter or the end of the line"),
        (b"a,a\n", 1, "two fields have the name 'a'"),
        (b"a,\n", 1, "a field has no name"),
        (b"a\n\xff\n", 2, "this is no UTF-8"),
    ],
)
def test_csv_says_where_it_is_wrong(picloud: Running, text: bytes, line: int, problem: str) -> None:
    deploy(picloud, "csv")
    answer = picloud.call("POST", "/fn/csv", text)
    assert (answer.status, answer.json) == (422, {"line": line, "problem": problem})


@pytest.mark.parametrize("prefix", ["/go/", "/fn/redirects/"])
def test_redirects_lead_where_the_file_says(picloud: Running, prefix: str) -> None:
    deploy(picloud, "redirects")
    docs = picloud.call("GET", prefix + "docs")
    assert (docs.status, docs.header("location")) == (302, "https://example.org/documentation")
    assert picloud.call("GET", prefix + "old-blog").status == 301
    assert picloud.call("GET", prefix + "caf%C3%A9").header("location") == "https://example.org/menu"
    assert picloud.call("GET", prefix + "nowhere").status == 404


def test_redirects_sets_what_its_picloud_toml_says(picloud: Running) -> None:
    deploy(picloud, "redirects")
    assert picloud.api("GET", "scripts/redirects/settings").json["limits"]["wall_ms"] == 1000
    assert picloud.call("POST", "/go/docs").header("allow") == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("prefix", ["/shop", "/fn/shop"])
def test_shop_shows_items_and_quotes_a_price(picloud: Running, prefix: str) -> None:
    deploy(picloud, "shop")
    assert [item["id"] for item in picloud.call("GET", f"{prefix}/items").json["items"]] == ["tea", "cup", "pot"]
    assert [item["id"] for item in picloud.call("GET", f"{prefix}/items?q=TEA").json["items"]] == ["tea", "pot"]
    assert picloud.call("GET", f"{prefix}/items?q=wine").json == {"items": []}
    assert picloud.call("GET", f"{prefix}/items/cup").json["cents"] == 1250
    quote = post_json(picloud, f"{prefix}/quotes", {"items": [{"id": "tea", "count": 2}, {"id": "cup", "count": 1}]})
    assert (quote.status, quote.json["total_cents"]) == (200, 2810)


@pytest.mark.parametrize("prefix", ["/shop", "/fn/shop"])
def test_shop_says_what_it_does_not_have(picloud: Running, prefix: str) -> None:
    deploy(picloud, "shop")
    assert picloud.call("GET", f"{prefix}/people").status == 404
    assert picloud.call("GET", f"{prefix}/quotes/1").status == 404
    assert picloud.call("GET", f"{prefix}/items/wine").json == {"problem": "there is no item 'wine'"}
    refused = picloud.call("DELETE", f"{prefix}/items")
    assert (refused.status, refused.header("allow")) == (405, "GET")


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({}, "items"),
        ([], "items"),
        ("tea", "items"),
        ({"items": []}, "items"),
        ({"items": ["tea"]}, "items[1].id"),
        ({"items": [{"id": "wine", "count": 1}]}, "items[1].id"),
        ({"items": [{"id": "tea", "count": 1}, {"id": "tea", "count": 0.5}]}, "items[2].count"),
        ({"items": [{"id": "tea", "count": 101}]}, "items[1].count"),
    ],
)
def test_shop_names_what_is_wrong_with_an_order(picloud: Running, order: object, field: str) -> None:
    deploy(picloud, "shop")
    answer = post_json(picloud, "/shop/quotes", order)
    assert answer.status == 422
    assert [mistake["field"] for mistake in answer.json["errors"]] == [field]


def test_shop_lets_pages_of_other_origins_in(picloud: Running) -> None:
    deploy(picloud, "shop")
    answer = picloud.call("GET", "/shop/items", headers={"origin": "https://example.org"})
    assert answer.header("access-control-allow-origin") == "*"


def test_a_change_of_a_redirect_is_live_with_the_deploy(picloud: Running, tmp_path: Path) -> None:
    for path in (EXAMPLES / "redirects").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "redirects.json").write_text('{"docs": {"to": "/elsewhere"}}')
    deploy(picloud, "redirects")
    assert picloud.api("PUT", "scripts/redirects", bundle(tmp_path), "application/gzip").status == 201
    assert picloud.call("GET", "/go/docs").header("location") == "/elsewhere"


def test_guarded_gives_a_token_for_a_password_and_asks_for_it(picloud: Running) -> None:
    deploy(picloud, "guarded")
    key = "0123456789abcdef0123456789abcdef"
    for name, value in (("JWT_KEY", key), ("USERS", '{"ada": "a long password"}')):
        assert picloud.api("PUT", f"secrets/{name}", {"value": value}).status in (200, 201)
    picloud.set("guarded", {"secrets": ["JWT_KEY", "USERS"]})

    def sign_in(name: object, password: object) -> Answer:
        return post_json(picloud, "/fn/guarded/token", {"name": name, "password": password})

    def me(token: str) -> Answer:
        return picloud.call("GET", "/fn/guarded/me", headers={"authorization": f"Bearer {token}"})

    for name, password in (("ada", "a guess"), ("eve", "a long password"), ("ada", None), ("ada", ["a long password"])):
        assert sign_in(name, password).status == 401
    assert sign_in(None, "x").status == 422
    given = sign_in("ada", "a long password").json
    assert given["expires_in"] == 3600
    assert me(given["token"]).json["name"] == "ada"

    ours = {"alg": "HS256", "typ": "JWT"}
    for token, reason in {
        given["token"] + "x": "its signature is wrong",
        jwt(ours, {"sub": "ada", "aud": "guarded", "exp": 1}, key): "it has expired",
        jwt(ours, {"sub": "ada", "aud": "another"}, key): "its audience is not 'guarded'",
        jwt({"alg": "none"}, {"sub": "ada", "aud": "guarded"}, key): "its algorithm is not HS256",
        "": "there is no token",
    }.items():
        refused = me(token)
        assert (refused.status, refused.json, refused.header("www-authenticate")) == (
            401,
            {"problem": reason},
            "Bearer",
        )
    assert picloud.call("GET", "/fn/guarded").status == 404
    assert picloud.call("GET", "/fn/guarded/token").header("allow") == "POST"


def jwt(header: object, claims: object, key: str) -> str:
    """A token with a right signature, whatever it says."""
    signed = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims))
    signature = base64.urlsafe_b64encode(hmac.digest(key.encode(), signed, "sha256")).rstrip(b"=")
    return (signed + b"." + signature).decode()
