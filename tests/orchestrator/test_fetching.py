"""Requests to other servers, against real ones on loopback and names of the test's own."""

import contextlib
import gzip
import ipaddress
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from picloud.errors import Forbidden, InvalidRequest, NoAnswer
from picloud.model import HostPattern
from picloud.orchestrator.outbound import urls
from picloud.orchestrator.outbound.addresses import Address
from picloud.orchestrator.outbound.bodies import BODY_BYTES_MAX
from picloud.orchestrator.outbound.connections import is_this_machine
from picloud.orchestrator.outbound.fetching import REDIRECTS_MAX, Allowed, Fetcher
from picloud.orchestrator.outbound.messages import Incoming, Outgoing, Redirects
from tests.orchestrator.strangers import PATIENCE_S, Authority, Stranger, Talk, response, saying, stranger

OPEN = "open.test"  # the operator allows this name to be private: it stands for what is public
NAMES = {
    OPEN: ["127.0.0.1"],
    "other.test": ["127.0.0.1"],
    "localhost": ["127.0.0.1", "::1"],
    "inside.test": ["127.0.0.1"],
    "inside6.test": ["::1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "zero.test": ["0.0.0.0"],
    "both.test": ["127.0.0.1", "::1", "10.0.0.1"],
    "nothing.test": [],
}


class Names:
    """A resolver of the test's own, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, name: str) -> Sequence[Address]:
        self.asked.append(name)
        return [ipaddress.ip_address(text) for text in NAMES.get(name, [])]


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def fetcher(names: Names) -> Fetcher:
    return Fetcher(names, (HostPattern(OPEN), HostPattern("other.test")))


ANY = Allowed(None)


def fetch(
    fetcher: Fetcher,
    url: str,
    *headers: tuple[str, str],
    method: str = "GET",
    body: bytes = b"",
    mode: Redirects = Redirects.FOLLOW,
    allowed: Allowed = ANY,
    within_s: float = PATIENCE_S,
) -> Incoming:
    sent = Outgoing(method, urls.parse(url), headers, body)
    return fetcher.fetch(sent, mode, allowed, time.monotonic() + within_s)


def refused(fetcher: Fetcher, url: str, **how: object) -> str:
    with pytest.raises(NoAnswer) as caught:
        fetch(fetcher, url, **how)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.fixture
def hello() -> Iterator[Stranger]:
    with stranger(saying(response(b"hello", b"X-A: 1", b"x-a: 2"))) as one:
        yield one


def test_a_request_is_made_and_its_answer_read(fetcher: Fetcher, hello: Stranger) -> None:
    answer = fetch(fetcher, f"http://{OPEN}:{hello.port}/a?b", ("x-b", "1"), ("x-b", "2"), method="PUT", body=b"sent")
    assert (answer.status, answer.body, dict(answer.headers)["x-a"]) == (200, b"hello", "1, 2")
    head, _, _ = hello.heard[0].partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    assert first == b"PUT /a?b HTTP/1.1"
    assert sorted(line.lower() for line in lines) == [
        b"accept-encoding: gzip, deflate", b"accept: */*", b"connection: close", b"content-length: 4",
        b"host: open.test:%d" % hello.port, b"user-agent: picloud", b"x-b: 1", b"x-b: 2",
    ]  # fmt: skip


# ── where it may go ─────────────────────────────────────────────────────────────────────────────────────────────────

INSIDE = ["127.0.0.1", "127.1.2.3", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
          "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "0.0.0.0", "localhost", "LOCALHOST.", "inside.test",
          "inside6.test", "mapped.test", "zero.test", "both.test", "nothing.test"]  # fmt: skip
MISSPELLED = ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.0x0.0x0.0x1", "017700000001", "127.0.1",
              "[::1%25lo]", "open.test@127.0.0.1", "127.0.0.1#@open.test:1", "open.test:80@127.0.0.1"]  # fmt: skip


@pytest.mark.parametrize("host", INSIDE)
def test_what_is_inside_is_refused_before_a_connection_is_made(fetcher: Fetcher, hello: Stranger, host: str) -> None:
    shown = urls.parse(f"http://{host}/").host
    assert refused(fetcher, f"http://{host}:{hello.port}/") == f"there is no public host {shown}"
    assert refused(fetcher, f"https://{host}:{hello.port}/") == f"there is no public host {shown}"
    assert hello.connections_so_far() == 0


@pytest.mark.parametrize("host", MISSPELLED)
def test_other_spellings_of_what_is_inside_are_no_urls(fetcher: Fetcher, hello: Stranger, host: str) -> None:
    with pytest.raises((InvalidRequest, NoAnswer)):
        fetch(fetcher, f"http://{host}:{hello.port}/")
    assert hello.connections_so_far() == 0


@pytest.mark.parametrize("host", INSIDE)
def test_a_redirect_to_what_is_inside_is_refused(fetcher: Fetcher, hello: Stranger, host: str) -> None:
    location = f"location: http://{host}:{hello.port}/".encode()
    with stranger(saying(response(b"", location, status=b"302 Found"))) as leading:
        assert "there is no public host" in refused(fetcher, f"http://{OPEN}:{leading.port}/")
    assert hello.connections_so_far() == 0


@pytest.mark.parametrize(
    "location",
    [b"file:///etc/passwd", b"gopher://127.0.0.1/", b"http://u:p@open.test/", b"http://127.1/", b"http://[x"],
)
def test_a_redirect_to_what_is_no_url_of_ours_is_refused(fetcher: Fetcher, location: bytes) -> None:
    with stranger(saying(response(b"", b"location: " + location, status=b"307 Temporary Redirect"))) as leading:
        assert "redirects to what is no URL" in refused(fetcher, f"http://{OPEN}:{leading.port}/")


def test_a_name_is_looked_up_once_and_what_was_checked_is_connected_to(hello: Stranger) -> None:
    """A DNS that answers differently the second time is not asked a second time."""
    answers = [["127.0.0.1"], ["127.0.0.66"]]
    fetcher = Fetcher(lambda _: [ipaddress.ip_address(it) for it in answers.pop(0)], (HostPattern(OPEN),))
    assert fetch(fetcher, f"http://{OPEN}:{hello.port}/").body == b"hello"
    assert answers == [["127.0.0.66"]]


def test_each_hop_is_looked_up_and_checked_afresh(fetcher: Fetcher, names: Names) -> None:
    talks = iter([saying(response(b"", b"location: /b", status=b"302 Found")), saying(response(b"there"))])
    with stranger(lambda connection, head: next(talks)(connection, head)) as one:
        answer = fetch(fetcher, f"http://{OPEN}:{one.port}/a")
    assert (answer.body, str(answer.url)) == (b"there", f"http://{OPEN}:{one.port}/b")
    assert names.asked == [OPEN, OPEN]


def test_of_a_name_with_addresses_of_both_kinds_only_the_public_ones_are_tried(hello: Stranger) -> None:
    fetcher = Fetcher(lambda _: [ipaddress.ip_address(it) for it in ("127.0.0.1", "::1", "10.1.2.3")], ())
    assert "no public host" in refused(fetcher, f"http://mixed.test:{hello.port}/")
    assert hello.connections_so_far() == 0


def test_a_private_host_is_allowed_at_its_port_only(names: Names, hello: Stranger) -> None:
    fetcher = Fetcher(names, (HostPattern(OPEN, hello.port + 1), HostPattern("127.0.0.1", hello.port)))
    assert "no public host" in refused(fetcher, f"http://{OPEN}:{hello.port}/")
    assert hello.connections_so_far() == 0
    assert fetch(fetcher, f"http://127.0.0.1:{hello.port}/").body == b"hello"


def test_the_addresses_of_this_machine_are_known_as_such() -> None:
    assert is_this_machine(ipaddress.ip_address("127.0.0.1"))
    assert is_this_machine(ipaddress.ip_address("::1"))
    assert not is_this_machine(ipaddress.ip_address("192.0.2.1"))


def test_a_script_calls_what_it_may_and_is_not_led_elsewhere(fetcher: Fetcher, hello: Stranger) -> None:
    location = f"location: http://other.test:{hello.port}/".encode()
    with stranger(saying(response(b"", location, status=b"301 Moved"))) as leading:
        url = f"http://{OPEN}:{leading.port}/"
        assert fetch(fetcher, url).body == b"hello"
        for patterns in ((), (HostPattern(OPEN),), (HostPattern("test", below=True, port=leading.port),)):
            with pytest.raises(Forbidden, match="do not allow"):
                fetch(fetcher, url, allowed=Allowed(patterns))
    assert hello.connections_so_far() == 1


def test_the_environments_proxies_are_nobodys(
    fetcher: Fetcher, hello: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stranger(saying(response(b"proxied"))) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert fetch(fetcher, f"http://{OPEN}:{hello.port}/").body == b"hello"
        assert proxy.connections_so_far() == 0


# ── redirects ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "method", "then", "body"),
    [
        (b"301 x", "POST", b"GET", b""), (b"302 x", "POST", b"GET", b""), (b"303 x", "POST", b"GET", b""),
        (b"301 x", "PUT", b"PUT", b"b"), (b"302 x", "DELETE", b"DELETE", b"b"), (b"303 x", "PUT", b"GET", b""),
        (b"303 x", "HEAD", b"HEAD", b""), (b"307 x", "POST", b"POST", b"b"), (b"308 x", "PATCH", b"PATCH", b"b"),
    ],
)  # fmt: skip
def test_method_and_body_follow_the_fetch_standard(
    fetcher: Fetcher, status: bytes, method: str, then: bytes, body: bytes
) -> None:
    sent = b"" if method == "HEAD" else b"b"
    first = response(b"", b"location: /next", status=status)

    def talk(connection: socket.socket, head: bytes) -> None:
        connection.sendall(response() if b"/next" in head else first)

    with stranger(talk) as one:
        fetch(fetcher, f"http://{OPEN}:{one.port}/", ("content-type", "a/b"), ("x-a", "1"), method=method, body=sent)
    head, _, came = one.heard[1].partition(b"\r\n\r\n")
    assert (head.split()[0], came, b"x-a: 1" in head) == (then, body, True)
    assert (b"content-type: a/b" in head) is (then.decode() == method)


def test_secrets_stay_with_the_origin_that_they_are_for(fetcher: Fetcher, hello: Stranger) -> None:
    def talk(connection: socket.socket, head: bytes) -> None:
        there = b"/b" if b" /a " in head else b"http://other.test:%d/" % hello.port
        connection.sendall(response(b"", b"location: " + there, status=b"307 x"))

    secrets = (("authorization", "Bearer x"), ("cookie", "a=b"), ("x-api", "y"))
    with stranger(talk) as one:
        fetch(fetcher, f"http://{OPEN}:{one.port}/a", *secrets)
    assert b"Bearer x" in one.heard[1]
    assert b"a=b" in one.heard[1]
    assert b"authorization" not in hello.heard[0].lower()
    assert b"cookie" not in hello.heard[0].lower()
    assert b"x-api: y" in hello.heard[0]


def test_redirects_end(fetcher: Fetcher) -> None:
    with stranger(saying(response(b"", b"location: /again", status=b"302 Found"))) as one:
        assert "more than 10 redirects" in refused(fetcher, f"http://{OPEN}:{one.port}/")
        assert one.connections_so_far() == REDIRECTS_MAX + 1


def test_a_redirect_may_be_the_answer_or_an_error(fetcher: Fetcher) -> None:
    with stranger(saying(response(b"moved", b"location: /there", status=b"302 Found"))) as one:
        url = f"http://{OPEN}:{one.port}/"
        answer = fetch(fetcher, url, mode=Redirects.MANUAL)
        assert (answer.status, answer.body, dict(answer.headers)["location"]) == (302, b"moved", "/there")
        assert "redirects" in refused(fetcher, url, mode=Redirects.ERROR)
        assert one.connections_so_far() == 2


def test_a_redirect_without_a_location_is_an_answer(fetcher: Fetcher) -> None:
    with stranger(saying(response(b"x", status=b"304 Not Modified"), b"")) as one:
        assert fetch(fetcher, f"http://{OPEN}:{one.port}/").status == 304


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def dripping(first: bytes, drop: bytes) -> Talk:
    """Send a little, again and again, for as long as somebody is there."""

    def talk(connection: socket.socket, _: bytes) -> None:
        connection.sendall(first)
        pause = threading.Event()
        while True:
            connection.sendall(drop)
            pause.wait(0.02)

    return talk


@pytest.mark.parametrize(
    "talk",
    [
        dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\n", b"x"),
        dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", b"x"),
        dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        dripping(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"0"),
        dripping(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
        lambda connection, _: connection.recv(1),
    ],
    ids=["continue", "headers", "length", "until the end", "chunks", "chunk size", "trailers", "silence"],
)  # fmt: skip
def test_a_server_that_drips_is_left_in_time(fetcher: Fetcher, talk: Talk) -> None:
    with stranger(talk) as one:
        assert refused(fetcher, f"http://{OPEN}:{one.port}/", within_s=0.5) == "open.test: no answer in time"


def test_a_tls_server_that_says_nothing_is_left_in_time(fetcher: Fetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # which never accepts
        url = f"https://{OPEN}:{silent.getsockname()[1]}/"
        assert refused(fetcher, url, within_s=0.5) == "open.test: no answer in time"


def test_a_server_that_does_not_read_is_left_in_time(fetcher: Fetcher) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as deaf:
        url = f"http://{OPEN}:{deaf.getsockname()[1]}/"
        body = bytes(64 * 1024 * 1024)
        assert refused(fetcher, url, method="POST", body=body, within_s=1.0) == "open.test: no answer in time"


def test_a_name_that_is_looked_up_for_ever_is_left_in_time() -> None:
    never = threading.Event()

    def lookup(_: str) -> Sequence[Address]:
        never.wait(PATIENCE_S)
        return ()

    assert refused(Fetcher(lookup, ()), "http://slow.test/", within_s=0.2) == "slow.test: no answer in time"
    never.set()


def test_names_of_one_script_that_are_looked_up_for_ever_keep_no_other_from_theirs(hello: Stranger) -> None:
    never = threading.Event()

    def lookup(name: str) -> Sequence[Address]:
        if name.endswith("slow.test"):
            never.wait(PATIENCE_S)
        return [ipaddress.ip_address("127.0.0.1")]

    fetcher = Fetcher(lookup, (HostPattern(OPEN),))
    with ThreadPoolExecutor(100) as threads:
        left = [
            threads.submit(refused, fetcher, f"http://{at}.slow.test/", allowed=Allowed(None, "greedy"), within_s=0.2)
            for at in range(100)
        ]
        assert {it.result().partition(": ")[2] for it in left} == {"no answer in time"}
    answer = fetch(fetcher, f"http://{OPEN}:{hello.port}/", allowed=Allowed(None, "another"), within_s=PATIENCE_S / 2)
    assert answer.body == b"hello"
    never.set()
    assert fetch(fetcher, f"http://{OPEN}:{hello.port}/", allowed=Allowed(None, "greedy")).body == b"hello"


def test_what_a_server_sends_instead_of_headers_is_not_written_to_our_log(
    fetcher: Fetcher, caplog: pytest.LogCaptureFixture
) -> None:
    with stranger(saying(b"HTTP/1.1 200 OK\r\nx-a: b\r\n c\rd\r\nx-b: c\r\n\r\n")) as one:
        fetch(fetcher, f"http://{OPEN}:{one.port}/?key=a-secret")
    assert caplog.text == ""


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n\r\nhel"])
def test_a_server_that_stops_ends_what_is_under_way(fetcher: Fetcher, begun: bytes) -> None:
    asked = threading.Event()

    def talk(connection: socket.socket, _: bytes) -> None:
        connection.sendall(begun)
        asked.set()
        connection.recv(1)

    ended = threading.Event()

    def wait() -> None:
        with contextlib.suppress(NoAnswer):  # what came until then may be the answer
            fetch(fetcher, url, within_s=600)
        ended.set()

    with stranger(talk) as one:
        url = f"http://{OPEN}:{one.port}/"
        threading.Thread(target=wait, daemon=True).start()
        assert asked.wait(PATIENCE_S)
        fetcher.abort()
        assert ended.wait(PATIENCE_S)
        assert refused(fetcher, url, within_s=600)


# ── size ────────────────────────────────────────────────────────────────────────────────────────────────────────────

BOMB = gzip.compress(bytes(4 * BODY_BYTES_MAX))


@pytest.mark.parametrize(
    ("packed", "encoding"),
    [
        (gzip.compress(b"hello"), b"gzip"), (gzip.compress(b"hello"), b"X-GZip"),
        (gzip.compress(b"hel") + gzip.compress(b"lo"), b"gzip"), (gzip.compress(b"hello") + bytes(512), b"gzip"),
        (zlib.compress(b"hello"), b"deflate"), (zlib.compress(b"hello")[2:-4], b"deflate"), (b"hello", b"identity"),
        (b"hello", b"br"),
    ],
)  # fmt: skip
def test_a_packed_body_is_unpacked(fetcher: Fetcher, packed: bytes, encoding: bytes) -> None:
    with stranger(saying(response(packed, b"content-encoding: " + encoding))) as one:
        answer = fetch(fetcher, f"http://{OPEN}:{one.port}/")
        assert answer.body == b"hello"
        assert ("content-encoding" in dict(answer.headers)) is (encoding in (b"identity", b"br"))
        raw = fetch(fetcher, f"http://{OPEN}:{one.port}/", ("accept-encoding", "gzip"))
        assert (raw.body, dict(raw.headers)["content-encoding"]) == (packed, encoding.decode())


def test_a_large_body_comes_packed_or_not(fetcher: Fetcher) -> None:
    body = bytes(range(256)) * (BODY_BYTES_MAX // 256)
    for sent in (response(body), response(gzip.compress(body, 1), b"content-encoding: gzip")):
        with stranger(saying(sent)) as one:
            assert fetch(fetcher, f"http://{OPEN}:{one.port}/").body == body


@pytest.mark.parametrize(
    "sent",
    [
        response(bytes(BODY_BYTES_MAX + 1)),
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(BODY_BYTES_MAX + 1),
        response(BOMB, b"content-encoding: gzip"),
        response(gzip.compress(b"") * (BODY_BYTES_MAX // 20 + 1), b"content-encoding: gzip"),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"%x\r\n" % (1 << 40) + bytes(2 * BODY_BYTES_MAX),
    ],
    ids=["length", "until the end", "bomb", "of nothing", "chunk"],
)
def test_a_body_that_is_too_large_is_not_read_to_its_end(fetcher: Fetcher, sent: bytes) -> None:
    with stranger(saying(sent)) as one:
        assert "has more than" in refused(fetcher, f"http://{OPEN}:{one.port}/")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "the connection failed"), (b"nonsense\r\n\r\n", "no HTTP"), (b"HTTP/1.1 99999 x\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\na: " + b"b" * 70_000 + b"\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + (b"a: " + b"b" * 60_000 + b"\r\n") * 2 + b"\r\n", "headers"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1" * 70_000, "no HTTP"),
        (response(b"no gzip at all", b"content-encoding: gzip"), "not packed as it says"),
        (response(gzip.compress(b"x" * 99)[:-9], b"content-encoding: gzip"), "in the middle"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_an_error_that_says_so(fetcher: Fetcher, sent: bytes, reason: str) -> None:
    with stranger(saying(sent)) as one:
        assert reason in refused(fetcher, f"http://{OPEN}:{one.port}/")


def test_who_is_not_there_is_an_error_that_names_no_address(fetcher: Fetcher) -> None:
    with socket.socket() as deaf:  # which has a port, and never listens
        deaf.bind(("127.0.0.1", 0))
        url = f"http://{OPEN}:{deaf.getsockname()[1]}/"
        assert refused(fetcher, url) == "open.test: it refused the connection"


# ── TLS ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority


def test_a_server_with_a_valid_certificate_is_asked(fetcher: Fetcher, trusted: Authority) -> None:
    with stranger(saying(response(b"secret")), trusted.context(OPEN)) as one:
        assert fetch(fetcher, f"https://{OPEN}:{one.port}/").body == b"secret"


def test_a_certificate_for_an_address_is_taken_for_that_address(names: Names, trusted: Authority) -> None:
    fetcher = Fetcher(names, (HostPattern("127.0.0.1"),))
    with stranger(saying(response(b"secret")), trusted.context("127.0.0.1")) as one:
        assert fetch(fetcher, f"https://127.0.0.1:{one.port}/").body == b"secret"


def stranger_context(_: Authority, folder: Path) -> object:
    return Authority(folder, "nobody we know").context(OPEN)


@pytest.mark.parametrize(
    "context",
    [
        stranger_context,
        lambda trusted, _: trusted.context("other.test"),
        lambda trusted, _: trusted.context("*.open.test"),
        lambda trusted, _: trusted.context(OPEN, days=-1),
    ],
    ids=["nobody's", "another host's", "below it", "of yesterday"],
)
def test_a_server_without_a_valid_certificate_hears_nothing(
    fetcher: Fetcher, trusted: Authority, tmp_path: Path, context: Callable[..., object]
) -> None:
    with stranger(saying(response(b"secret")), context(trusted, tmp_path)) as one:  # type: ignore[arg-type]
        reason = refused(fetcher, f"https://{OPEN}:{one.port}/")
    assert reason.startswith("open.test: its certificate is not valid: ")
    assert one.heard == []


def test_tls_drips_end_in_time_too(fetcher: Fetcher, trusted: Authority) -> None:
    talk = dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x")
    with stranger(talk, trusted.context(OPEN)) as one:
        assert refused(fetcher, f"https://{OPEN}:{one.port}/", within_s=1.0) == "open.test: no answer in time"


def test_plain_text_where_tls_is_spoken_is_an_error(fetcher: Fetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer() -> None:
            connection, _ = plain.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        assert refused(fetcher, f"https://{OPEN}:{plain.getsockname()[1]}/") == "open.test: TLS failed"
        answering.join()
