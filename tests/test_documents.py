"""What reads the documentation for the tests finds all that is in it."""

from pathlib import Path

import pytest

from tests.documents import Block, blocks, rows
from tests.lua_documents import actual_values, exchanges, perform, promised_values
from tests.running import ROOT
from tests.shell_documents import commands

PAGE = ROOT / "docs" / "page.md"


def shell(text: str) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(it.place, it.text, it.expected) for it in commands(Block(PAGE, 10, "sh", text))]


def test_blocks_are_found_with_their_language_and_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```sh\necho\n```\n\ntext ```not this``` text\n```lua\n-- a.lua\nreturn 1\n```\n")
    found = [(block.line, block.language, block.text, block.file) for block in blocks(page)]
    assert found == [(4, "sh", "echo\n", None), (9, "lua", "-- a.lua\nreturn 1\n", "a.lua")]
    assert [block.language for block in blocks(page, "lua")] == ["lua"]


def test_rows_are_those_of_tables_without_their_headings() -> None:
    text = "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | |\n\ntext\n\n| c |\n|---|\n| 4 |"
    assert list(rows(text)) == [["1", "2"], ["3", ""], ["4"]]


def test_each_command_stands_alone_with_what_it_is_to_say() -> None:
    assert shell("echo a  # → a\n\n# a remark\nmake run\necho b # no promise\n") == [
        ("docs/page.md:10", "echo a  # → a\n", ("a",)),
        ("docs/page.md:14", "echo b # no promise\n", ()),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "echo a \\\n  b  # → a b\n",
        "cat > x <<'EOF'  # → a b\necho 'it is\nEOF\n",
        "echo 'a\n\nb'  # → a b\n",
        "for x in 1 2; do\n  echo $x\ndone  # → a b\n",
    ],
)
def test_a_command_may_have_many_lines(text: str) -> None:
    assert shell(text) == [("docs/page.md:10", text, ("a b",))]


def test_a_command_without_an_end_is_an_error() -> None:
    with pytest.raises(AssertionError, match="not a whole command"):
        shell("echo 'a\n")


def test_a_script_is_asked_what_its_comments_say() -> None:
    block = Block(PAGE, 1, "lua", "-- POST /fn/x/y?n=1 'a=b' → 200 got\nreturn function(r)\n"
                  "  return r.method .. r.params.rest .. r.query.n .. r:form().a\nend\n")  # fmt: skip
    (exchange,) = exchanges(block)
    assert (exchange.status, exchange.text) == (200, "got")
    assert perform(block, exchange, {}) == (200, "POSTy1b")


def test_values_of_expressions_are_those_of_lua() -> None:
    block = Block(
        PAGE, 1, "lua", 'local a = 1 + 1 --> 3\n{ a, "x" } --> [2,"x"]\nerror("no") --> error: no\nlog.info(a)\n'
    )
    assert promised_values(block) == ["3", '[2,"x"]', "error: no"]
    assert actual_values(block) == ["2", '[2,"x"]', "error: no"]
