"""`picloud replay`: a request that was kept, once more."""

from urllib.parse import urlencode

import click

from picloud.cli.client import API, connect
from picloud.cli.dry_run import dry_run_options, rehearse
from picloud.cli.scripts import run_once


@click.command()
@click.argument("invocation", type=click.UUID)
@click.option(
    "--version", metavar="N", type=click.IntRange(min=1), help="With this version; without it, with the active one."
)
@dry_run_options
def replay(invocation: object, version: int | None, dry_run: bool, allow_http: bool, as_json: bool) -> None:
    """Run the request of an invocation again, as a new one: its answer to stdout, its log to stderr.

    The script's setting 'record' says whose requests are kept. Exit 1 if the answer's status is 400 or more.
    """
    client, path = connect(), f"{API}/invocations/{invocation}/replay"
    asked = {"version": version} if version else {}
    if dry_run:
        rehearse(client, path, b"", allow_http=allow_http, as_json=as_json, asked=asked)
        return
    run_once(client, f"{path}?{urlencode({'recorded': 'true', **asked})}", b"")
