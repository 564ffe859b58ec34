"""docs/cli.md has every command with every option, says of each what `--help` says, and has no other."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from picloud.api import openapi
from picloud.api.problems import TABLE
from picloud.cli import picloud
from tests.declarations import ROUTES

DOCS = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
SECTIONS = dict(re.findall(r"^### `(picloud [^`]+)`\n(.*?)(?=^##|\Z)", DOCS, re.MULTILINE | re.DOTALL))


def commands(command: click.Command, words: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by each of its names → its words."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner
            yield from commands(inner, f"{words} {name}")
    else:
        yield words, command


COMMANDS = {
    " ".join(
        [words, *(it.make_metavar(click.Context(command)) for it in command.params if isinstance(it, click.Argument))]
    ): command
    for words, command in commands(picloud, "picloud")
    if command.name == words.split()[-1]
}
ALIASES = {words: command for words, command in commands(picloud, "picloud") if command.name != words.split()[-1]}


def row(option: click.Option) -> str:
    """The line of docs/cli.md for one option."""
    names = ", ".join(f"`{name}`" for name in option.opts)
    value = "" if option.is_flag else f" `{option.make_metavar(click.Context(picloud))}`"
    default = f" Default: `{option.default}`." if option.show_default else ""
    return f"| {names}{value} | {option.help}{default} |"


def test_the_page_has_every_command_and_no_other() -> None:
    assert sorted(SECTIONS) == sorted(COMMANDS)


def test_a_second_name_stands_where_the_first_is_explained() -> None:
    assert sorted(ALIASES) == ["picloud route set", "picloud token set"]
    for words, command in ALIASES.items():
        (usage,) = [usage for usage, it in COMMANDS.items() if it is command]
        assert f"`{words}` is the same." in " ".join(SECTIONS[usage].split())


def test_what_the_server_says_to_run_is_a_command() -> None:
    texts = [*(f"{row.when} {row.advice}" for row in TABLE.values()), str(openapi.document(ROUTES))]
    named = {words for text in texts for words in re.findall(r"`picloud ([a-z ]+)", text)}
    known = {words.removeprefix("picloud ") for words, _ in commands(picloud, "picloud")}
    assert "token add" in named
    assert named <= known


@pytest.mark.parametrize("usage", sorted(COMMANDS))
def test_a_command_has_every_option_and_no_other(usage: str) -> None:
    options = [it for it in COMMANDS[usage].params if isinstance(it, click.Option)]
    assert all(option.help for option in options)
    rows = [line for line in SECTIONS[usage].splitlines() if line.startswith("| `")]
    assert rows == [row(option) for option in options]


@pytest.mark.parametrize("usage", sorted(COMMANDS))
def test_a_command_is_explained_where_it_is_used(usage: str) -> None:
    text = COMMANDS[usage].help
    assert text
    assert text.splitlines()[0].endswith((".", ":"))


@pytest.mark.parametrize(
    "usage", sorted(name for name, it in COMMANDS.items() if "as_json" not in {p.name for p in it.params})
)
def test_every_listing_has_json(usage: str) -> None:
    assert not {"ls", "show", "versions", "logs", "invocations"} & {*usage.split()}
