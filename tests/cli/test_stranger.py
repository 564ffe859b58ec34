"""Something answers that is no PiCloud: this is said, and nothing else happens."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from picloud import cli

ANSWERS = [
    b"{}",
    b"null",
    b"[]",
    b"7",
    b'"str"',
    b"\xff",
    b"<html>",
    b"",
    b"[" * 100_000,
    b'{"items": 1}',
    b'{"items": [1], "next": null}',
    b'{"items": [{}], "next": 1}',
    b'{"env": 1, "limits": 2, "files": 3, "active_version": "x", "settings": {}}',
]
COMMANDS = [
    ["ls"],
    ["show", "x"],
    ["versions", "x"],
    ["rollback", "x"],
    ["rm", "x", "--yes"],
    ["diff", "x"],
    ["source", "x", "1"],
    ["source", "x"],
    ["logs"],
    ["logs", "-f"],
    ["logs", "x"],
    ["logs", "-f", "x"],
    ["invocations"],
    ["settings", "show", "x"],
    ["settings", "set", "x", "access=token"],
    ["env", "ls", "x"],
    ["env", "set", "x", "A=b"],
    ["env", "rm", "x", "A"],
    ["route", "ls"],
    ["route", "add", "GET /x", "x"],
    ["route", "rm", "1"],
    ["token", "ls"],
    ["token", "add", "x", "--scope", "read"],
    ["token", "rm", "x"],
    ["token", "rm", "1"],
    ["deploy", "main.lua"],
    ["export", "exported"],
    ["apply", "-f", "."],
]


class Stranger(BaseHTTPRequestHandler):
    """Answers the same to everybody."""

    answer: bytes
    status = 200

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers["content-length"] or 0))
        self.send_response(self.status)
        self.send_header("content-length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    do_PUT = do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the standard library's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Say nothing."""


@pytest.fixture(scope="module")
def stranger() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), type("Ours", (Stranger,), {})) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def asked(stranger: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main.lua").touch()
    (tmp_path / "scripts").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PICLOUD_URL", f"http://127.0.0.1:{stranger.server_port}")


def said(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> object:
    """Run the command → its exit status."""
    monkeypatch.setattr("sys.argv", ["picloud", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_what_is_no_picloud_is_said_to_be_none(
    stranger: HTTPServer, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for answer in ANSWERS:
        monkeypatch.setattr(stranger.RequestHandlerClass, "answer", answer, raising=False)
        assert said(monkeypatch, words) == 1, (answer[:80], capsys.readouterr())
        shown = capsys.readouterr()
        assert (shown.out, "is no PiCloud" in shown.err) == ("", True), (answer[:80], shown)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_refusal_that_is_not_picloud_s_is_told_with_its_status(
    stranger: HTTPServer, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stranger.RequestHandlerClass, "status", 422)
    for answer in (*ANSWERS, b'{"type": 1, "detail": "x"}', b'{"type": "/problems/syntax-error", "errors": [1]}'):
        monkeypatch.setattr(stranger.RequestHandlerClass, "answer", answer, raising=False)
        assert said(monkeypatch, words) == 1, answer[:80]
        assert "status 422" in capsys.readouterr().err


def test_problem_details_cannot_write_to_the_terminal(
    stranger: HTTPServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stranger.RequestHandlerClass, "status", 422)
    problem = b'{"type": "/problems/x", "detail": "\\u001b[2J\\u009b\\nforged"}'
    monkeypatch.setattr(stranger.RequestHandlerClass, "answer", problem, raising=False)
    assert said(monkeypatch, ["ls"]) == 1
    assert capsys.readouterr().err == "error: \\x1b[2J\\x9b\n    forged (x, 422)\n"
