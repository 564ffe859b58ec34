"""`picloud install`: PiCloud on this machine, for good; what it does is in `picloud.installation`."""

import sys
from collections.abc import Callable

import click

from picloud.errors import PlatformError
from picloud.installation import migrations, plan, releases, removal, services, tokens
from picloud.installation.machine import Machine
from picloud.installation.steps import Order

_TUNE = "Let PostgreSQL sleep while nothing happens? That holds for all of its databases, and restarts it"


@click.command()
@click.option("--check", is_flag=True, help="Show what would be done, and change nothing.")
@click.option("--site", metavar="NAME", default="", help="The host name that browsers know this PiCloud by.")
@click.option(
    "--tune-postgres/--no-tune-postgres",
    "tune",
    is_flag=True,
    default=None,
    help="Let PostgreSQL sleep while nothing happens: a file in its conf.d, for all of its databases.",
)
@click.option("--yes", is_flag=True, help="Answer each question with yes.")
@click.option("--rollback", is_flag=True, help="Go back to the release that was in use before.")
@click.option("--new-token", is_flag=True, help="Make another admin token and print it, once.")
@click.option("--uninstall", is_flag=True, help="Remove all but the data.")
@click.option("--purge", is_flag=True, help="With --uninstall: the data, too.")
def install(
    check: bool, site: str, tune: bool | None, yes: bool, rollback: bool, new_token: bool, uninstall: bool, purge: bool
) -> None:
    """Install the release that this program is of, or bring an installation up to it: 'make install' runs it.

    What is there already stays, so a second run does nothing. An upgrade fails no request; a release that does not
    start is taken back.
    """
    if purge and not uninstall:
        raise click.UsageError("--purge goes with --uninstall.")
    if check + rollback + new_token + uninstall > 1:
        raise click.UsageError("Choose one of --check, --rollback, --new-token and --uninstall.")
    machine = Machine(read_only=check)
    if check:
        plan.check(machine, _order(machine, site, tune, lambda: False), click.echo)
    elif rollback:
        _roll_back(machine)
    elif new_token:
        _make_token(machine)
    elif uninstall:
        _uninstall(machine, purge=purge, yes=yes)
    else:
        _install(machine, _order(machine, site, yes or None if tune is None else tune, _wants_tuning))


def _order(machine: Machine, site: str, tune: bool | None, ask: Callable[[], bool]) -> Order:
    release, shipped = plan.shipped(machine)
    return Order(release, shipped, site, tune, ask, _show)


def _wants_tuning() -> bool:
    """Whether PostgreSQL is to be tuned, as the operator says now; nobody says yes where nobody is."""
    return sys.stdin.isatty() and click.confirm(_TUNE, default=False)


def _show(secret: str) -> None:
    click.echo("Whoever has this token administers PiCloud. It is kept nowhere and not shown again:", err=True)
    click.echo(secret)


def _install(machine: Machine, order: Order) -> None:
    if order.release is None:
        raise PlatformError(
            "this PiCloud runs from a checkout, which others may change: 'sudo make install' there makes a release and"
            " installs that; 'picloud install --check' shows what it would do"
        )
    plan.install(machine, order, click.echo)
    click.echo(f"PiCloud {order.release.version} is installed and runs: release {order.release.name}.")


def _roll_back(machine: Machine) -> None:
    plan.require_ground(machine)
    plan.with_lock()
    target = releases.previous(machine)
    migrations.require_known(machine, target)
    services.go_back(machine)
    click.echo(f"PiCloud {target.version} runs again: release {target.name}. The data is as it was.")


def _make_token(machine: Machine) -> None:
    plan.require_ground(machine)
    _show(tokens.new_token(machine))


def _uninstall(machine: Machine, *, purge: bool, yes: bool) -> None:
    plan.require_ground(machine)
    if purge and not yes:
        click.confirm("Delete the database, all scripts, settings and the key of secrets, for good?", abort=True)
    removal.uninstall(machine, click.echo, purge=purge)
