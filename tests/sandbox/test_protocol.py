"""The numbers that both ends of a sandbox's connection must agree on, and the page that tells them."""

import re
from pathlib import Path

import pytest

from sandbox import protocol
from tests.running import ROOT

PRELUDE = Path(protocol.__file__).parent / "prelude"


@pytest.mark.parametrize(
    ("file", "name", "number"),
    [
        ("response.lua", "HEADERS_MAX", protocol.HEADERS_MAX),
        ("remote.lua", "BYTES_MAX", protocol.CALL_BYTES_MAX),
        ("log.lua", "LINE_OVERHEAD_BYTES", protocol.LINE_OVERHEAD_BYTES),
    ],
)
def test_the_prelude_has_the_protocols_numbers(file: str, name: str, number: int) -> None:
    (factors,) = re.findall(rf"^local {name} = ([0-9 *]+)", (PRELUDE / file).read_text(), re.MULTILINE)
    product = 1
    for factor in factors.split("*"):
        product *= int(factor)
    assert product == number


LAST = protocol.CHUNK_BYTES_MAX - protocol._LENGTH_BYTES  # what is left of a frame for one field


@pytest.mark.parametrize("size", [0, 1, *range(LAST - 9, LAST + 9), 2 * protocol.CHUNK_BYTES_MAX, 300_001])
def test_frames_that_are_cut_one_by_one_are_those_of_the_whole(size: int) -> None:
    fields = (b"a", bytes(size), b"", b"bc", bytes(size))

    frames = [bytes(frame) for frame in protocol.cut(b"R", fields)]
    assert frames == protocol.frames(b"R", protocol.pack(*fields))


def test_the_page_of_scripting_tells_how_many_headers_an_answer_may_have() -> None:
    page = (ROOT / "docs" / "scripting.md").read_text(encoding="utf-8")
    assert re.findall(r"more than ([0-9]+)\s+headers", page) == [str(protocol.HEADERS_MAX)]
