"""The caret stands under what Lua complains of. Each message is Lua's own, asked for here."""

from pathlib import Path

import pytest

from picloud.cli.bundle import Source
from picloud.cli.syntax import NotCompiled, culprit
from picloud.model import SyntaxProblem
from sandbox.lua import Engine, Failure


def problem_of(text: bytes) -> SyntaxProblem:
    found = Engine(emit_log=lambda *_: None, call_host=lambda *_: []).compile([b"main.lua", text])
    assert isinstance(found, Failure)
    return SyntaxProblem(found.file.decode(), found.line, found.message.decode("utf-8", "replace"))


@pytest.mark.parametrize(
    ("line", "marked"),
    [
        ("return 1 x x x", "         ^"),
        ("local x = = 5", "          ^"),
        ("if a = 1 then end", "     ^"),
        ("f(a, b))", "       ^"),
        ("return { 1,, 2, 3 }", "           ^"),
        ("goto nowhere", "^"),
        ("f(", "  ^"),
        ("for i = 1 do end", "          ^^"),
        ("  local endx = 1 end", "                 ^^^"),
        ("x = 'abc", "        ^"),
        ("x = 3abc", "    ^^^^"),
        ("y = 1 $ 2", "      ^"),
        ("é = 1", "^"),
    ],
)
def test_the_culprit_is_found_in_the_line(line: str, marked: str) -> None:
    start, length = culprit(line, problem_of(line.encode()).message)
    assert " " * start + "^" * length == marked


def test_names_of_files_cannot_write_to_the_terminal() -> None:
    source = Source(Path("/tmp/\x1b[2J"), {"\x9b.lua": b"return = 1"}, is_folder=True)
    words = str(NotCompiled(source, SyntaxProblem("\x9b.lua", 1, "unexpected symbol near '='")))
    assert "--> /tmp/\\x1b[2J/\\x9b.lua:1:8" in words
    assert "\x9b" not in words
    assert "\x9b" not in str(NotCompiled(source, SyntaxProblem("\x9b.lua", 9, "unexpected")))


def shown(text: str) -> list[str]:
    source = Source(Path("/tmp/x.lua"), {"main.lua": text.encode()}, is_folder=False)
    return (
        str(NotCompiled(source, problem_of(text.encode())))
        .replace("\x1b[31m\x1b[1m", "")
        .replace("\x1b[0m", "")
        .splitlines()
    )


def test_file_line_message_and_the_line_with_a_caret_are_shown() -> None:
    assert shown("local a\nx = = 1\n") == [
        "main.lua:2: unexpected symbol near '='",
        "  --> /tmp/x.lua:2:5",
        "  2 | x = = 1",
        "    |     ^",
    ]


def test_a_string_without_an_end_is_marked_whole() -> None:
    assert shown("x = 'abc\ny = 1")[-1] == "    |     ^^^^"


def test_a_tab_and_a_wide_character_do_not_move_the_caret() -> None:
    *_, line, caret = shown("\tlocal t = { '漢字',, 1 }")
    assert line == "  1 |     local t = { '漢字',, 1 }"
    assert caret == "    | " + " " * len("    local t = { 'xxyy',") + "^"


def test_of_a_very_long_line_what_lies_around_the_culprit_is_shown() -> None:
    *_, line, caret = shown("x = {" + "1," * 5000 + ", " + "2," * 5000 + "}")
    assert len(line) < 130
    assert len(caret) < 130
    assert line[caret.index("^")] == ","


def test_lines_are_counted_as_lua_does() -> None:
    assert shown("a = 1\r\nb = 2\n\rc = '\x0b\u2028'\nd = = 1")[0].startswith("main.lua:4: ")
    assert shown("a = 1\r\nb = 2\n\rc = '\x0b\u2028'\nd = = 1")[2] == "  4 | d = = 1"


def test_no_control_character_of_a_source_reaches_the_terminal() -> None:
    assert "\x1b" not in "".join(shown("x = '\x1b[2J' = 1"))


def test_a_problem_of_a_line_that_is_not_there_is_shown_without_one() -> None:
    source = Source(Path("x"), {"main.lua": b"a"}, is_folder=True)
    assert str(NotCompiled(source, SyntaxProblem("main.lua", 9, "odd"))) == "main.lua:9: odd"


def test_in_a_folder_the_file_is_named_with_its_place() -> None:
    source = Source(Path("site"), {"main.lua": b"", "lib/a.lua": b"x"}, is_folder=True)
    assert "--> site/lib/a.lua:1:" in str(NotCompiled(source, SyntaxProblem("lib/a.lua", 1, "bad near <eof>")))
