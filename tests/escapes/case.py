"""One script of the corpus and what must become of it, read from the comments at its head.

Owns: the grammar. Knows nothing of servers. Line one is the expectation; more lines may follow it, each at most once:

    -- expect: memory-limit
    -- expect: 200 body="contained"
    -- expect: script-error detail~"attempt to call" log~"main.lua:3"
    -- expect: cpu-limit or timeout
    -- because: which clock is first depends on how busy the machine is
    -- limits: wall_ms=500 memory_bytes=8388608
    -- request: method="POST" target="/rest?a=b" header.content-type="text/plain" body="x"
    -- again: different
    -- files: "util/list.lua"="return {}" "page.html"="<p>"
    -- upload: repeat 100000
    -- binding: probe

``expect``   the name of a problem, a status, or ``ok`` (any answer of the script's); then checks, all of which must
             hold: ``=`` is the whole text and ``~`` a part of it, of ``body``, ``detail`` (of the problem),
             ``header.NAME`` or ``log`` (one line of the invocation's). Two outcomes are for what the kernel decides,
             and need a reason.
``because``  that reason.
``limits``   of the script, where the default is not meant.
``request``  what is sent; a GET without a body if nothing is said. ``body_bytes`` sends so many ``x``.
``again``    the same request once more: its body must be the ``same``, or ``different``.
``files``    of a bundle beside this one, which is its ``main.lua``.
``upload``   what is sent in place of the file: ``rest`` (what follows the head), ``hex`` (the same, as hexadecimal
             digits) or ``repeat N`` (the same, N times, without its last newline).
``binding``  ``probe``: on a server of the tests' own, whose scripts have `probe(name, …)`: host calls (tests.probing).

Texts are JSON strings; a byte beyond ASCII stands for itself as latin-1. The head ends at the first other line.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from picloud.model import Limits, Outcome

_NAME = re.compile(r"(\d{3})_([a-z0-9_]+)\.lua")
_HEAD_LINE = re.compile(r"-- ([a-z]+): (\S.*)")
_DIRECTIVES = frozenset(("expect", "because", "limits", "request", "again", "files", "upload", "binding"))
_TEXT = r'"(?:[^"\\]|\\.)*"'
_CHECK = re.compile(rf"\s+(body|detail|log|header\.[a-z0-9-]+)([=~])({_TEXT})")
_REQUEST_WORD = re.compile(rf"(method|target|body|header\.[A-Za-z0-9-]+)=({_TEXT})(?:\s+|$)|body_bytes=(\d+)(?:\s+|$)")
_FILE = re.compile(rf"({_TEXT})=({_TEXT})(?:\s+|$)")
_OUTCOMES = frozenset(outcome.value for outcome in Outcome) | {"syntax-error", "body-too-large"}
_UPLOAD = re.compile(r"rest|hex|repeat [1-9]\d{0,6}")


class BadHead(ValueError):
    """The head of a script is not what the grammar allows; the message says where and what is."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be true of an answer."""

    of: str  # body, detail, log or header.NAME
    whole: bool  # the text is all of it, not a part
    text: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """One acceptable end."""

    outcome: str  # a problem's name, a status of three digits, or ok
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Sent:
    """The request that is made of the script."""

    method: str = "GET"
    target: str = ""  # after /fn/NAME
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A script of the corpus."""

    number: int
    name: str
    source: bytes  # as uploaded
    line: str  # the expectation as it is written
    expected: tuple[Expectation, ...]
    limits: Mapping[str, int]
    sent: Sent
    again: str  # same, different, or nothing
    files: Mapping[str, str]  # of its bundle, beside main.lua; none: it is one file
    binding: str = ""  # probe, or nothing


def corpus(folder: Path) -> list[Case]:
    """Every case of a folder, in the order of their numbers; BadHead."""
    paths = sorted(folder.glob("*.lua"))
    if not paths:
        raise BadHead(f"{folder} has no scripts")
    cases = [read(path) for path in paths]
    numbers = [case.number for case in cases]
    if twice := {number for number in numbers if numbers.count(number) > 1}:
        raise BadHead(f"{folder}: two scripts have the number {min(twice):03}")
    return cases


def read(path: Path) -> Case:
    """One file; BadHead."""
    named = _NAME.fullmatch(path.name)
    if not named:
        raise BadHead(f"{path.name}: a script is named NNN_name.lua")
    try:
        return parse(int(named[1]), named[2], path.read_bytes())
    except BadHead as error:
        raise BadHead(f"{path.name}: {error}") from error


def parse(number: int, name: str, text: bytes) -> Case:
    """A script's bytes; BadHead."""
    head, rest = _split(text)
    if next(iter(head), "") != "expect":
        raise BadHead("line one must be `-- expect: OUTCOME`")
    expected = _expected(head["expect"])
    if (len(expected) > 1) != ("because" in head):
        raise BadHead("a choice of outcomes has a `-- because:`, and nothing else has")
    if head.get("again", "same") not in ("same", "different"):
        raise BadHead("`again` is same or different")
    if head.get("binding", "probe") != "probe":
        raise BadHead("`binding` is probe")
    return Case(
        number,
        name,
        _uploaded(head.get("upload", ""), text, rest),
        head["expect"],
        expected,
        _limits(head.get("limits", "")),
        _sent(head.get("request", "")),
        head.get("again", ""),
        _files(head.get("files", "")),
        head.get("binding", ""),
    )


def _split(text: bytes) -> tuple[dict[str, str], bytes]:
    head: dict[str, str] = {}
    at = 0
    while line := _HEAD_LINE.fullmatch(text[at:].partition(b"\n")[0].decode("latin-1").rstrip()):
        if line[1] not in _DIRECTIVES:
            raise BadHead(f"`{line[1]}` is none of {', '.join(sorted(_DIRECTIVES))}")
        if line[1] in head:
            raise BadHead(f"`{line[1]}` is there twice")
        head[line[1]] = line[2]
        at = (text.find(b"\n", at) + 1) or len(text)
    return head, text[at:]


def _expected(line: str) -> tuple[Expectation, ...]:
    ends = []
    at = 0
    while True:
        word = re.compile(r"[a-z0-9-]+").match(line, at)
        if not word or not (word[0] in _OUTCOMES or re.fullmatch(r"[2-5]\d\d", word[0])):
            raise BadHead(f"no outcome at `{line[at:]}`")
        checks, at = _checks(line, word.end())
        ends.append(Expectation(word[0], checks))
        if at == len(line):
            return tuple(ends)
        if not line.startswith(" or ", at):
            raise BadHead(f"neither a check nor ` or ` at `{line[at:]}`")
        at += len(" or ")


def _checks(line: str, at: int) -> tuple[tuple[Check, ...], int]:
    checks = []
    while found := _CHECK.match(line, at):
        checks.append(Check(found[1], found[2] == "=", _text(found[3])))
        at = found.end()
    return tuple(checks), at


def _limits(line: str) -> dict[str, int]:
    known = {item.name for item in fields(Limits)}
    limits = {}
    for word in line.split():
        name, _, value = word.partition("=")
        if name not in known or not value.isdecimal():
            raise BadHead(f"`{word}` is no limit; they are {', '.join(sorted(known))}")
        limits[name] = int(value)
    return limits


def _sent(line: str) -> Sent:
    words: dict[str, str] = {}
    at, body = 0, None
    while at < len(line):
        found = _REQUEST_WORD.match(line, at)
        if not found:
            raise BadHead(f"not understood in the request: `{line[at:]}`")
        if found[3]:
            body = b"x" * int(found[3])
        else:
            words[found[1]] = _text(found[2])
        at = found.end()
    headers = {name.removeprefix("header."): text for name, text in words.items() if name.startswith("header.")}
    if "body" in words:
        body = words["body"].encode("latin-1")
    return Sent(words.get("method", "GET"), words.get("target", ""), headers, body)


def _files(line: str) -> dict[str, str]:
    files: dict[str, str] = {}
    at = 0
    while at < len(line):
        found = _FILE.match(line, at)
        if not found:
            raise BadHead(f"not understood in the files: `{line[at:]}`")
        files[_text(found[1])] = _text(found[2])
        at = found.end()
    return files


def _uploaded(how: str, text: bytes, rest: bytes) -> bytes:
    if not how:
        return text
    if not _UPLOAD.fullmatch(how):
        raise BadHead("`upload` is rest, hex or repeat N")
    if how == "hex":
        return bytes.fromhex(rest.decode("latin-1"))
    return rest if how == "rest" else rest.removesuffix(b"\n") * int(how.split()[1])


def _text(quoted: str) -> str:
    try:
        return str(json.loads(quoted))
    except ValueError as error:
        raise BadHead(f"{quoted} is no JSON string") from error
