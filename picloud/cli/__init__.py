"""The command line: `picloud …`.

Errors say what, where and what to do. Exit status: 1 for what failed, 2 for how it was asked, 130 after Ctrl-C.
"""

import io
import signal
import sys
from importlib import import_module

import click
from click.shell_completion import CompletionItem

from picloud import __version__
from picloud.cli.terminal import harmless_lines, say_error
from picloud.errors import ConfigurationError, PicloudError

_INTERRUPTED = 128 + signal.SIGINT

_COMMANDS = {  # name → module: imported when it is named, so that Tab and `--version` wait for none of them
    "apply": "apply",
    "backup": "backup",
    "completion": "completion",
    "dead": "dead",
    "deploy": "deploy",
    "diff": "source",
    "doctor": "doctor",
    "env": "settings",
    "event": "events",
    "export": "export",
    "init": "starter",
    "install": "install",
    "invocations": "records",
    "invoke": "scripts",
    "job": "jobs",
    "kv": "values",
    "logs": "records",
    "ls": "scripts",
    "migrate": "up",
    "replay": "replay",
    "restore": "restore",
    "rm": "scripts",
    "rollback": "scripts",
    "route": "routes",
    "run": "run",
    "schedule": "schedules",
    "secret": "secrets",
    "settings": "settings",
    "show": "scripts",
    "source": "source",
    "token": "tokens",
    "up": "up",
    "versions": "scripts",
}


class _Commands(click.Group):
    """Commands that are imported when they are named; each is its module's attribute of the same name."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Every name."""
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """The command of this name; None if there is none."""
        if name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"{__name__}.{_COMMANDS[name]}"), name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names alone: for what they mean all would have to be imported."""
        names = [CompletionItem(name) for name in _COMMANDS if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="picloud")
def picloud() -> None:
    """Upload a Lua script, get an HTTP endpoint.

    'picloud up' starts everything here; the other commands talk to a running PiCloud: PICLOUD_URL and PICLOUD_TOKEN
    say which, without them the one that 'picloud up' started from this folder.
    """


def main() -> None:
    """The entry point."""
    try:
        sys.exit(picloud(prog_name="picloud", standalone_mode=False) or 0)
    except click.ClickException as error:
        words = io.StringIO()
        error.show(words)
        click.echo(harmless_lines(words.getvalue()), nl=False, err=True)  # it may name a file
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
    is_unanswered = error.__context__ is not None  # Ctrl-C or Ctrl-D at a question: its line is not ended
    click.echo("\n" * is_unanswered + "Nothing was done.", err=True)
    return _INTERRUPTED if isinstance(error.__context__, KeyboardInterrupt) else 1


def _fail(error: Exception, code: int) -> None:
    say_error(error)
    sys.exit(code)
