"""The command line: `picloud …`.

Errors say what, where and what to do. Exit status: 1 for what failed, 2 for how it was asked, 130 after Ctrl-C.
"""

import signal
import sys

import click

from picloud import __version__
from picloud.cli import completion, deploy, doctor, records, routes, run, scripts, settings, source, starter, tokens, up
from picloud.errors import ConfigurationError, PicloudError

_INTERRUPTED = 128 + signal.SIGINT


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="picloud")
def picloud() -> None:
    """Upload a Lua script, get an HTTP endpoint.

    'picloud up' starts everything here; the other commands talk to a running PiCloud: PICLOUD_URL and PICLOUD_TOKEN
    say which, without them the one that 'picloud up' started from this folder.
    """


for command in (
    *(up.up, deploy.deploy, starter.init, run.run),
    *scripts.COMMANDS,
    *records.COMMANDS,
    *(source.source, source.diff, routes.route, settings.settings, settings.env, tokens.token),
    *(up.migrate, doctor.doctor, completion.completion),
):
    picloud.add_command(command)


def main() -> None:
    """The entry point."""
    try:
        sys.exit(picloud(prog_name="picloud", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort as error:
        sys.exit(_aborted(error))
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except ConfigurationError as error:
        _fail(error, 2)
    except (PicloudError, OSError) as error:
        _fail(error, 1)


def _aborted(error: click.Abort) -> int:
    if isinstance(error.__cause__, KeyboardInterrupt):
        return _INTERRUPTED
    click.echo("Nothing was done.", err=True)  # the answer to a question was no, or there was none
    return 1


def _fail(error: Exception, code: int) -> None:
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(str(error), err=True)
    sys.exit(code)
