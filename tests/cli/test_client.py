"""Whom the command line talks to, and with whose token."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from picloud.cli.client import ApiError, connect

REFUSAL = {"type": "/problems/unauthorized", "detail": "there is no token"}


class Stranger(BaseHTTPRequestHandler):
    """A server that notes who asks, and knows nobody."""

    seen: list[str | None]

    def do_GET(self) -> None:
        self.seen.append(self.headers["authorization"])
        self.send_response(401)
        self.end_headers()
        self.wfile.write(json.dumps(REFUSAL).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Say nothing."""


@pytest.fixture
def seen() -> list[str | None]:
    """The Authorization of each request that came."""
    return []


@pytest.fixture
def address(seen: list[str | None]) -> Iterator[str]:
    """HOST:PORT of a server that notes who asks."""
    handler = type("Noting", (Stranger,), {"seen": seen})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder with an admin token, as `picloud up` leaves it."""
    (tmp_path / "admin.token").write_text("pc_local\n")
    monkeypatch.setenv("PICLOUD_DATA", str(tmp_path))
    for name in ("PICLOUD_URL", "PICLOUD_TOKEN", "PICLOUD_BIND"):
        monkeypatch.delenv(name, raising=False)


def ask() -> str:
    """→ what a person is told of the refusal."""
    with pytest.raises(ApiError) as refused:
        connect().call("GET", "/api/v1/scripts")
    return str(refused.value)


@pytest.mark.usefixtures("local")
def test_another_server_does_not_get_the_local_token(
    address: str, seen: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICLOUD_URL", f"http://{address}")
    assert "set PICLOUD_TOKEN" in ask()
    assert seen == [None]


@pytest.mark.usefixtures("local")
def test_another_server_gets_the_token_that_was_meant_for_it(
    address: str, seen: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICLOUD_URL", f"http://{address}")
    monkeypatch.setenv("PICLOUD_TOKEN", "pc_theirs")
    ask()
    assert seen == ["Bearer pc_theirs"]


@pytest.mark.usefixtures("local")
@pytest.mark.parametrize("url", ["", "http://{}", "http://{}/"])
def test_the_server_of_these_settings_gets_the_local_token(
    url: str, address: str, seen: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICLOUD_BIND", address)
    monkeypatch.setenv("PICLOUD_URL", url.format(address))
    ask()
    assert seen == ["Bearer pc_local"]


def test_without_a_token_a_person_is_told_where_one_was_looked_for(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PICLOUD_URL", "PICLOUD_TOKEN", "PICLOUD_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PICLOUD_BIND", address)
    looked = f"looked for {tmp_path}/var/admin.token"
    assert ask() == (f"no token: set PICLOUD_TOKEN, or PICLOUD_DATA to the folder that 'picloud up' uses ({looked})")


@pytest.mark.usefixtures("local")
def test_no_data_folder_is_advised_for_another_server(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICLOUD_URL", f"http://{address}")
    assert ask() == "no token: set PICLOUD_TOKEN"


def test_a_token_that_is_refused_is_not_said_to_be_missing(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICLOUD_URL", f"http://{address}")
    monkeypatch.setenv("PICLOUD_TOKEN", "pc_theirs")
    assert ask() == "there is no token (unauthorized, 401); set PICLOUD_TOKEN to a token of this PiCloud"
