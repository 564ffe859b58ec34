"""What clients see of PiCloud through Caddy: TLS, HTTP/2, streams, limits, addresses, domains, restarts."""

import contextlib
import gzip
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.acceptance.test_http_fetch import World
from tests.caddy.conftest import CADDYFILE, SITE, Caddy, Unix, private
from tests.running import PATIENCE_S, ROOT, Answer, eventually

STREAM = """return function()
  return { headers = { ["content-type"] = "%s" }, body = stream(function(write)
    for n = 1, 3 do write("data: " .. n .. "\\n\\n") http.get("%s/slow") end
  end) }
end"""


def ask(
    caddy: Caddy,
    method: str,
    path: str,
    body: bytes | None = None,
    name: str = SITE,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One exchange over HTTP/1.1."""
    with contextlib.closing(caddy.connection(name)) as connection:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        names = [(key.lower(), value) for key, value in response.getheaders()]
        return Answer(response.status, names, response.read())


# ── the file ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "more", [{}, {"PICLOUD_ROLES": "split"}, {"PICLOUD_TLS": "public"}, {"PICLOUD_SITE": "a.example, b.example"}]
)
def test_the_site_is_valid(tmp_path: Path, more: Mapping[str, str]) -> None:
    command = ["caddy", "validate", "--adapter", "caddyfile", "--config", str(CADDYFILE)]
    run = subprocess.run(command, env=private(tmp_path, **more), cwd=tmp_path, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()


def test_the_site_is_written_as_caddy_writes(tmp_path: Path) -> None:
    run = subprocess.run(["caddy", "fmt", CADDYFILE], env=private(tmp_path), capture_output=True, check=False)
    assert run.stdout.decode() == CADDYFILE.read_text(encoding="utf-8")


def test_a_caddyfile_may_import_it_first(tmp_path: Path) -> None:
    (tmp_path / "Caddyfile").write_text(f'import {CADDYFILE}\n\nother.example {{\n\trespond "mine"\n}}\n')
    run = subprocess.run(
        ["caddy", "adapt", "--adapter", "caddyfile", "--config", tmp_path / "Caddyfile"],
        env=private(tmp_path), cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr.decode()
    assert "other.example" in run.stdout.decode()


def test_the_services_apart_have_the_paths_that_the_documentation_says() -> None:
    def paths(file: Path) -> set[str]:
        lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
        return {path for words in lines if words[:2] == ["not", "path"] for path in words[2:]}

    assert paths(CADDYFILE) == paths(ROOT / "docs/http-api.md")
    assert len(paths(CADDYFILE)) > 5


# ── TLS and HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_certificate_is_for_the_site(caddy: Caddy) -> None:
    assert ask(caddy, "GET", "/healthz").json == {"status": "ok"}
    with pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(
            socket.create_connection(("127.0.0.1", caddy.https)), server_hostname=SITE
        )


def test_plain_http_leads_to_https(caddy: Caddy) -> None:
    for name in (SITE, "another.example"):
        with socket.create_connection(("127.0.0.1", caddy.http), PATIENCE_S) as client:
            client.sendall(f"GET /x?y=1 HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        assert answer.startswith("HTTP/1.1 308 ")
        assert f"Location: https://{name}/x?y=1" in answer


def test_http_2_is_spoken(caddy: Caddy) -> None:
    told = caddy.curl("/healthz", "--http2", "--write-out", " %{http_version} %{http_code}")
    assert told.stdout.decode() == '{"status":"ok"} 2 200', told


def test_who_the_client_is_is_caddys_word_and_not_the_clients(picloud: Unix, caddy: Caddy) -> None:
    seen = "{ headers = r.headers, addr = r.remote_addr, host = r.host }"
    picloud.deploy("who", f"return function(r) return {{ body = {seen} }} end")
    lies = dict.fromkeys(
        ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Forwarded", "X-Forwarded-Port"), "6.6.6.6"
    )
    answer = ask(caddy, "GET", "/fn/who", headers=lies)
    assert "6.6.6.6" not in answer.body.decode()
    got = answer.json
    assert (got["addr"], got["host"].partition(":")[0]) == ("127.0.0.1", SITE)
    assert got["headers"]["x-forwarded-proto"] == "https"


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_large_answer_is_compressed_for_who_takes_it(picloud: Unix, caddy: Caddy) -> None:
    picloud.deploy("large", 'return { list = { ("0123456789"):rep(10000) } }')
    plain = ask(caddy, "GET", "/fn/large")
    packed = ask(caddy, "GET", "/fn/large", headers={"accept-encoding": "gzip"})
    assert (plain.header("content-encoding"), packed.header("content-encoding")) == (None, "gzip")
    assert len(packed.body) < len(plain.body) / 10
    assert gzip.decompress(packed.body) == plain.body
    assert packed.header("vary") == "Accept-Encoding"
    told = caddy.curl("/fn/large", "--http2", "-H", "Accept-Encoding: zstd", "-D", "-", "-o", "/dev/null")
    assert b"content-encoding: zstd" in told.stdout


@pytest.mark.parametrize("content_type", ["text/event-stream", "text/plain", "application/json"])
def test_each_piece_of_a_stream_arrives_before_the_next_is_made(
    picloud: Unix, caddy: Caddy, world: World, content_type: str
) -> None:
    picloud.deploy("pieces", STREAM % (content_type, world.url))
    with contextlib.closing(caddy.connection()) as connection:
        connection.request("GET", "/fn/pieces", headers={"accept-encoding": "gzip, zstd"})
        response = connection.getresponse()
        assert response.headers["content-encoding"] is None
        for n in (b"1", b"2", b"3"):
            assert response.readline() + response.readline() == b"data: " + n + b"\n\n"
            world.await_waiting(1)  # the script cannot have made the next one
            world.go_on()
        assert response.read() == b""


def test_pieces_arrive_over_http_2_too(picloud: Unix, caddy: Caddy, world: World) -> None:
    picloud.deploy("pieces", STREAM % ("text/event-stream", world.url))
    command = [
        "curl", "-sSN", "--http2", "--compressed", "--cacert", str(caddy.authority),
        "--resolve", f"{SITE}:{caddy.https}:127.0.0.1", f"https://{SITE}:{caddy.https}/fn/pieces",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
        assert curl.stdout
        for n in (b"1", b"2", b"3"):
            assert curl.stdout.readline() + curl.stdout.readline() == b"data: " + n + b"\n\n"
            world.await_waiting(1)
            world.go_on()
        assert curl.stdout.read() == b""


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_a_client_that_hangs_up_ends_its_script(picloud: Unix, caddy: Caddy, world: World, version: str) -> None:
    picloud.deploy("waits", f'return function() kv.set("k", 1) http.get("{world.url}/slow") return 1 end')
    before = len(gone(picloud))
    command = [
        "curl", "-sS", version, "--cacert", str(caddy.authority), "--resolve", f"{SITE}:{caddy.https}:127.0.0.1",
        f"https://{SITE}:{caddy.https}/fn/waits",
    ]  # fmt: skip
    with subprocess.Popen(command) as curl:
        world.await_waiting(1)
        curl.kill()
    eventually(lambda: len(gone(picloud)), lambda count: count == before + 1)
    assert picloud.api("GET", "scripts/waits/kv").json["items"] == []
    world.go_on()


def gone(picloud: Unix) -> list[object]:
    found: list[object] = picloud.api("GET", "invocations?script=waits&outcome=caller-gone").json["items"]
    return found


# ── bodies ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_body_arrives_whole(picloud: Unix, caddy: Caddy) -> None:
    picloud.deploy("length", "return function(request) return tostring(#request.body) end")
    for size in (0, 100, 1024 * 1024):
        assert ask(caddy, "POST", "/fn/length", b"x" * size).body == str(size).encode()


@pytest.mark.parametrize("how", [[], ["-H", "Transfer-Encoding: chunked"]])
def test_a_body_that_is_too_large_is_refused_with_picloud_s_page(
    picloud: Unix, caddy: Caddy, tmp_path: Path, how: list[str]
) -> None:
    picloud.deploy("length", "return function(request) return tostring(#request.body) end")
    (tmp_path / "body").write_bytes(b"x" * 8_000_000)
    for _ in range(10):  # what breaks off while it is sent must not come before the answer
        told = caddy.curl("/fn/length", "--http1.1", "-H", "Expect:", "--data-binary", f"@{tmp_path}/body", *how)
        assert json.loads(told.stdout)["type"] == "/problems/body-too-large", told


@pytest.mark.parametrize("how", [[], ["-H", "Transfer-Encoding: chunked"]])
def test_no_body_is_larger_than_any_may_be(picloud: Unix, caddy: Caddy, tmp_path: Path, how: list[str]) -> None:
    picloud.deploy("most", "return function(request) return tostring(#request.body) end")
    picloud.set("most", {"limits": {"request_bytes": 64 << 20, "memory_bytes": 512 << 20}})
    with (tmp_path / "body").open("wb") as body:
        body.truncate((64 << 20) + 1)
    told = caddy.curl("/fn/most", "--http1.1", "-H", "Expect:", "--data-binary", f"@{tmp_path}/body", *how)
    problem = json.loads(told.stdout)
    assert (problem["type"], problem["status"]) == ("/problems/body-too-large", 413)


def test_a_slow_body_holds_no_thread(picloud: Unix, caddy: Caddy) -> None:
    """More of them than PiCloud has threads, each with all but its last byte."""
    picloud.deploy("length", "return function(request) return tostring(#request.body) end")
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(contextlib.closing(caddy.connection())) for _ in range(200)]
        for connection in slow:
            connection.putrequest("POST", "/fn/length")
            connection.putheader("Content-Length", "10")
            connection.endheaders(b"123456789")
        assert ask(caddy, "POST", "/fn/length", b"x").body == b"1"
        eventually(lambda: connections(picloud), lambda count: count == 0)  # those of others before may linger
        slow[0].send(b"0")
        assert slow[0].getresponse().read() == b"10"


def connections(picloud: Unix) -> int:
    """How many PiCloud has on its socket, beside the one that listens."""
    lines = Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()
    mine = [line.split() for line in lines if line.endswith(f" {picloud.path}")]
    return len([it for it in mine if it[5] == "03"])  # SS_CONNECTED


# ── domains ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def shop(picloud: Unix) -> Iterator[str]:
    picloud.deploy("shop", 'return function(request) return "welcome to " .. request.host:gsub(":.*", "") end')
    route = picloud.api("POST", "routes", {"host": "shop.example", "path": "/", "script": "shop"}).json["id"]
    yield "shop.example"
    picloud.api("DELETE", f"routes/{route}")


def test_a_domain_with_a_route_has_a_certificate_when_somebody_comes(caddy: Caddy, shop: str) -> None:
    assert ask(caddy, "GET", "/", name=shop).body == b"welcome to shop.example"
    told = caddy.curl("/", "--http2", name=shop)
    assert told.stdout == b"welcome to shop.example", told


def test_a_domain_without_a_route_has_none(caddy: Caddy, shop: str) -> None:
    for name in ("other.example", f"www.{shop}", "example"):
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            ask(caddy, "GET", "/", name=name)


PATHS = [
    "/api/v1/hosts", "/api/v1/hosts?domain=shop.example", "/API/v1/Hosts", "/api/v1/%68osts", "/api%2fv1/hosts",
    "//api/v1/hosts", "/api/v1//hosts", "/api/v1/./hosts", "/api/v1/x/../hosts", "/api/v1/hosts/",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_which_domains_there_are_is_not_told_to_the_world(caddy: Caddy, shop: str, path: str) -> None:
    for name in (SITE, shop):
        answer = ask(caddy, "GET", path, name=name)
        assert answer.status == 404
        assert answer.problem == "not-found"
        assert shop not in answer.body.decode()


# ── restarts ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Load:
    """Clients that ask all the time, by GET and by POST, until they are told to stop."""

    def __init__(self, caddy: Caddy, clients: int) -> None:
        self.answered = 0
        self.wrong: list[object] = []
        self._caddy = caddy
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(at,)) for at in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self, at: int) -> None:
        method, body = (("GET", None), ("POST", b"x" * 1000))[at % 2]
        while not self._stop.wait(0.02):
            try:
                answer = ask(self._caddy, method, "/fn/length", body)
                if answer.status != 200:
                    self.wrong.append(answer)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a failure
                self.wrong.append(error)
            self.answered += 1

    def more(self) -> None:
        """Wait until some more were answered."""
        goal = self.answered + 20
        eventually(lambda: self.answered, lambda count: count >= goal)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["restart", "reload"])
def test_a_restart_behind_it_fails_no_request(picloud: Unix, caddy: Caddy, number: signal.Signals) -> None:
    picloud.deploy("length", "return function(request) return tostring(#request.body) end")
    load = Load(caddy, 4)
    try:
        for _ in range(2):
            load.more()
            server, before = picloud.part(picloud.server), set(picloud.workers())
            time.sleep(2.5)  # `up` takes one that ends sooner for broken
            os.kill(server, number)
            eventually(lambda b=before: picloud.has_workers() and b.isdisjoint(picloud.workers()), bool)  # type: ignore[misc]
            load.more()
    finally:
        load.stop()
    assert load.wrong == []


def test_what_broke_off_is_asked_again_if_it_is_a_get(picloud: Unix, caddy: Caddy, world: World) -> None:
    """By `kill -9`: what a POST did is not known, so its client hears that it broke off."""
    get = f'http.get("{world.url}/slow", {{ timeout_ms = 60000 }})'
    picloud.deploy("waits", f"return function(request) {get} return request.method end")
    picloud.set("waits", {"limits": {"wall_ms": 120_000}})
    answers: dict[str, Answer] = {}

    def asking(method: str) -> None:
        answers[method] = ask(caddy, method, "/fn/waits", b"x" if method == "POST" else None)

    threads = [threading.Thread(target=asking, args=(method,)) for method in ("GET", "POST")]
    for thread in threads:
        thread.start()
    world.await_waiting(2)
    for pid in picloud.workers():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: "POST" in answers, bool)
    while threads[0].is_alive():
        world.go_on()  # those that broke off wait, too
        threads[0].join(0.1)
    threads[1].join()
    assert (answers["GET"].status, answers["GET"].body) == (200, b"GET")
    assert answers["POST"].status == 502
    assert answers["POST"].json["title"] == "PiCloud cannot be reached"
