"""Markdown as tests read it: fenced blocks and tables. The documentation's conventions are in docs/contributing.md."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.running import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?:--|#|<!--) (\S+\.(?:lua|html|toml))(?: -->)?\n")
_SPAN = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    document: Path
    line: int  # of its first line of text
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        """The path that its first line names in a comment: then it is a file of the document's bundle."""
        named = _FILE.match(self.text)
        return named[1] if named else None


def blocks(document: Path, *languages: str) -> list[Block]:
    """The blocks of a document, of these languages alone if some are named."""
    text = document.read_text(encoding="utf-8")
    found = [
        Block(document, text.count("\n", 0, fence.start()) + 2, fence[1], fence[2]) for fence in _FENCE.finditer(text)
    ]
    return [block for block in found if not languages or block.language in languages]


def every_block(*languages: str) -> list[Block]:
    """The blocks of all documents."""
    return [block for document in DOCUMENTS for block in blocks(document, *languages)]


def section(document: Path, heading: str) -> str:
    """The text below a heading, up to the next of the same depth or less."""
    depth = len(heading) - len(heading.lstrip("#"))
    lines = iter(document.read_text(encoding="utf-8").splitlines())
    assert heading in lines, f"{document.name} has no heading {heading!r}"  # advances to it
    body = []
    for line in lines:
        if re.match(rf"#{{1,{depth}}} ", line):
            break
        body.append(line)
    return "\n".join(body)


def rows(text: str) -> Iterator[list[str]]:
    """The rows of every table in a text, cell by cell, without headings."""
    lines = [*text.splitlines(), ""]
    for line, following in itertools.pairwise(lines):
        if line.startswith("|") and not line.startswith("|---") and not following.startswith("|---"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def spans(text: str) -> list[str]:
    """What stands between backticks."""
    return _SPAN.findall(text)
