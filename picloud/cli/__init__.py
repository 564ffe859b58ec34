"""The command line: `picloud …`.

Errors say what, where and what to do. Exit status: 1 for what failed, 2 for how it was asked.
"""

import sys

import click

from picloud import __version__
from picloud.cli import doctor, records, scripts, up
from picloud.errors import ConfigurationError, PicloudError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="picloud")
def picloud() -> None:
    """Upload a Lua script, get an HTTP endpoint.

    'picloud up' starts everything here; the other commands talk to a running PiCloud: PICLOUD_URL and PICLOUD_TOKEN
    say which, without them the one that 'picloud up' started from this folder.
    """


for command in (up.up, up.migrate, doctor.doctor, *scripts.COMMANDS, *records.COMMANDS):
    picloud.add_command(command)


def main() -> None:
    """The entry point."""
    try:
        picloud(prog_name="picloud")
    except ConfigurationError as error:
        _fail(error, 2)
    except (PicloudError, OSError) as error:
        _fail(error, 1)


def _fail(error: Exception, code: int) -> None:
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(str(error), err=True)
    sys.exit(code)
