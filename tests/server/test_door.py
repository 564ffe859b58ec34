"""Who is turned away before a thread is asked: what is understood of a head, and what follows on the connection."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picloud.orchestrator.cors import preflight_of
from picloud.orchestrator.request import Proxies, segments
from picloud.patterns import host_of
from picloud.server.door import glance, is_alone
from tests.server.harness import Server, read_answer, read_to_end

FULL = b"GET /full HTTP/1.1\r\nHost: localhost\r\n"


def test_a_glance_sees_what_is_asked_and_by_whom() -> None:
    head = (
        b"GET /a?b HTTP/1.1\r\nX-Host: no\r\nhOST: me.example \r\nORIGIN:https://p.example\r\n\r\nHost: other\r\n\r\n"
    )
    assert glance(head, "1.2.3.4") == {
        "REQUEST_METHOD": "GET",
        "RAW_URI": "/a?b",
        "REMOTE_ADDR": "1.2.3.4",
        "HTTP_HOST": "me.example",
        "HTTP_ORIGIN": "https://p.example",
    }


@pytest.mark.parametrize(
    "head", [b"\x16\x03\x01\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"\n"]
)
def test_what_is_no_request_line_is_left_to_the_parser(head: bytes) -> None:
    assert glance(head, "") is None


@given(
    target=st.text("/%?#[]:@*aF.\\", min_size=1), host=st.text("[]:.%a1 \xe9"), forwarded=st.text("[],:.a"),
    method=st.sampled_from(("GET", "OPTIONS", "CONNECT")),
)  # fmt: skip
def test_whatever_is_asked_the_loop_survives_what_is_made_of_it(
    target: str, host: str, forwarded: str, method: str
) -> None:
    lines = (
        f"{method} {target} HTTP/1.1",
        f"Host: {host}",
        f"X-Forwarded-Host: {forwarded}",
        f"Origin: {host}",
        "",
        "",
    )
    asked = glance("\r\n".join(lines).encode("latin-1"), "::1")
    assert asked
    assert segments(asked)
    host_of(Proxies("::1").host(asked))
    preflight_of(asked)


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Length: 1", b"content-length : 1", b"Transfer-Encoding: chunked", b"Connection: close",
        b"Expect: 100-continue", b"Upgrade: h2c", b" folded: 1", b"no colon", b"a\0b: 1", b"A: 1\r\n\r\nmore",
    ],
)  # fmt: skip
def test_what_may_be_more_than_a_head_is_not_alone(line: bytes) -> None:
    head = FULL + line + b"\r\n\r\n"
    assert not is_alone(head)
    assert is_alone(FULL + b"Accept: */*\r\n\r\n")


def test_who_is_turned_away_may_ask_again_on_the_same_connection(server: Server) -> None:
    with server.connect() as client:
        for _ in range(2):
            client.sendall(FULL + b"Origin: https://p.example\r\n\r\n")
            response, body = read_answer(client)
            assert (response.status, response.getheader("retry-after")) == (429, "1")
            assert json.loads(body) == {"status": 429, "detail": "full"}
            assert json.loads(response.headers["x-asked"])["HTTP_ORIGIN"] == "https://p.example"
        client.sendall(FULL.replace(b"/full", b"/hello") + b"\r\n")
        assert read_answer(client)[1] == b"hello"


def test_a_body_that_nobody_reads_ends_the_connection(server: Server) -> None:
    answer = server.raw(
        FULL.replace(b"GET", b"POST") + b"Content-Length: 30\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.count(b"HTTP/1.1") == 1


def test_http_1_0_is_turned_away_and_closed(server: Server) -> None:
    assert b"\r\nConnection: close\r\n" in server.raw(b"GET /full HTTP/1.0\r\n\r\n")


def test_who_goes_on_talking_is_answered_and_closed(server: Server) -> None:
    with server.connect() as client:
        client.sendall(FULL + b"\r\n")
        client.sendall(FULL + b"\r\n")
        assert read_to_end(client).startswith(b"HTTP/1.1 429 ")


def test_who_ends_their_side_is_answered(server: Server) -> None:
    with server.connect() as client:
        client.sendall(FULL + b"\r\n")
        client.shutdown(1)
        assert read_to_end(client).startswith(b"HTTP/1.1 429 ")


def test_an_answer_to_head_has_no_body(server: Server) -> None:
    with server.connect() as client:
        for _ in range(2):
            client.sendall(FULL.replace(b"GET", b"HEAD") + b"\r\n")
            response, body = read_answer(client, "HEAD")
            assert (response.status, body) == (429, b"")


def test_what_is_too_long_for_the_parser_is_not_taken_apart_at_the_door() -> None:
    for target, is_seen in ((b"/" + b"%41" * 2_700, True), (b"/" + b"%41" * 20_000, False)):
        assert (glance(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n", "") is not None) is is_seen
