"""What our processes say of themselves, on stderr and to systemd's journal."""

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from picloud import log


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    """A journal that takes what is sent to it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "journal"))
        listener.settimeout(60)
        yield listener


def fields(datagram: bytes) -> dict[str, str]:
    """An entry, as systemd.journal-fields(7) has it."""
    found = {}
    while datagram:
        name, _, rest = datagram.partition(b"\n")
        size = int.from_bytes(rest[:8], "little")
        found[name.decode()] = rest[8 : 8 + size].decode()
        assert rest[8 + size : 9 + size] == b"\n"
        datagram = rest[9 + size :]
    return found


def record(message: str, level: int = logging.WARNING, **about: object) -> logging.LogRecord:
    made = logging.LogRecord("picloud.test", level, __file__, 1, message, None, None)
    made.__dict__.update(about)
    return made


def test_a_record_is_an_entry_with_its_fields(journal: socket.socket) -> None:
    log.Journal(journal.getsockname()).handle(record("two\nlines", invocation="abc", script="hello"))
    assert fields(journal.recv(65536)) == {
        "MESSAGE": "two\nlines",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "picloud",
        "PICLOUD_LOGGER": "picloud.test",
        "PICLOUD_INVOCATION": "abc",
        "PICLOUD_SCRIPT": "hello",
    }


@pytest.mark.parametrize(("level", "priority"), [(10, "7"), (20, "6"), (30, "4"), (40, "3"), (50, "2")])
def test_a_level_is_a_priority_of_syslog(journal: socket.socket, level: int, priority: str) -> None:
    log.Journal(journal.getsockname()).handle(record("x", level))
    assert fields(journal.recv(65536))["PRIORITY"] == priority


def test_an_exception_comes_with_its_traceback(journal: socket.socket) -> None:
    failed = record("failed")
    try:
        int("why")
    except ValueError:
        failed.exc_info = sys.exc_info()
    log.Journal(journal.getsockname()).handle(failed)
    message = fields(journal.recv(65536))["MESSAGE"]
    assert message.startswith("failed\nTraceback")
    assert message.endswith("'why'")


def test_what_is_too_long_is_cut_and_sent(journal: socket.socket) -> None:
    log.Journal(journal.getsockname()).handle(record("é" * 1_000_000))
    assert fields(journal.recv(1 << 20))["MESSAGE"] == "é" * 40_000


def test_without_a_journal_a_record_goes_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log.Journal(str(tmp_path / "none")).handle(record("kept", invocation="abc"))
    assert 'invocation="abc" message="kept"' in capfd.readouterr().err


def test_on_stderr_a_record_is_one_line_with_its_fields() -> None:
    line = log.OneLine().format(record("two\nlines", script="hello"))
    assert "\n" not in line
    assert line.endswith('script="hello" message="two\\nlines"')


@pytest.mark.parametrize(("inode", "expected"), [(0, "Journal"), (1, "StreamHandler")])
def test_the_journal_is_used_if_it_reads_stderr(inode: int, expected: str) -> None:
    reader, writer = os.pipe()
    told = os.fstat(writer)
    run = subprocess.run(
        [sys.executable, "-c", "from picloud import log; print(type(log.handler()).__name__)"],
        env={"JOURNAL_STREAM": f"{told.st_dev}:{told.st_ino + inode}", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE, stderr=writer, check=True, text=True,
    )  # fmt: skip
    os.close(reader)
    os.close(writer)
    assert run.stdout.strip() == expected


def test_a_value_is_quoted_as_json() -> None:
    words = log.OneLine().format(record('a "quoted" word')).split("message=")[1]
    assert json.loads(words) == 'a "quoted" word'
