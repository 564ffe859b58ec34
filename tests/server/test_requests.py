"""HTTP as it should be, and what is refused because it is not; held to the same with either parser."""

import json
from typing import Any

import pytest

from tests.server.harness import Server, read_answer, read_to_end

HOST = b"Host: localhost\r\n"
POST = b"POST /echo HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"

INVALID: dict[str, tuple[Any, ...]] = {
    "a length given twice": (POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "a list of lengths": (POST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "a length with a sign": (POST + b"Content-Length: +3\r\n\r\nabc", 400),
    "a length in hexadecimal": (POST + b"Content-Length: 0x3\r\n\r\nabc", 400),
    "a length with an underscore": (POST + b"Content-Length: 1_0\r\n\r\n0123456789", 400),
    "a length that is no ASCII digit": (POST + b"Content-Length: \xb2\r\n\r\nab", 400),
    "a length and chunks": (CHUNKED + b"Content-Length: 3\r\n\r\n0\r\n\r\n", 400),
    "chunks and a length": (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunks of chunks": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "chunks that are not the last coding": (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    "a coding without chunks": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 400),
    "a coding that nobody knows": (POST + b"Transfer-Encoding: magic\r\n\r\n", 501, 400),
    "a coding with a tab within": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "chunks in HTTP/1.0": (CHUNKED.replace(b"1.1", b"1.0") + b"\r\n0\r\n\r\n", 400),
    "a chunk's size that is none": (CHUNKED + b"\r\nxyz\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk's size with 0x": (CHUNKED + b"\r\n0x3\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk's size with a sign": (CHUNKED + b"\r\n-3\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk's size that is empty": (CHUNKED + b"\r\n\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk that is longer than its size": (CHUNKED + b"\r\n2\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk's extension that is none": (CHUNKED + b"\r\n3;a b\r\nabc\r\n0\r\n\r\n", 400),
    "a trailer that changes the framing": (CHUNKED + b"\r\n0\r\nContent-Length: 3\r\n\r\n", 400),
    "a space before the colon": (POST + b"Content-Length : 3\r\n\r\nabc", 400),
    "a space in a name": (b"GET / HTTP/1.1\r\n" + HOST + b"X Y: a\r\n\r\n", 400),
    "a name that is empty": (b"GET / HTTP/1.1\r\n" + HOST + b": a\r\n\r\n", 400),
    "a header without a colon": (b"GET / HTTP/1.1\r\n" + HOST + b"nothing\r\n\r\n", 400),
    "a header that goes on": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", 400),
    "a first header that goes on": (b"GET / HTTP/1.1\r\n X: a\r\n" + HOST + b"\r\n", 400),
    "a NUL in a header": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n", 400),
    "a bare CR in a header": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n", 400),
    "a bare LF after the request line": (b"GET / HTTP/1.1\n" + HOST + b"\r\n", 400),
    "bare LFs only": (b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "no version": (b"GET /\r\n" + HOST + b"\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a method in small letters": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a method that is no token": (b"G(T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a target with a raw byte": (b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a target that is no path": (b"GET example HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a TLS handshake": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "an expectation that nobody knows": (POST + b"Expect: magic\r\nContent-Length: 3\r\n\r\nabc", 417),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, 400),
    "a line that is too long": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "a line that does not end": (b"GET /" + b"a" * 70_000, 414),
    "a header that is too long": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 9000 + b"\r\n\r\n", 431),
    "too many headers": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 101 + b"\r\n", 431),
    "headers that do not end": (b"GET / HTTP/1.1\r\n" + HOST + b"X: aaaaaaaaaaaa\r\n" * 5000, 431),
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID)
def test_a_request_that_is_not_valid_is_refused_with_a_problem_and_the_end_of_the_connection(
    server: Server, name: str
) -> None:
    request, *statuses = INVALID[name]  # where the parsers differ, there are two
    smuggled = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n" if request.endswith(b"\r\n\r\n") else b""
    head, body = server.raw(request + smuggled).split(b"\r\n\r\n", 1)
    status = int(head.split()[1])
    assert status in statuses
    assert b"Content-Type: application/problem+json" in head
    assert b"Connection: close" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body)["status"] == status


@pytest.mark.parametrize("path", ["/echo", "/swallow"])
def test_a_body_that_ends_early_is_refused_whatever_the_application_makes_of_it(server: Server, path: str) -> None:
    for framing in (b"Content-Length: 30\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"):
        with server.connect() as client:
            client.sendall(b"POST " + path.encode() + b" HTTP/1.1\r\n" + HOST + framing)
            client.shutdown(1)
            assert read_to_end(client).startswith(b"HTTP/1.1 400 ")


def test_nothing_of_a_refused_request_is_repeated_or_logged(server: Server) -> None:
    answer = server.raw(b"GET /path-secret?query-secret HTTP/1.1\r\n" + HOST + b"Bad Name-secret: value-secret\r\n\r\n")
    assert b" 400 " in answer
    assert b"secret" not in answer + server.log.read_bytes()


def test_a_failure_of_the_application_is_a_problem_without_its_message(server: Server) -> None:
    for path in (b"/raise", b"/header"):
        answer = server.raw(b"GET " + path + b"?secret HTTP/1.1\r\n" + HOST + b"Authorization: secret\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"application/problem+json" in answer
        assert b"Traceback" not in answer
        assert b"secret" not in answer
    log = server.log.read_text()
    assert 'message="A request failed: GET /raise" exception="Traceback' in log
    assert "?secret" not in log
    assert all(line.startswith("time=") for line in log.splitlines())


def test_an_answer_that_fails_midway_ends_without_its_end(server: Server) -> None:
    answer = server.raw(b"GET /midway HTTP/1.1\r\n" + HOST + b"\r\n")
    assert answer.endswith(b"3\r\none\r\n")


def test_a_problem_for_head_has_no_body(server: Server) -> None:
    answer = server.raw(b"HEAD /raise HTTP/1.1\r\n" + HOST + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.endswith(b"\r\n\r\n")


def test_requests_follow_each_other_on_one_connection(server: Server) -> None:
    with server.connect() as client:
        for body in (b"a", b"", b"b" * 100_000):
            client.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            response, answered = read_answer(client)
            assert (response.status, response.getheader("connection"), answered) == (200, "keep-alive", body)


def test_requests_may_be_sent_before_the_answers(server: Server) -> None:
    one = POST + b"Content-Length: 3\r\n\r\none"
    two = CHUNKED + b"\r\n3\r\ntwo\r\n0\r\n\r\n"
    rest = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    bodies = [answer.split(b"\r\n\r\n", 1)[1] for answer in server.raw(one + two + rest).split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [b"one", b"two", b"hello"]


def test_a_request_may_come_byte_by_byte(server: Server) -> None:
    with server.connect() as client:
        for byte in CHUNKED + b"\r\n3\r\none\r\n0\r\n\r\n":
            client.sendall(bytes([byte]))
        assert read_answer(client)[1] == b"one"


def test_an_empty_line_after_a_body_is_forgiven(server: Server) -> None:
    with server.connect() as client:
        for _ in range(2):
            client.sendall(POST + b"Content-Length: 3\r\n\r\none\r\n")
            assert read_answer(client)[1] == b"one"


def test_a_body_that_nobody_read_does_not_become_the_next_request(server: Server) -> None:
    inner = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
    with server.connect() as client:
        for _ in range(2):
            client.sendall(b"POST /hello HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(inner) + inner)
            assert read_answer(client)[1] == b"hello"


def test_a_large_body_that_nobody_read_ends_the_connection_after_a_whole_answer(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"POST /hello HTTP/1.1\r\n" + HOST + b"Content-Length: 9999999\r\n\r\n" + b"a" * 200_000)
        assert read_answer(client)[1] == b"hello"
        assert client.recv(1) == b""


def test_a_broken_body_that_nobody_read_ends_the_connection_without_a_second_answer(server: Server) -> None:
    answer = server.raw(b"POST /hello HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n")
    assert answer.endswith(b"hello")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_client_that_waits_to_be_asked_is_asked_when_its_body_is_read(server: Server) -> None:
    with server.connect() as client:
        client.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert client.recv(25, 256) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"abc")
        response, body = read_answer(client)
        assert (body, response.getheader("connection")) == (b"abc", "keep-alive")


def test_a_client_that_waits_to_be_asked_is_not_asked_for_a_body_that_nobody_reads(server: Server) -> None:
    answer = server.raw(b"POST /hello HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close" in answer
    assert answer.endswith(b"hello")


@pytest.mark.parametrize(
    ("method", "path", "length"),
    [
        ("HEAD", "/hello", "5"),
        ("HEAD", "/status?204", None),
        ("GET", "/status?204", None),
        ("GET", "/status?304", "5"),
        ("GET", "/status_without_body?204", None),
        ("GET", "/status_without_body?304", None),
    ],
)
def test_an_answer_without_a_body_has_none_and_leaves_the_connection_open(
    server: Server, method: str, path: str, length: str | None
) -> None:
    with server.connect() as client:
        for _ in range(2):
            client.sendall(f"{method} {path} HTTP/1.1\r\n".encode() + HOST + b"\r\n")
            response, body = read_answer(client, method)
            assert (body, response.getheader("content-length"), response.getheader("transfer-encoding")) == (
                b"", length, None,
            )  # fmt: skip


def test_an_answer_of_unknown_length_comes_in_chunks(server: Server) -> None:
    answer = server.raw(b"GET /stream HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in answer
    assert answer.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


def test_http_1_0_is_answered_and_closed(server: Server) -> None:
    assert server.raw(b"GET /hello HTTP/1.0\r\n\r\n").endswith(b"hello")
    assert server.raw(b"GET /stream HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nonetwo")


def test_the_server_does_not_say_what_it_is_made_of(server: Server) -> None:
    answer = server.raw(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert b"\r\nServer: picloud\r\n" in answer
    assert b"gunicorn" not in answer


def test_the_application_sees_the_target_as_it_was_sent_and_no_header_that_pretends(server: Server) -> None:
    request = (
        b"GET /environ/a%2Fb?c=%20d HTTP/1.1\r\n" + HOST + b"Connection: close\r\nX-Twice: 1\r\nX-Twice: 2\r\n"
        b"Cookie: a=1\r\nCookie: b=2\r\n"
        b"SCRIPT_NAME: /environ\r\nPATH_INFO: /x\r\nX_Twice: 3\r\nX-Forwarded-Proto: https\r\n\r\n"
    )
    environ = json.loads(server.raw(request).split(b"\r\n\r\n", 1)[1])
    assert environ["RAW_URI"] == "/environ/a%2Fb?c=%20d"
    assert (environ["PATH_INFO"], environ["SCRIPT_NAME"]) == ("/environ/a/b", "")
    assert (environ["QUERY_STRING"], environ["HTTP_X_TWICE"], environ["HTTP_COOKIE"]) == ("c=%20d", "1, 2", "a=1; b=2")
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("127.0.0.1", "http")
