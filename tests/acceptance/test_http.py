"""What a script sees of HTTP, and what a caller gets back."""

import contextlib
import json
import resource
import socket

import pytest

from tests.running import Running

ECHO = """
return function(request)
  return { body = { method = request.method, path = request.path, rest = request.params.rest, query = request.query,
    query_all = request.query_all, headers = request.headers, cookies = request.cookies, size = #request.body,
    host = request.host, remote_addr = request.remote_addr, id = request.id, trigger = request.trigger } }
end
"""


@pytest.fixture(scope="module")
def echo(picloud: Running) -> str:
    picloud.deploy("echo", ECHO)
    picloud.deploy(
        "bytes", 'return function(request) return { headers = { ["content-type"] = "x/y" }, body = request.body } end'
    )
    return "/fn/echo"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_reaches_the_script(picloud: Running, echo: str, method: str) -> None:
    answer = picloud.call(method, echo)
    assert (answer.status, answer.json["method"]) == (200, method)


def test_head_is_answered_without_a_body_but_with_its_length(picloud: Running, echo: str) -> None:
    answer = picloud.call("HEAD", echo)
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.header("content-length") or 0) > 100


def test_a_path_is_split_before_it_is_decoded(picloud: Running, echo: str) -> None:
    answer = picloud.call("GET", f"{echo}/a%2Fb/c%20d?x=1")
    assert (answer.json["path"], answer.json["rest"]) == ("/fn/echo/a/b/c d", "a/b/c d")
    assert picloud.call("GET", "/fn/echo%2Fx").problem == "not-found"


def test_repeated_query_fields_are_all_there(picloud: Running, echo: str) -> None:
    seen = picloud.call("GET", f"{echo}?a=1&b=x+y%21&a=2&c").json
    assert seen["query"] == {"a": "1", "b": "x y!", "c": ""}
    assert seen["query_all"]["a"] == ["1", "2"]


def test_repeated_header_fields_are_joined(picloud: Running, echo: str) -> None:
    request = b"GET /fn/echo HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nCookie: a=1; b=2\r\nConnection: close\r\n\r\n"
    head, _, body = picloud.raw(request).partition(b"\r\n\r\n")
    assert b" 200 " in head.split(b"\r\n")[0]
    seen = json.loads(body)
    assert seen["headers"]["x-a"] == "1, 2"
    assert seen["cookies"] == {"a": "1", "b": "2"}
    assert "connection" not in seen["headers"]
    assert seen["host"] == "h"


def test_bytes_come_back_as_they_went(picloud: Running, echo: str) -> None:
    data = bytes(range(256)) * 4000
    answer = picloud.call("POST", "/fn/bytes", data)
    assert (answer.body, answer.header("content-type")) == (data, "x/y")
    assert answer.header("content-length") == str(len(data))


def test_a_body_may_come_in_chunks(picloud: Running, echo: str) -> None:
    head = b"POST /fn/bytes HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    answer = picloud.raw(head + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
    assert answer.endswith(b"\r\n\r\nhello world")


@pytest.mark.parametrize("size", [1024 * 1024 - 1, 1024 * 1024])
def test_a_body_up_to_the_limit_is_taken(picloud: Running, echo: str, size: int) -> None:
    assert len(picloud.call("POST", "/fn/bytes", b"x" * size).body) == size


def test_a_body_over_the_limit_is_refused(picloud: Running, echo: str) -> None:
    assert picloud.call("POST", "/fn/bytes", b"x" * (1024 * 1024 + 1)).problem == "body-too-large"


def test_a_chunked_body_over_the_limit_is_refused(picloud: Running, echo: str) -> None:
    head = b"POST /fn/bytes HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    assert b" 413 " in picloud.raw(head + chunk * 17 + b"0\r\n\r\n").split(b"\r\n")[0]


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body_have_none(picloud: Running, status: int) -> None:
    picloud.deploy("bare", f"return {{ status = {status}, body = 'x' }}")
    answer = picloud.call("GET", "/fn/bare")
    assert (answer.status, answer.body) == (status, b"")


def test_nil_is_204(picloud: Running) -> None:
    picloud.deploy("nothing", "return function() end")
    answer = picloud.call("GET", "/fn/nothing")
    assert (answer.status, answer.header("content-type")) == (204, None)


def test_a_header_given_as_a_list_is_repeated(picloud: Running) -> None:
    picloud.deploy("cookies", 'return { headers = { ["Set-Cookie"] = { "a=1", "b=2" } }, body = "x" }')
    answer = picloud.call("GET", "/fn/cookies")
    assert [value for name, value in answer.headers if name == "set-cookie"] == ["a=1", "b=2"]


def test_every_answer_says_which_invocation_it_is_and_how_long_it_took(picloud: Running, echo: str) -> None:
    answer = picloud.call("GET", echo)
    assert answer.header("picloud-invocation") == answer.json["id"]
    timing = answer.header("server-timing") or ""
    assert [part.split(";dur=")[0] for part in timing.split(", ")] == ["queue", "run", "cpu", "total"]


def test_forwarded_headers_of_a_stranger_are_not_believed(picloud: Running, echo: str) -> None:
    seen = picloud.call("GET", echo, headers={"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Host": "evil"}).json
    assert seen["remote_addr"] == "127.0.0.1"
    assert seen["host"] != "evil"
    assert "x-forwarded-for" not in seen["headers"]


def test_an_unknown_script_is_a_problem(picloud: Running) -> None:
    answer = picloud.call("GET", "/fn/no-such-script")
    assert (answer.status, answer.problem) == (404, "not-found")


@pytest.mark.parametrize(
    "path", ["/fn%2Fecho", "/fn%2F", "/fn/", "/fn/%00", "/fn/%0Aforged", "/fn/%E2%82%AC", "/fn/..", "/fn//x"]
)
def test_a_name_that_cannot_be_one_is_not_found(picloud: Running, path: str) -> None:
    assert picloud.call("GET", path).problem == "not-found"


def test_204_and_304_end_with_their_head_on_the_wire(picloud: Running) -> None:
    for status in (204, 304):
        picloud.deploy("bare", f"return {{ status = {status}, body = 'x' }}")
        answer = picloud.raw(b"GET /fn/bare HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert answer.endswith(b"\r\n\r\n")
        assert b"transfer-encoding" not in answer.lower()


def test_what_is_no_http_is_a_problem_too(picloud: Running) -> None:
    answer = picloud.raw(b"GET /\r\n\r\nnonsense: x\r\n\r\n")
    assert b" 400 " in answer.split(b"\r\n")[0]
    assert b"application/problem+json" in answer


def test_a_cookie_header_of_blanks_costs_nothing(picloud: Running) -> None:
    picloud.deploy("cookie", "return function(r) return (r.cookies.x or '-') .. (r.cookies.y or '-') end")
    picloud.set("cookie", {"limits": {"cpu_ms": 200}})
    blanks = " " * 3000
    for header in (f"x=1;{blanks}a;y=2", "x=1" + "\t" * 7000 + "; y = 2", f"x=1;y{blanks}={blanks}2"):
        answer = picloud.call("GET", "/fn/cookie", headers={"cookie": header})
        assert (answer.status, answer.body) == (200, b"12")


def test_who_hangs_up_in_the_middle_of_a_body_harms_nobody(picloud: Running) -> None:
    picloud.deploy("reader", "return function(r) return #r.body end")
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", picloud.port)) as connection:
            connection.sendall(b"POST /fn/reader HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nx")
    assert picloud.call("POST", "/fn/reader", b"12345").json == 5


def test_more_silent_connections_than_a_server_keeps_do_not_lock_others_out(picloud: Running) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    with contextlib.ExitStack() as silent:
        for _ in range(2_600):
            silent.enter_context(socket.create_connection(("127.0.0.1", picloud.port)))
        assert picloud.call("GET", "/healthz").status == 200


def test_the_prefix_is_a_segment_of_its_own(picloud: Running) -> None:
    picloud.deploy("behind", "return 1")
    assert picloud.call("GET", "/fn%2Fother/behind").problem == "not-found"
