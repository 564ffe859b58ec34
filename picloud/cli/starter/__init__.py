"""`picloud init`: a folder to start from: a script, a module, settings, and stubs that tell editors our globals."""

from importlib.resources import files
from pathlib import Path

import click

from picloud.cli.bundle import new_script_name
from picloud.errors import PicloudError

_PLACES = {  # file of the template → where it goes
    "main.lua": "main.lua",
    "greeting.lua": "greeting.lua",
    "picloud.toml": "picloud.toml",
    "luarc.json": ".luarc.json",
    "picloud.lua": ".picloud/library/picloud.lua",
}


@click.command()
@click.argument("name")
@click.option(
    "--dir",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder; without it, one of the same name.",
)
def init(name: str, folder: Path | None) -> None:
    """Make a folder to start a script from, with stubs that make editors complete what a script can name."""
    new_script_name(name)
    folder = folder or Path(name)
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise PicloudError(f"{folder} is there already and not an empty folder; say --dir FOLDER for another")
    for file, place in _PLACES.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(template(file), encoding="utf-8")
    click.echo(f"{folder}: {', '.join(_PLACES.values())}")
    click.echo(f"  picloud run {folder}")
    click.echo(f"  picloud deploy {folder}{'' if folder.resolve().name == name else f' --name {name}'}")


def template(file: str) -> str:
    """One file of the template."""
    return files(__name__).joinpath("template", file).read_text(encoding="utf-8")
