"""`{"files": {PATH: TEXT}}`, read so that what is wrong is named and nothing is built that is not asked for.

Owns: this one shape. A parser of all JSON would take a path that is there twice for one, could not say in which text a
lone surrogate stands, and would build millions of small things from a body that is no bundle.
"""

import difflib
import json
import re

from picloud.errors import InvalidRequest
from picloud.manager.files import Collector
from picloud.messages.reading import BODY

JSON_BYTES_MAX = 6 * 1024 * 1024 + 256 * 1024  # a file's byte is at most six of JSON's: \u00XX; and the paths

_SPACE = re.compile(r"[ \t\n\r]*")
_KEY = "files"
_DECODER = json.JSONDecoder()


def read(body: bytes, files: Collector) -> None:
    """Give every file to a collector; InvalidRequest names the field."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is no UTF-8, so no JSON: byte {error.start}") from None
    _Reader(text, files).read()


class _Reader:
    """One pass over the text."""

    def __init__(self, text: str, files: Collector) -> None:
        self._text = text
        self._files = files
        self._at = 0

    def read(self) -> None:
        seen = False
        self._expect("{")
        while not self._taken("}"):
            if seen:
                self._expect(",")
            key = self._string("a key")
            if key != _KEY or seen:
                raise _unknown(key, seen)
            seen = True
            self._expect(":")
            self._read_files()
        if not seen:
            raise InvalidRequest.of(_KEY, 'is missing: {"files": {"main.lua": "…"}}', BODY)
        if self._peek():
            raise self._no_json("there is something behind its end")

    def _read_files(self) -> None:
        if self._peek() != "{":
            raise InvalidRequest.of(_KEY, "must be an object: path → text", BODY)
        self._expect("{")
        first = True
        while not self._taken("}"):
            if not first:
                self._expect(",")
            first = False
            path = self._string("a path")
            self._expect(":")
            self._files.checked(path)
            if self._peek() != '"':
                raise self._files.refusal(path, "must be a string: the file's text")
            self._files.add(path, self._content(path))

    def _content(self, path: str) -> bytes:
        try:
            return self._string("a text").encode()
        except UnicodeEncodeError:
            raise self._files.refusal(path, "the text has half of a surrogate pair, which is no character") from None

    def _string(self, what: str) -> str:
        if self._peek() != '"':
            raise self._no_json(f"{what} must be a string")
        try:
            found, self._at = _DECODER.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            raise InvalidRequest(f"the body is no JSON: {error}") from error
        return str(found)

    def _taken(self, symbol: str) -> bool:
        if self._peek() != symbol:
            return False
        self._at += 1
        return True

    def _expect(self, symbol: str) -> None:
        if not self._taken(symbol):
            raise self._no_json(f"expected '{symbol}'")

    def _peek(self) -> str:
        """The next character that means something; empty at the end."""
        self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr] # it matches nothing, too
        return self._text[self._at : self._at + 1]

    def _no_json(self, reason: str) -> InvalidRequest:
        return InvalidRequest(f"the body is no bundle in JSON: {reason} (at character {self._at})")


def _unknown(key: str, seen: bool) -> InvalidRequest:
    if key == _KEY and seen:
        return InvalidRequest.of(_KEY, "is there twice", BODY)
    near = difflib.get_close_matches(key[:100], [_KEY], n=1)
    message = "is not known" + (f"; did you mean '{_KEY}'?" if near else "")
    return InvalidRequest.of(ascii(key[:100]).strip("'"), message, BODY)
