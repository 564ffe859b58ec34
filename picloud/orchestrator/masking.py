"""Secrets in what is written of a run: `***` in their place.

Owns: which spellings of a value are recognised. What a script does to a value beyond these (a hash, a part of it, one
letter at a time) cannot be, so this is against accidents: a script that is granted a secret is trusted with it.

Recognised are the value as it is, as JSON writes it inside a string, percent-encoded as a URL or a form has it, and
base64 in both alphabets, alone or in the middle of more (`user:value`).
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote, quote_plus

import msgspec

from picloud.model import LogLine, Run

MASK = "***"
VALUE_BYTES_MIN = 4  # of a value that is masked: shorter ones are everywhere

_CUT_BYTES_MIN = 8_000  # a sandbox cuts texts of about this size and more, perhaps in the middle of a value
_ELLIPSIS = "…"
_TO_URL = str.maketrans("+/", "-_")


class Mask:
    """The values that one invocation got, and texts without them. Shows none of them itself."""

    def __init__(self) -> None:
        self._spellings: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._spellings)

    def add(self, value: str) -> None:
        """From now on this is not to be seen."""
        if len(value.encode()) >= VALUE_BYTES_MIN:
            self._spellings.update(_spellings_of(value))

    def text(self, text: str) -> str:
        """The same with each value masked; where values overlap, all of them."""
        spans = sorted(span for spelling in self._spellings for span in _spans(text, spelling))
        if not spans:
            return text
        pieces, done = [], 0
        for start, end in spans:
            if start >= done:
                pieces += [text[done:start], MASK]
            done = max(done, end)
        return "".join([*pieces, text[done:]])

    def raw(self, raw: bytes) -> bytes:
        """The same for bytes that are no text."""
        for spelling in sorted(self._spellings, key=len, reverse=True):
            raw = raw.replace(spelling.encode(), MASK.encode())
        return raw

    def line(self, line: LogLine) -> LogLine:
        """A line of the log without them."""
        if not self._spellings:
            return line
        message, fields = self.text(line.message), self.text(line.fields)
        if fields != line.fields and not _is_object(fields):  # a number, or more than one text, was masked
            message, fields = f"{message} {fields}", ""
        return replace(line, message=message, fields=fields)

    def run(self, run: Run) -> Run:
        """What is said of a run without them; its answer is the script's own, and stays."""
        if not self._spellings:
            return run
        return replace(run, detail=self.text(run.detail), traceback=self.text(run.traceback))


def _is_object(fields: str) -> bool:
    try:
        msgspec.json.decode(fields, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _spellings_of(value: str) -> Iterator[str]:
    yield value
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield json.dumps(value)[1:-1]
    yield quote(value, safe="")
    yield quote(value)
    yield quote_plus(value)
    for before in range(3):
        core = _base64_core(value.encode(), before)
        yield core
        yield core.translate(_TO_URL)


def _base64_core(value: bytes, before: int) -> str:
    """What base64 makes of a value behind so many bytes (modulo 3), without letters that depend on its neighbours."""
    letters = b64encode(bytes(before) + value).decode()
    return letters[-(-before * 8 // 6) : (before + len(value)) * 8 // 6]


def _spans(text: str, spelling: str) -> Iterator[tuple[int, int]]:
    start = text.find(spelling)
    while start >= 0:
        yield start, start + len(spelling)
        start = text.find(spelling, start + 1)
    if len(text) >= _CUT_BYTES_MIN // 4 and len(text.encode()) >= _CUT_BYTES_MIN:
        yield from _cut_span(text.removesuffix(_ELLIPSIS), spelling)


def _cut_span(text: str, spelling: str) -> Iterator[tuple[int, int]]:
    """The beginning of a spelling at the end of a text."""
    start = text.find(spelling[:VALUE_BYTES_MIN], max(0, len(text) - len(spelling)))
    while start >= 0:
        if spelling.startswith(text[start:]):
            yield start, len(text)
            return
        start = text.find(spelling[:VALUE_BYTES_MIN], start + 1)
