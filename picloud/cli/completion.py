"""Shell completion: click's own scripts, and the names of scripts from the server where one is wanted."""

import click
from click.shell_completion import CompletionItem, get_completion_class

from picloud.cli.client import API, connect
from picloud.errors import PicloudError
from picloud.model import is_script_name

_PATIENCE_S = 1.0  # somebody has pressed Tab
_NAMES_MAX = 500
_SHELLS = ("bash", "zsh", "fish")


class ScriptName(click.ParamType[str]):
    """The name of a script on the server."""

    name = "name"

    def shell_complete(self, _ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin like this; none if the server cannot say."""
        try:
            scripts = list(connect(_PATIENCE_S).items(f"{API}/scripts", _NAMES_MAX))
        except (PicloudError, OSError):
            return []
        names = [name for it in scripts if is_script_name(name := str(it["name"]))]  # a shell takes them as they are
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


script_argument = click.argument("name", type=ScriptName())


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete picloud's commands, options and the names of your scripts."""
    kind = get_completion_class(shell)
    assert kind
    click.echo(kind(ctx.find_root().command, {}, "picloud", "_PICLOUD_COMPLETE").source(), nl=False)
