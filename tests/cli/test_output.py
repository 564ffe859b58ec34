"""What reaches a terminal, and what does not."""

import contextlib
import json
import os
import pty
import select
import sys
from collections.abc import Iterator

import pytest

from picloud.cli.output import patiently, show_fields, show_json, show_rows
from picloud.cli.terminal import harmless

PATIENCE_S = 60.0


@contextlib.contextmanager
def standard_error_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """What reads what is written there."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        monkeypatch.setenv("TERM", "xterm")
        yield master
    os.close(master)


def test_what_takes_long_is_said_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with standard_error_on_a_terminal(monkeypatch) as terminal, patiently("uploading hello"):
        assert select.select([terminal], [], [], PATIENCE_S)[0]
        said = b""
        while b"uploading hello" not in said:
            said += os.read(terminal, 4096)


def test_what_is_quick_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with standard_error_on_a_terminal(monkeypatch) as terminal:
        with patiently("uploading hello"):
            pass
        assert not select.select([terminal], [], [], 0)[0]


def test_nothing_is_said_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with patiently("uploading hello"):
        select.select([], [], [], 0.6)  # longer than its patience
    assert capfd.readouterr() == ("", "")


def test_control_characters_are_spelled_out() -> None:
    assert harmless("a\x1b[31m\r\nb\tc") == "a\\x1b[31m\\r\n    b\tc"


def test_json_is_printed_without_what_cannot_be_seen_and_means_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"é\x9b31m": ["\x1b\x7f\u202e\U000e0001\ud800", 1.5, "\n", "世界"]}
    show_json(value)
    printed = capsys.readouterr().out
    assert {one for one in printed if not one.isprintable()} == {"\n"}
    assert "世界" in printed
    assert json.loads(printed) == value


def test_names_of_fields_and_entries_of_lists_cannot_write_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_fields({"a\x1b[2J": 1})
    show_rows([{"a": ["\x9bx"]}], "a", as_json=False)
    assert capsys.readouterr().out == "a\\x1b[2J: 1\n\\x9bx\n"


def test_a_row_stays_one_line_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([{"a": "x\ty\nz", "b": None, "c": ["p", "q"], "d": 1.25}], "abcd", as_json=False)
    assert capsys.readouterr().out == "x y z\t\tp, q\t1.2\n"


@pytest.mark.parametrize("width", [20, 80, 100, 200])
def test_a_table_cuts_no_id_and_no_date_and_folds_what_went_wrong(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    row = {
        "id": "019aab3f2c1d7e3f9a4b5c6d7e8f9012",
        "started_at": "2026-11-23T16:20:32.123456Z",
        "script": "name-of-a-script-that-is-long",
        "version": 12345,
        "error": "main.lua:1: attempt to index a nil value " * 3,
    }
    show_rows([row], tuple(row), as_json=False)
    lines = capsys.readouterr().out.splitlines()[1:]
    assert lines[0].split()[:4] == [*map(str, row.values())][:4]
    folded = " ".join(line[lines[0].index("main.lua") :].strip() for line in lines)
    assert folded.split() == str(row["error"]).split()


def test_fields_are_shown_by_their_whole_name(capsys: pytest.CaptureFixture[str]) -> None:
    show_fields({"limits": {"wall_ms": 1}, "cors": {"origins": ["*"]}, "access": "public", "env": {}})
    assert capsys.readouterr().out == 'limits.wall_ms: 1\ncors.origins: ["*"]\naccess: public\n'
