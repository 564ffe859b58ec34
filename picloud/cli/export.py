"""`picloud export`: all that is configured, as files."""

from pathlib import Path

import click
import msgspec

from picloud.cli.client import API, Client, NotPicloud, connect, refused
from picloud.cli.config_folder import check_place, write
from picloud.cli.output import patiently
from picloud.manager.config_document import ConfigDocument

CONFIG = f"{API}/config"
TIMEOUT_S = 600.0


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def export(folder: Path) -> None:
    """Write scripts, settings, routes, subscriptions and schedules into a folder, for 'picloud apply'."""
    check_place(folder)
    client = connect(TIMEOUT_S)
    with patiently("reading the configuration"):
        document, _ = exported(client)
    write(folder, document)
    click.echo(f"{len(document.scripts)} scripts in {folder}")


def exported(client: Client) -> tuple[ConfigDocument, str]:
    """What is configured, and its ETag; ApiError."""
    answer = client.send("GET", CONFIG)
    if answer.status >= 400:
        raise refused(answer)
    try:
        return msgspec.json.decode(answer.data, type=ConfigDocument), answer.headers["etag"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError) as error:
        raise NotPicloud(f"what answers is no PiCloud, or one of another version: {error}") from error
