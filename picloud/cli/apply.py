"""`picloud apply`: a server becomes what a folder says."""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from picloud.cli.client import ApiError, Client, NotPicloud, connect, refused
from picloud.cli.config_folder import SCRIPTS, files_of, read
from picloud.cli.deploy import told
from picloud.cli.export import CONFIG, TIMEOUT_S, exported
from picloud.cli.output import as_json as json_option
from picloud.cli.output import patiently, show_json
from picloud.cli.source import Files, differences, show_differences
from picloud.cli.terminal import harmless
from picloud.manager.config_document import ConfigDocument
from picloud.manager.config_plan import Action, ConfigChange, Thing

_SIGNS = {Action.ADD: ("+", "green"), Action.CHANGE: ("~", "yellow"), Action.REMOVE: ("-", "red")}
_OF_TABLES = re.compile(r"scripts/([a-z0-9-]+): (?=settings|route|subscription|schedule)")
_WOULD_CHANGE = 3  # exit status


@click.command()
@click.option(
    "-f",
    "--folder",
    metavar="DIR",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What 'picloud export' wrote, or is laid out like it.",
)
@click.option("--prune", is_flag=True, help="Remove what the folder does not have, too.")
@click.option("--dry-run", is_flag=True, help="Show what would be changed, and change nothing.")
@click.option("--exit-code", is_flag=True, help="Exit with 3 if there was something to change.")
@json_option
def apply(folder: Path, prune: bool, dry_run: bool, exit_code: bool, as_json: bool) -> None:
    """Make the scripts of a server what a folder says, all at once or not at all, and show what changed."""
    wanted, source = read(folder)
    client = connect(TIMEOUT_S)
    with patiently("comparing"):
        now, tag = exported(client)
        query = f"?prune={json.dumps(prune)}&dry_run={json.dumps(dry_run)}"
        headers = {"content-type": "application/json", "if-match": tag}
        answer = client.send("PUT", CONFIG + query, msgspec.json.encode(wanted), headers)
    if answer.status >= 400:
        raise told(source, _placed(refused(answer), folder))
    done = client.document(answer.data)
    changes = _changes(client, done)
    if as_json:
        show_json(done)
    else:
        _show(changes, now, source.files)
        _sum_up(len(changes), dry_run)
    for name in done["missing_secrets"]:
        click.echo(harmless(f"secret {name} has no value here: 'picloud secret set {name}'"), err=True)
    if exit_code and changes:
        sys.exit(_WOULD_CHANGE)


def _placed(error: ApiError, folder: Path) -> ApiError:
    """What the server says of a script's tables is of a file here."""
    found = _OF_TABLES.match(str(error))
    if found is None or not (folder / SCRIPTS / f"{found[1]}.toml").is_file():
        return error
    return ApiError(f"{SCRIPTS}/{found[1]}.toml: {str(error)[found.end() :]}", error.problem)


def _changes(client: Client, done: Mapping[str, Any]) -> list[ConfigChange]:
    try:
        return msgspec.convert(done["changes"], list[ConfigChange])
    except msgspec.ValidationError as error:
        raise NotPicloud(f"{client.url} is no PiCloud, or one of another version: {error}") from error


def _sum_up(count: int, dry_run: bool) -> None:
    if not count:
        click.echo("nothing to do")
    elif dry_run:
        click.echo(f"{count} changes would be made; nothing was changed")
    else:
        click.echo(f"{count} change{'' if count == 1 else 's'} made")


def _show(changes: Iterable[ConfigChange], now: ConfigDocument, files: Files) -> None:
    shown: set[str] = set()
    for change in changes:
        if change.thing is not Thing.FILE:
            sign, colour = _SIGNS[change.action]
            click.secho(harmless(f"{sign} {_words(change)}"), fg=colour)
        elif change.script not in shown:
            shown.add(change.script)
            _show_files(change.script, now, files)


def _show_files(script: str, now: ConfigDocument, files: Files) -> None:
    top = f"{SCRIPTS}/{script}"
    before = files_of(now.scripts[script]) if script in now.scripts else {}
    after = {path.removeprefix(f"{top}/"): text for path, text in files.items() if path.startswith(f"{top}/")}
    show_differences(differences((f"a/{top}", before), (f"b/{top}", after)))


def _words(change: ConfigChange) -> str:
    """A change for a person; values of variables stay out of the logs of whoever runs this."""
    before, after = (it if isinstance(it, str) else json.dumps(it, ensure_ascii=False) for it in _sides(change))
    if change.thing is Thing.SCRIPT:
        return f"script {change.script}" + (
            ", with its versions, settings, routes, schedules and values" if change.action is Action.REMOVE else ""
        )
    where = f"{change.script}: {change.thing}"
    if change.thing is Thing.ROUTE:
        return f"{where} {before} is now {after}" if change.action is Action.CHANGE else f"{where} {change.name}"
    if change.thing is Thing.SUBSCRIPTION or change.name.startswith("env."):
        return f"{where} {change.name}"
    if change.action is Action.CHANGE:
        return f"{where} {change.name}: {before} is now {after}"
    return f"{where} {change.name}: {before if change.action is Action.REMOVE else after}"


def _sides(change: ConfigChange) -> tuple[Any, Any]:
    return change.before, change.after
