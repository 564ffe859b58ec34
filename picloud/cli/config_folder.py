"""A configuration as a folder: `picloud export` writes it, `picloud apply` reads it.

Owns: its layout. `scripts/NAME/` holds the files of a script, byte for byte, as `picloud deploy` takes them;
`scripts/NAME.toml` what belongs to the script and stands in no `picloud.toml` among those files, or stands there
otherwise. What holds is what NAME.toml says, and of a kind that it does not name, what the script's own file says.
"""

import os
import shutil
import stat
import tempfile
import tomllib
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from picloud.cli import config_tables, toml
from picloud.cli.bundle import Refused, Source, read_file, read_source
from picloud.cli.config_tables import HIDDEN, is_hidden
from picloud.cli.source import Files, write_files
from picloud.manager.config_document import ConfigDocument, FileBytes, ScriptDocument
from picloud.manager.files import Collector
from picloud.model import is_script_name

MARKER = "picloud-config.toml"
SCRIPTS = "scripts"

_FORMAT = 1
_MARKED = f"""# The configuration of a PiCloud: `picloud export` writes this folder, `picloud apply -f` takes it.
format = {_FORMAT}
"""
_ABOUT = "# What belongs to the script '{}', and not to a version of it.\n"


def check_place(folder: Path) -> None:
    """Refused, unless an export may be written there: where nothing is yet, or where one was written before."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise Refused(f"{folder} is no folder")
    scripts = folder / SCRIPTS
    if os.path.lexists(folder / MARKER):
        if scripts.is_symlink() or (scripts.exists() and not scripts.is_dir()):
            raise Refused(f"{scripts} is no folder: an export would replace it")
    elif any(not it.name.startswith(".") for it in folder.iterdir()):
        raise Refused(f"{folder} is not empty, and has no {MARKER}: it is no export, and is left as it is")


def write(folder: Path, document: ConfigDocument) -> None:
    """Write an export, the whole of it or nothing; what is beside `scripts` in a folder that is there is left alone."""
    check_place(folder)
    with _made_beside(folder) as new:
        (new / MARKER).write_text(_MARKED, encoding="utf-8")
        (new / SCRIPTS).mkdir()
        for name, script in document.scripts.items():
            _write_script(new / SCRIPTS, name, script)
        if folder.exists():
            _swap(folder, new)
        else:
            new.rename(folder)


def read(folder: Path) -> tuple[dict[str, Any], Source]:
    """A configuration as it is sent, and its files by their paths below the folder; Refused names what is wrong."""
    _check_marker(folder)
    scripts: dict[str, Any] = {}
    files: Files = {}
    tables = {}
    for path in _entries(folder):
        name = path.name.removesuffix(".toml")
        if not is_script_name(name):
            raise Refused(f"{path}: no script can be called {name!r}: here are folders, and NAME.toml beside them")
        if stat.S_ISDIR(path.lstat().st_mode):
            scripts[name] = read_source(path).files
        elif path.name.endswith(".toml"):
            tables[name] = path
        else:
            raise Refused(f"{path} is no folder: a script is a folder with a main.lua")
    for name, path in tables.items():
        if name not in scripts:
            raise Refused(f"{path} has no folder {name} beside it, which would be its script")
    for name, found in scripts.items():
        scripts[name] = _script(folder / SCRIPTS / name, found, _tables(tables.get(name)))
        files |= {f"{SCRIPTS}/{name}/{path}": content for path, content in found.items()}
    return {"scripts": scripts}, Source(folder, files, is_folder=True)


def files_of(script: ScriptDocument) -> Files:
    """The files of a script in a document: path → content."""
    return {
        path: b64decode(text.base64) if isinstance(text, FileBytes) else text.encode()
        for path, text in script.files.items()
    }


def _write_script(scripts: Path, name: str, script: ScriptDocument) -> None:
    if not is_script_name(name):
        raise Refused(f"the server names a script {name!r}, which is no name; nothing was written")
    files = files_of(script)
    write_files(scripts / name, files, force=False)
    tables = config_tables.shown(script, files)
    if tables:
        (scripts / f"{name}.toml").write_text(_ABOUT.format(name) + "\n" + toml.document(tables), encoding="utf-8")


def _check_marker(folder: Path) -> None:
    marker = folder / MARKER
    if not folder.is_dir():
        raise Refused(f"{folder} is no folder")
    if not os.path.lexists(marker):
        if not (folder / SCRIPTS).is_dir():
            raise Refused(f"{folder} is no configuration: it has neither a folder '{SCRIPTS}' nor a {MARKER}")
        return
    if (found := _loaded(marker)) != {"format": _FORMAT}:
        raise Refused(
            f"{marker} must say 'format = {_FORMAT}' and nothing else, not {found}: this PiCloud knows no other"
        )


def _entries(folder: Path) -> list[Path]:
    """What is in `scripts`, but for what is hidden."""
    scripts = folder / SCRIPTS
    if scripts.is_symlink():
        raise Refused(f"{scripts} is a symbolic link: what is applied stays in its folder")
    if not os.path.lexists(scripts):
        return []
    try:
        found = sorted(it for it in scripts.iterdir() if not it.name.startswith("."))
    except OSError as error:
        raise Refused(f"{scripts}: {error.strerror}") from error
    for path in found:
        if not stat.S_ISDIR(mode := path.lstat().st_mode) and not stat.S_ISREG(mode):
            raise Refused(f"{path} is a link or a device: here are folders, and NAME.toml beside them")
    return found


def _script(folder: Path, files: Files, tables: dict[str, Any]) -> dict[str, Any]:
    hidden = tables.pop(HIDDEN, [])
    if not isinstance(hidden, list) or not all(isinstance(it, str) for it in hidden):
        raise Refused(f"{folder}.toml: {HIDDEN} must be a list of paths in {folder}")
    for name in hidden:
        files[name] = _hidden_file(folder, name)
    try:
        config_tables.read_payloads(tables)
    except ValueError as error:
        raise Refused(f"{folder}.toml: {error}") from error
    return {**tables, "files": {path: _sent(content) for path, content in sorted(files.items())}}


def _hidden_file(folder: Path, name: str) -> bytes:
    path = folder / Collector().checked(name)
    if not is_hidden(name):
        raise Refused(f"{folder}.toml: {HIDDEN}: {name!r} is not hidden: it belongs to the script anyway")
    if path.is_symlink() or path.parent.resolve() != folder.resolve() / Path(name).parent:
        raise Refused(f"{path} is a symbolic link, or behind one: a bundle takes regular files only")
    return read_file(path)


def _sent(content: bytes) -> Any:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(content).decode()}


def _tables(path: Path | None) -> dict[str, Any]:
    found = _loaded(path) if path else {}
    if "files" in found:
        raise Refused(f"{path}: files is not known: a script's files are those in its folder")
    return found


def _loaded(path: Path) -> dict[str, Any]:
    if path.is_symlink():
        raise Refused(f"{path} is a symbolic link: what is applied stays in its folder")
    try:
        return tomllib.loads(read_file(path).decode())
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path}: {error}") from error


@contextmanager
def _made_beside(folder: Path) -> Iterator[Path]:
    """A new folder where one can be renamed from; nothing of it is left."""
    place = folder if folder.exists() else folder.absolute().parent
    place.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".picloud-export-", dir=place))
    try:
        new = made / "new"
        new.mkdir()
        yield new
    finally:
        shutil.rmtree(made)


def _swap(folder: Path, new: Path) -> None:
    """Put what is new in the place of what was there; what was there goes with the folder beside."""
    old, scripts = new.parent / "old", folder / SCRIPTS
    (new / MARKER).rename(folder / MARKER)
    try:
        if scripts.exists():
            scripts.rename(old)
        (new / SCRIPTS).rename(scripts)
    except BaseException:
        if old.exists() and not scripts.exists():
            old.rename(scripts)
        raise
