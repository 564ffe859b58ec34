"""`picloud source` and `picloud diff`: what was uploaded."""

import difflib
import os
import re
import sys
from base64 import b64decode
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from picloud.cli.client import Client, NotPicloud, connect, script_path
from picloud.cli.completion import script_argument
from picloud.cli.terminal import harmless_lines
from picloud.errors import PicloudError
from picloud.manager.files import ENTRY, Collector

Files = dict[str, bytes]  # path → content

_VERSION = click.IntRange(min=1)
_COLOURS = {"---": None, "+++": None, "-": "red", "+": "green", "@": "cyan"}  # the first that a line begins with


@click.command()
@script_argument
@click.argument("version", type=_VERSION, required=False)
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write every file of the version into this folder instead.",
)
@click.option("--force", is_flag=True, help="Let --output replace files.")
def source(name: str, version: int | None, output: Path | None, force: bool) -> None:
    """Print the main.lua of a version; without a number, of the active one."""
    client = connect()
    number = version or active_version(client, name)
    files = files_of(client, name, number)
    if output is None:
        text = files.get(ENTRY, b"")
        click.echo(harmless_lines(text.decode("utf-8", "replace")) if sys.stdout.isatty() else text, nl=False)
        return
    write_files(output, files, force)
    click.echo(f"{name} version {number}: {len(files)} files in {output}")


@click.command()
@script_argument
@click.argument("a", type=_VERSION, required=False)
@click.argument("b", type=_VERSION, required=False)
def diff(name: str, a: int | None, b: int | None) -> None:
    """Compare two versions; without B, version A with the active one; without both, the one before with the active."""
    client = connect()
    newer = b or active_version(client, name)
    older = a or version_before(client, name, newer)
    lines = list(
        differences(
            (f"{name}@{older}", files_of(client, name, older)), (f"{name}@{newer}", files_of(client, name, newer))
        )
    )
    show_differences(lines)
    if not lines:
        click.echo(f"versions {older} and {newer} of {name} are the same", err=True)


def active_version(client: Client, name: str) -> int:
    """The number of the active version."""
    return _number(client.call("GET", script_path(name))["active_version"])


def version_before(client: Client, name: str, number: int) -> int:
    """The highest version below this one; PicloudError if there is none."""
    older = next(client.items(f"{script_path(name)}/versions?after={number}", 1), None)
    if older is None:
        raise PicloudError(f"'{name}' has no version before {number}")
    return _number(older["version"])


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise NotPicloud("what answers is no PiCloud: its versions have no numbers")
    return value


def files_of(client: Client, name: str, version: int) -> Files:
    """Every file of a version."""
    found = client.call("GET", f"{script_path(name)}/versions/{version}?source=true")
    try:
        texts = {path: text.encode() for path, text in found["files"].items()}
        return texts | {path: b64decode(text) for path, text in found.get("files_base64", {}).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise NotPicloud("what answers is no PiCloud: its files are none") from error


def write_files(folder: Path, files: Files, force: bool) -> None:
    """Write files below a folder and nowhere else, whatever their names say; all or, if one is refused, none."""
    root = folder.resolve()
    taken = Collector()
    for name, content in files.items():
        try:
            taken.add(name, content)  # by the rules that it was uploaded by
        except PicloudError as error:
            raise PicloudError(f"the server names a file {error}; nothing was written") from error
        _check_place(root, name, force)
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (os.O_TRUNC if force else os.O_EXCL)
        with os.fdopen(os.open(path, flags, 0o666), "wb") as file:
            file.write(content)


def _check_place(root: Path, name: str, force: bool) -> None:
    """PicloudError if this file must not be written."""
    path = root / name
    if not name.isprintable() or {"", ".", ".."} & {*name.split("/")} or path.parent.resolve() != path.parent:
        raise PicloudError(f"the server names a file {name!r}, which would lie outside {root}; nothing was written")
    in_the_way = [it for it in path.relative_to(root).parents if it.parts and (root / it).is_file()]
    if in_the_way or path.is_dir() or path.is_symlink():
        raise PicloudError(f"{in_the_way[0] if in_the_way else path} is in the way of {name}; nothing was written")
    if path.exists() and not force:
        raise PicloudError(f"{path} is there already; nothing was written: say --force to replace it")


def differences(older: tuple[str, Files], newer: tuple[str, Files]) -> Iterator[str]:
    """The lines of a unified diff of two folders, each with what is to stand before its files' names."""
    for path in sorted(older[1].keys() | newer[1].keys()):
        before, after = older[1].get(path), newer[1].get(path)
        names = (_label(older[0], path, before), _label(newer[0], path, after))
        try:
            yield from difflib.unified_diff(_lines(before), _lines(after), *names)
        except UnicodeDecodeError:
            if before != after:
                yield f"Binary files {names[0]} and {names[1]} differ\n"


def _label(folder: str, path: str, content: bytes | None) -> str:
    return "/dev/null" if content is None else f"{folder}/{path}"


def _lines(content: bytes | None) -> list[str]:
    """Lines with their ends, as Lua and diff count them; UnicodeDecodeError."""
    return re.findall(r"[^\n]*\n|[^\n]+", (content or b"").decode())


def show_differences(lines: Iterable[str]) -> None:
    """Print what `differences` gives."""
    for line in lines:
        _show(line)


def _show(line: str) -> None:
    whole = line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"
    colour = next((colour for start, colour in _COLOURS.items() if line.startswith(start)), None)
    if sys.stdout.isatty():
        whole = harmless_lines(whole)
    click.secho(whole, fg=colour, bold=line.startswith(("---", "+++")), nl=False)
