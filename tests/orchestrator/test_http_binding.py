"""The host call of `http`: what a sandbox may ask for, and what is done before and after."""

import contextlib
import ipaddress
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from picloud.errors import DatabaseUnavailable, DeadlinePassed
from picloud.executor.client import HostCallRefused
from picloud.model import HostPattern, Program, Request, Settings
from picloud.orchestrator.attempt import Attempt, Attempts, Surroundings
from picloud.orchestrator.bindings import http
from picloud.orchestrator.outbound.fetching import Fetcher
from picloud.orchestrator.work import Work
from tests.orchestrator.strangers import PATIENCE_S, Stranger, response, saying, stranger

OPEN = "open.test"


class NoWork:
    """No script of these tests keeps anything."""

    def begin(self, deadline: float) -> Work:
        raise AssertionError


@dataclass
class Around:
    """What an attempt asked of who runs it, in order."""

    asked: list[str] = field(default_factory=list)
    away: bool = False

    def mark(self) -> None:
        self.asked.append("mark")
        if self.away:
            raise DatabaseUnavailable

    @contextlib.contextmanager
    def sandbox_parked(self) -> Iterator[None]:
        self.asked.append("sandbox parked")
        yield
        self.asked.append("sandbox back")

    @contextlib.contextmanager
    def place_parked(self) -> Iterator[bool]:
        self.asked.append("place parked")
        yield True
        self.asked.append("place back")


@pytest.fixture
def around() -> Around:
    return Around()


@pytest.fixture
def attempt(around: Around) -> Attempt:
    table = http.table(Fetcher(lambda _: [ipaddress.ip_address("127.0.0.1")], (HostPattern(OPEN),)))
    program = Program("test", 1, {}, Settings())
    surroundings = Surroundings(around.mark, around.sandbox_parked, around.place_parked)
    return Attempts(NoWork(), table).begin(program, Request("0", "GET", "/", "", (), b""), surroundings)


@pytest.fixture
def hello() -> Iterator[Stranger]:
    with stranger(saying(response(b"hello", b"x-a: b"))) as one:
        yield one


def call(attempt: Attempt, *fields: bytes, within_s: float = PATIENCE_S) -> Sequence[bytes]:
    return attempt.call("http.fetch", fields, time.monotonic() + within_s)


def asking(
    url: str, method: bytes = b"", redirect: bytes = b"", timeout: bytes = b"", body: bytes = b"", *headers: bytes
) -> tuple[bytes, ...]:
    return (url.encode(), method, redirect, timeout, body, *headers)


def test_the_answer_is_status_url_body_and_headers(attempt: Attempt, hello: Stranger) -> None:
    url = f"http://{OPEN}:{hello.port}/"
    status, final, body, *headers = call(attempt, *asking(url))
    assert (status, final, body) == (b"200", url.encode(), b"hello")
    assert dict(zip(headers[::2], headers[1::2], strict=True))[b"x-a"] == b"b"


def test_a_call_is_marked_once_and_waits_parked(attempt: Attempt, around: Around, hello: Stranger) -> None:
    for _ in range(2):
        call(attempt, *asking(f"http://{OPEN}:{hello.port}/"))
    waiting = ["place parked", "sandbox parked", "sandbox back", "place back"]
    assert around.asked == ["mark", *waiting, *waiting]
    assert attempt.shared.http_calls == 2


def test_what_cannot_be_marked_is_not_made(attempt: Attempt, around: Around, hello: Stranger) -> None:
    around.away = True
    with pytest.raises(DatabaseUnavailable):
        call(attempt, *asking(f"http://{OPEN}:{hello.port}/"))
    assert attempt.shared.http_calls == 0
    assert hello.connections_so_far() == 0


def test_a_call_that_a_script_invoked_makes_counts_for_both(attempt: Attempt, around: Around, hello: Stranger) -> None:
    invoked = attempt.invoking(attempt.program, attempt.request)
    call(invoked, *asking(f"http://{OPEN}:{hello.port}/"))
    call(attempt, *asking(f"http://{OPEN}:{hello.port}/"))
    assert around.asked.count("mark") == 1
    assert attempt.shared.http_calls == 2


def test_the_settings_of_the_script_that_calls_say_what_it_may(attempt: Attempt, hello: Stranger) -> None:
    settings = replace(attempt.program.settings, allow_hosts=("*.example.org",))
    invoked = attempt.invoking(replace(attempt.program, settings=settings), attempt.request)
    with pytest.raises(HostCallRefused, match="do not allow"):
        call(invoked, *asking(f"http://{OPEN}:{hello.port}/"))
    assert hello.connections_so_far() == 0


def test_one_invocation_makes_so_many_requests(attempt: Attempt, hello: Stranger) -> None:
    attempt.shared.http_calls = http.CALLS_MAX - 1
    call(attempt, *asking(f"http://{OPEN}:{hello.port}/"))
    with pytest.raises(HostCallRefused, match="at most 100 requests"):
        call(attempt, *asking(f"http://{OPEN}:{hello.port}/"))
    assert hello.connections_so_far() == 1


URL = f"http://{OPEN}/"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ((), "needs 5 fields"), ((b"x",) * 6, "needs 5 fields"), (asking("ftp://x/"), "not spoken"),
        (asking(URL + "\r\nX: y"), "printable ASCII"), (asking("http://ä/"), "printable ASCII"),
        (asking(URL, b"CONNECT"), "no method"), (asking(URL, b"trace"), "no method"),
        (asking(URL, b"A B"), "no method"),
        (asking(URL, b"GET / HTTP/1.1\r\nX: y"), "no method"), (asking(URL, b"G\0T"), "no method"),
        (asking(URL, b"", b"sometimes"), "redirect must be one of"), (asking(URL, b"", b"\xff"), "redirect must be"),
        (asking(URL, b"", b"", b"0"), "timeout_ms must be"), (asking(URL, b"", b"", b"-1"), "timeout_ms must be"),
        (asking(URL, b"", b"", b"1.5"), "timeout_ms must be"), (asking(URL, b"GET", b"", b"", b"x"), "GET has no body"),
        *((asking(URL, b"", b"", b"", b"", name, b"x"), "not a script's to set") for name in (
            b"Host", b"content-length", b"Transfer-Encoding", b"connection", b"TE", b"Trailer", b"Upgrade",
            b"Keep-Alive", b"Expect", b"Proxy-Authorization", b"proxy-anything")),
        *((asking(URL, b"", b"", b"", b"", name, b"x"), "no name of a header") for name in (
            b"", b"a b", b"a:", b"a\r\nb", b"\xc3\xa4", b"a\0", b" a", b"x" * 300)),
        *((asking(URL, b"", b"", b"", b"", b"a", value), "control character") for value in (
            b"a\r\nb: c", b"a\nb", b"a\rb", b"a\0b", b"\x7f", b"a\r\n\tb")),
        (asking(URL, b"", b"", b"", b"", *(b"a", b"b") * 101), "at most 100 headers"),
        (asking(URL, b"", b"", b"", b"", b"a", b"b" * 40_000), "at most 100 headers"),
    ],
)  # fmt: skip
def test_what_is_not_valid_is_an_error_and_no_call(
    attempt: Attempt, around: Around, fields: tuple[bytes, ...], reason: str
) -> None:
    with pytest.raises(HostCallRefused, match=reason):
        call(attempt, *fields)
    assert around.asked == []


def test_without_a_method_it_is_a_get_or_with_a_body_a_post(attempt: Attempt, hello: Stranger) -> None:
    call(attempt, *asking(f"http://{OPEN}:{hello.port}/"))
    call(attempt, *asking(f"http://{OPEN}:{hello.port}/", body=b"x"))
    call(attempt, *asking(f"http://{OPEN}:{hello.port}/", b"patch", body=b"x"))
    assert [it.split()[0] for it in hello.heard] == [b"GET", b"POST", b"PATCH"]


def test_a_time_of_its_own_is_an_error_and_the_invocations_ends_it(attempt: Attempt, around: Around) -> None:
    def say_nothing(connection: socket.socket, _: bytes) -> None:
        connection.recv(1)

    with stranger(say_nothing) as silent:
        url = f"http://{OPEN}:{silent.port}/"
        with pytest.raises(HostCallRefused, match="no answer in time"):
            call(attempt, *asking(url, timeout=b"50"))
        with pytest.raises(DeadlinePassed, match="exceeded the wall clock limit of 10000 ms"):
            call(attempt, *asking(url, timeout=b"60000"), within_s=0.2)
