"""A source that does not compile, as a person wants to see it: the line, and a caret under the culprit."""

import re

import click
from rich.cells import cell_len

from picloud.cli.bundle import Source
from picloud.cli.terminal import Drawn, harmless
from picloud.model import SyntaxProblem

_COLUMNS = 100  # of a line that is shown; of a longer one, what lies around the culprit
_BEFORE_CULPRIT = 60
_LINE_END = re.compile(r"\r\n|\n\r|\n|\r")  # as Lua counts them
_NEAR = re.compile(r" near (?:'(?P<token>.*)'|(?P<end><eof>))$", re.DOTALL)
_MAY_PRECEDE = re.compile(r"""[\w"'(\[{]""")


class NotCompiled(Drawn):
    """A file does not compile."""

    def __init__(self, source: Source, problem: SyntaxProblem) -> None:
        super().__init__(_words(source, problem))


def culprit(line: str, message: str) -> tuple[int, int]:
    """Where in the line Lua's message points → first character and length."""
    found = _NEAR.search(message)
    if found and found["end"]:
        return len(line.rstrip()), 1
    places = _places(line, found["token"]) if found else []
    if not found or not places:
        return len(line) - len(line.lstrip()), 1
    return next((at for at in places if _clashes(line[:at])), places[0]), len(found["token"])


def _clashes(before: str) -> bool:
    """Whether the token cannot stand behind this: of `,,` or `))` the culprit is the second."""
    last = before.rstrip()[-1:]
    return bool(last) and not _MAY_PRECEDE.match(last)


def _places(line: str, token: str) -> list[int]:
    """Where the token stands as a whole one."""
    if not token:
        return []
    whole = rf"(?<!\w){re.escape(token)}(?!\w)" if re.fullmatch(r"\w+", token) else re.escape(token)
    return [match.start() for match in re.finditer(whole, line)]


def _words(source: Source, problem: SyntaxProblem) -> str:
    file, message = harmless(problem.file), harmless(problem.message)
    text = source.files.get(problem.file, b"").decode("utf-8", "replace")
    lines = _LINE_END.split(text)
    if not 1 <= problem.line <= len(lines):
        return f"{file}:{problem.line}: {message}"
    line = lines[problem.line - 1]
    start, length = culprit(line, problem.message)
    where = harmless(f"{source.origin(problem.file)}:{problem.line}:{start + 1}")
    number, blank = f"{problem.line} | ", " " * len(str(problem.line)) + " | "
    shown, under = _drawn(line, start, length)
    caret = click.style(under, fg="red", bold=True)
    return f"{file}:{problem.line}: {message}\n  --> {where}\n  {number}{shown}\n  {blank}{caret}"


def _drawn(line: str, start: int, length: int) -> tuple[str, str]:
    """The line and what stands below it, both as wide as a terminal draws them."""
    first = max(0, start - _BEFORE_CULPRIT) if len(line) > _COLUMNS else 0
    last = min(len(line), first + _COLUMNS)
    before, at, after = (
        _plain(line[a:b]) for a, b in ((first, start), (start, start + length), (start + length, last))
    )
    shown = ("…" if first else "") + before + (at + after)[:_COLUMNS] + ("…" if last < len(line) else "")
    return shown.rstrip(), " " * (bool(first) + cell_len(before)) + "^" * max(1, min(cell_len(at), _COLUMNS))


def _plain(text: str) -> str:
    return harmless(text.replace("\t", "    "))
