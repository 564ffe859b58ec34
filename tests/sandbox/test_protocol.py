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


def test_the_page_of_scripting_tells_how_many_headers_an_answer_may_have() -> None:
    page = (ROOT / "docs" / "scripting.md").read_text(encoding="utf-8")
    assert re.findall(r"more than ([0-9]+)\s+headers", page) == [str(protocol.HEADERS_MAX)]
