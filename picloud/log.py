"""What our processes say of themselves: to systemd's journal if that reads stderr, else there, one line a record.

Owns: both forms. A record's `extra` may say what it is about (FIELDS): `journalctl PICLOUD_INVOCATION=ID` finds it.
The journal's own protocol is used: its stream on stderr has no fields, and its Python library no wheel.
"""

import json
import logging
import os
import socket
import time

FIELDS = ("invocation", "script", "job")
_JOURNAL = "/run/systemd/journal/socket"
_MESSAGE_CHARACTERS_MAX = 40_000  # a datagram's size is bounded
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))  # of syslog(3)


def set_up() -> None:
    """Set this process's logging up; for entry points."""
    logging.basicConfig(level=logging.INFO, handlers=[handler()])


def handler() -> logging.Handler:
    """Where this process's records go."""
    if _stderr_is_the_journal():
        return Journal(_JOURNAL)
    to_stderr = logging.StreamHandler()
    to_stderr.setFormatter(OneLine())
    return to_stderr


class OneLine(logging.Formatter):
    """`time=… level=info pid=7 message="…"`, and the fields; text is quoted as in JSON, so no line break survives."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        words = [f"time={at}", f"level={record.levelname.lower()}", f"pid={record.process}"]
        words += [f"{name}={json.dumps(value)}" for name, value in _fields(record).items()]
        words.append(f"message={json.dumps(record.getMessage())}")
        if record.exc_info:
            words.append(f"exception={json.dumps(self.formatException(record.exc_info))}")
        return " ".join(words)


class Journal(logging.Handler):
    """Sends each record as an entry with fields of its own; on stderr if the journal takes none."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address
        self._instead = logging.StreamHandler()
        self._instead.setFormatter(OneLine())
        self.setFormatter(logging.Formatter("%(message)s"))  # an exception's traceback follows it

    def emit(self, record: logging.LogRecord) -> None:
        """One datagram."""
        entry = {
            "MESSAGE": self.format(record)[:_MESSAGE_CHARACTERS_MAX],
            "PRIORITY": next((number for level, number in _PRIORITIES if record.levelno >= level), 7),
            "SYSLOG_IDENTIFIER": "picloud",
            "PICLOUD_LOGGER": record.name,
            **{f"PICLOUD_{name.upper()}": value for name, value in _fields(record).items()},
        }
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"".join(_field(name, str(value)) for name, value in entry.items()), self._address)
        except OSError:
            self._instead.emit(record)


def _fields(record: logging.LogRecord) -> dict[str, str]:
    given = {name: getattr(record, name, None) for name in FIELDS}
    return {name: str(value) for name, value in given.items() if value is not None}


def _field(name: str, value: str) -> bytes:
    """As systemd.journal-fields(7) has it: the length before the value, which may then hold line breaks."""
    data = value.encode(errors="replace")
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"


def _stderr_is_the_journal() -> bool:
    """What systemd says of it is no longer true of a stderr that somebody has put in its place."""
    try:
        device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
        found = os.fstat(2)
    except OSError:
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))
