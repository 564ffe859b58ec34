"""The page at `/`: nothing without a token, what runs here with one, and a cookie that opens nothing else."""

import base64
import contextlib
import hashlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from picloud import __version__
from picloud.dashboard.session import SESSION_S
from picloud.storage.pool import Pool
from tests.running import Answer, Running, eventually, running

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With a script that ran, one that failed, and one that shows the cookies it gets."""
    with running(tmp_path_factory.mktemp("front"), PICLOUD_TRUSTED_PROXIES="127.0.0.1") as ours:
        ours.deploy("greeting", "return 'hi'")
        ours.deploy("broken", "error('<b>oh no</b>')")
        ours.deploy("cookies", "return function(r) return { cookies = r.cookies, header = r.headers.cookie } end")
        for name in ("greeting", "broken"):
            ours.record_of(ours.call("GET", f"/fn/{name}"))
        yield ours


def post(front: Running, headers: dict[str, str] | None = None, **fields: str) -> Answer:
    return front.call("POST", "/", urlencode(fields).encode(), {"content-type": FORM} | (headers or {}))


def cookie_of(answer: Answer) -> dict[str, str]:
    """The cookie that an answer sets, as a browser sends it back."""
    return {"cookie": (answer.header("set-cookie") or "").partition(";")[0]}


def sign_in(front: Running, token: str) -> dict[str, str]:
    answer = post(front, token=token)
    assert (answer.status, answer.header("location")) == (303, "/")
    return cookie_of(answer)


def make(front: Running, name: str, *scopes: str, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = front.api("POST", "tokens", {"name": name, "scopes": list(scopes), **more}).json
    return made


def shows_content(answer: Answer) -> bool:
    return b"greeting" in answer.body


def test_who_is_not_signed_in_sees_what_this_is_and_where_to_put_a_token(front: Running) -> None:
    answer = front.call("GET", "/")
    text = answer.body.decode()
    assert (answer.status, answer.header("content-type")) == (200, "text/html; charset=utf-8")
    assert '<input id="token" name="token" type="password"' in text
    assert not shows_content(answer)
    assert "broken" not in text


def test_a_token_opens_the_page(front: Running) -> None:
    answer = front.call("GET", "/", headers=sign_in(front, front.token))
    text = answer.body.decode()
    assert answer.status == 200
    assert '<a href="/fn/greeting">greeting</a>' in text
    assert "ok 200" in text
    assert "script-error 500" in text
    assert "&lt;b&gt;oh no&lt;/b&gt;" in text
    assert f"http://127.0.0.1:{front.port}/api/v1/scripts/hello" in text
    assert front.token not in text


def test_an_empty_platform_says_what_to_do(fresh_data: Path) -> None:
    with running(fresh_data) as ours:
        text = ours.call("GET", "/", headers=sign_in(ours, ours.token)).body.decode()
        assert "No scripts yet" in text
        assert "picloud deploy hello.lua" in text


def test_the_cookie_is_not_the_token_and_no_page_can_read_it(front: Running) -> None:
    cookie = post(front, token=front.token).header("set-cookie") or ""
    assert front.token not in cookie
    words = cookie.split("; ")[1:]
    assert sorted(words) == ["HttpOnly", f"Max-Age={SESSION_S}", "Path=/", "SameSite=Strict"]


def test_behind_https_the_cookie_is_sent_by_https_alone(front: Running) -> None:
    cookie = post(front, {"x-forwarded-proto": "https"}, token=front.token).header("set-cookie") or ""
    assert "Secure" in cookie.split("; ")
    text = front.call("GET", "/", headers=cookie_of(post(front, token=front.token)) | {"x-forwarded-proto": "https"})
    assert f"https://127.0.0.1:{front.port}/fn/hello".encode() in text.body


@pytest.mark.parametrize("token", ["", "wrong", "pc_wrong", "pc_" + "a" * 43, "é", "a\0b", "x" * 3000])
def test_a_wrong_token_gets_the_page_again_with_the_reason(front: Running, token: str) -> None:
    answer = post(front, token=token)
    assert answer.status == 401
    assert answer.header("set-cookie") is None
    assert b'role="alert">This token is not known here' in answer.body
    assert b'name="token"' in answer.body
    assert not shows_content(answer)


def test_spaces_around_a_pasted_token_do_not_matter(front: Running) -> None:
    assert post(front, token=f"  {front.token}\n").status == 303


def test_a_token_without_the_scope_read_is_told_so(front: Running) -> None:
    made = make(front, "cannot read", "deploy", "invoke")
    answer = post(front, token=made["token"])
    assert answer.status == 403
    assert answer.header("set-cookie") is None
    assert b"does not have the scope" in answer.body
    assert not shows_content(answer)
    shown = front.call("GET", "/", headers={"authorization": f"Bearer {made['token']}"})
    assert (shown.status, shows_content(shown)) == (403, False)


def test_a_token_that_is_limited_to_scripts_sees_those_alone(front: Running) -> None:
    made = make(front, "limited", "read", scripts=["broken", "nobody"])
    text = front.call("GET", "/", headers=sign_in(front, made["token"])).body.decode()
    assert "/fn/broken" in text
    assert "/fn/greeting" not in text
    assert "/fn/nobody" not in text


def test_a_session_dies_with_its_token(front: Running) -> None:
    made = make(front, "to be revoked", "read")
    session = sign_in(front, made["token"])
    assert shows_content(front.call("GET", "/", headers=session))
    assert front.api("DELETE", f"tokens/{made['id']}").status == 204
    answers = [front.call("GET", "/", headers=session) for _ in range(10)]
    assert not any(map(shows_content, answers))
    assert {answer.status for answer in answers} == {200}


def test_a_session_outlives_a_restart(fresh_data: Path) -> None:
    with running(fresh_data) as ours:
        ours.deploy("greeting", "return 1")
        session = sign_in(ours, ours.token)
        ours.stop()
        ours.start()
        assert shows_content(ours.call("GET", "/", headers=session))


@pytest.mark.parametrize("value", ["", "x", "1.9999999999.x", f"1.9999999999.{'A' * 43}", "pc_" + "a" * 43])
def test_a_session_that_is_none_shows_nothing(front: Running, value: str) -> None:
    answer = front.call("GET", "/", headers={"cookie": f"picloud_session={value}"})
    assert (answer.status, shows_content(answer)) == (200, False)


def test_who_signs_out_is_out(front: Running) -> None:
    answer = post(front, sign_in(front, front.token), sign_out="1")
    assert (answer.status, answer.header("location")) == (303, "/")
    cookie = answer.header("set-cookie") or ""
    assert cookie.startswith(('picloud_session="";', "picloud_session=;"))
    assert "expires=Thu, 01 Jan 1970" in cookie
    assert "Path=/" in cookie


def test_seeing_the_page_is_a_use_of_the_token(front: Running) -> None:
    made = make(front, "looks at it", "read")
    sign_in(front, made["token"])
    assert eventually(lambda: front.api("GET", f"tokens/{made['id']}").json["last_used_at"], bool)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1"])
def test_a_form_of_another_site_is_refused(front: Running, origin: str) -> None:
    answer = post(front, {"origin": origin}, token=front.token)
    assert (answer.status, answer.header("set-cookie")) == (403, None)
    assert post(front, {"origin": origin}, sign_out="1").status == 403


def test_a_form_of_this_page_is_taken(front: Running) -> None:
    assert post(front, {"origin": front.url}, token=front.token).status == 303
    behind = {"origin": "https://pi.example", "x-forwarded-host": "pi.example", "x-forwarded-proto": "https"}
    assert post(front, behind, token=front.token).status == 303


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=x", "text/plain", ""])
def test_another_type_than_the_forms_is_refused(front: Running, content_type: str) -> None:
    answer = front.call("POST", "/", b"token=" + front.token.encode(), {"content-type": content_type})
    assert answer.problem == "unsupported-media-type"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"token=" + b"x" * 4096, "body-too-large"),
        (b"token=%ff", "invalid-request"),
        (b"token=x&tokne=x", "invalid-request"),
        (b"token=\xff", "invalid-request"),
        (b"&".join(b"a%d=1" % number for number in range(100)), "invalid-request"),
    ],
)
def test_what_is_no_form_of_ours_is_a_problem(front: Running, body: bytes, problem: str) -> None:
    assert front.call("POST", "/", body, {"content-type": FORM}).problem == problem


@pytest.mark.parametrize("signed_in", [False, True])
def test_a_browser_is_told_to_be_careful(front: Running, signed_in: bool) -> None:
    answer = front.call("GET", "/", headers=sign_in(front, front.token) if signed_in else {})
    style = re.search(rb"<style>(.*?)</style>", answer.body, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1]).digest()).decode()
    assert (answer.header("content-security-policy") or "").split("; ") == [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("referrer-policy") == "same-origin"
    assert answer.header("cross-origin-opener-policy") == "same-origin"
    assert answer.header("cache-control") == "no-store"


@pytest.mark.parametrize("destination", ["empty", "iframe", "object", "script", "serviceworker"])
def test_a_page_that_a_script_serves_cannot_fetch_the_content(front: Running, destination: str) -> None:
    session = sign_in(front, front.token)
    for accept in ("text/html", "application/json"):
        headers = session | {"sec-fetch-dest": destination, "accept": accept}
        assert not shows_content(front.call("GET", "/", headers=headers))
    assert shows_content(front.call("GET", "/", headers=session | {"sec-fetch-dest": "document"}))


def test_json_is_as_for_everybody_and_with_a_token_has_the_scripts(front: Running) -> None:
    as_json = {"accept": "application/json"}
    plain = front.call("GET", "/", headers=as_json).json
    assert (plain["name"], plain["version"], set(plain)) == ("PiCloud", __version__, {"name", "version", "links"})
    for known in ({"authorization": f"Bearer {front.token}"}, sign_in(front, front.token)):
        shown = front.call("GET", "/", headers=as_json | known).json
        assert {key: shown[key] for key in plain} == plain
        assert [it["name"] for it in shown["scripts"]] == ["broken", "cookies", "greeting"]
        broken, cookies, _ = shown["scripts"]
        assert (broken["url"], broken["active_version"], cookies["last"]) == ("/fn/broken", 1, None)
        assert (broken["last"]["outcome"], broken["last"]["status"]) == ("script-error", 500)


_MANY = """WITH names AS (INSERT INTO script_names (name, last_version)
    SELECT 'many-' || it, 1 FROM generate_series(1, 500) it RETURNING name),
  made AS (INSERT INTO scripts (name, active_version) SELECT name, 1 FROM names RETURNING id)
 INSERT INTO versions (script_id, version, sha256, bytes, created_by) SELECT id, 1, '', 0, '' FROM made"""


def test_json_says_whether_there_are_more_scripts(front: Running) -> None:
    asked = {"accept": "application/json", "authorization": f"Bearer {front.token}"}
    assert front.call("GET", "/", headers=asked).json["more"] is False
    with contextlib.closing(Pool(front.database_url, size=1, wait_ms=5_000)) as pool:
        with pool.transaction() as cursor:
            cursor.execute(_MANY)
        shown = front.call("GET", "/", headers=asked).json
        with pool.transaction() as cursor:
            cursor.execute("DELETE FROM scripts WHERE name LIKE 'many-%'")
    assert (len(shown["scripts"]), shown["more"]) == (500, True)


def test_json_with_a_token_that_is_none_or_may_not_read_is_a_problem(front: Running) -> None:
    as_json = {"accept": "application/json"}
    wrong = front.call("GET", "/", headers=as_json | {"authorization": "Bearer pc_wrong"})
    assert wrong.problem == "unauthorized"
    blind = make(front, "blind", "invoke")["token"]
    assert front.call("GET", "/", headers=as_json | {"authorization": f"Bearer {blind}"}).problem == "forbidden"


def test_a_proxys_own_password_is_none_of_ours(front: Running) -> None:
    assert front.call("GET", "/", headers={"authorization": "Basic eDp5"}).status == 200


def test_head_answers_without_a_body(front: Running) -> None:
    for headers in ({}, sign_in(front, front.token)):
        answer = front.call("HEAD", "/", headers=headers)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.header("content-security-policy")


def test_another_method_is_refused(front: Running) -> None:
    answer = front.call("DELETE", "/")
    assert answer.problem == "method-not-allowed"
    assert {"GET", "POST"} <= set((answer.header("allow") or "").split(", "))


def test_no_script_sees_the_session(front: Running) -> None:
    session = sign_in(front, front.token)["cookie"]
    seen = front.call("GET", "/fn/cookies", headers={"cookie": f"a=1; {session}; b=2"}).json
    assert seen == {"cookies": {"a": "1", "b": "2"}, "header": "a=1; b=2"}
    alone = front.call("GET", "/fn/cookies", headers={"cookie": session}).json
    assert alone == {"cookies": {}}


def test_no_script_sees_the_session_in_repeated_headers(front: Running) -> None:
    session = sign_in(front, front.token)["cookie"].encode()
    for fields in ([b"a=1", session, b"b=2"], [session, b"a=1; b=2"], [b"a=1; " + session, session + b"; b=2"]):
        cookies = b"".join(b"Cookie: " + field + b"\r\n" for field in fields)
        answer = front.raw(b"GET /fn/cookies HTTP/1.1\r\nHost: h\r\n" + cookies + b"Connection: close\r\n\r\n")
        assert b'"cookies":{"a":"1","b":"2"}' in answer
        assert b"picloud_session" not in answer


@pytest.mark.parametrize("host", ["evil.example/$(reboot)", "<b>", "a'b"])
def test_a_host_that_is_none_is_not_put_into_what_is_to_be_copied(front: Running, host: str) -> None:
    text = front.call("GET", "/", headers=sign_in(front, front.token) | {"x-forwarded-host": host}).body.decode()
    assert host not in text
    assert "http://HOST/api/v1/scripts/hello" in text


def test_slow_forms_leave_threads_to_others(fresh_data: Path) -> None:
    head = f"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: {FORM}\r\nContent-Length: 100\r\nConnection: close\r\n\r\ntok"
    with running(fresh_data, PICLOUD_WORKERS="1", PICLOUD_THREADS="4") as ours, contextlib.ExitStack() as slow:
        for _ in range(8):
            connection = slow.enter_context(socket.create_connection(("127.0.0.1", ours.port), timeout=60))
            connection.sendall(head.encode())
        refused = eventually(lambda: post(ours, token="x"), lambda answer: b"too many bodies" in answer.body)
        assert refused.problem == "overloaded"
        assert ours.call("GET", "/healthz").status == 200
