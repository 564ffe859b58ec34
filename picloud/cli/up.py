"""`picloud up`: all of PiCloud in the foreground; and `picloud migrate`."""

import contextlib
import os
import secrets
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import click

from picloud import __version__
from picloud.auth import Scope, new_secret
from picloud.cli.bundle import script_name_of
from picloud.cli.client import Client, default_url, describe, script_path
from picloud.cli.deploy import curl_line
from picloud.cli.ground import data_lock, run_dir, with_database
from picloud.cli.parts import (
    Extra,
    ask_undisturbed,
    dispatcher_part,
    executor_part,
    listening,
    server_part,
    stop_undisturbed,
    watcher_part,
)
from picloud.cli.terminal import harmless
from picloud.errors import PlatformError
from picloud.manager import schedule_config
from picloud.sealing import KeyFile
from picloud.settings import ServerSettings, load
from picloud.storage.migrate import migrate as apply_migrations
from picloud.storage.pool import Pool
from picloud.storage.secrets import SecretTable
from picloud.storage.tokens import TokenTable

_QUICK_END_S = 2.0  # after its start
_QUICK_ENDS_MAX = 3  # in a row, of one part: then it is broken, and not killed by somebody
_PAUSES_S = (1, 5, 15)  # between vain starts of a part that ended


class _StopRequested(BaseException):
    """SIGTERM, SIGINT or SIGHUP came."""


@click.command()
@click.option(
    "--example",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Deploy this Lua file if there is no script of its name, and call it.",
)
@click.option(
    "--watch",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Deploy the scripts of this folder, now and whenever they change.",
)
def up(example: Path | None, watch: Path | None) -> None:
    """Start all of PiCloud in the foreground, with a PostgreSQL of its own unless PICLOUD_DATABASE_URL names yours."""
    settings = load()
    schedule_config.read(settings.config)  # what is wrong there is known at once
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _request_stop)
    with contextlib.suppress(_StopRequested), contextlib.ExitStack() as stack:
        stack.enter_context(data_lock(settings))
        stack.enter_context(run_dir(settings))
        settings, parts = _start(stack, settings, watch)
        _greet(settings, example)
        _watch(parts)
    click.echo("PiCloud has stopped; the data is kept.")


@click.command()
def migrate() -> None:
    """Bring the database's tables to this version. 'picloud up' does it too."""
    settings = load()
    with contextlib.ExitStack() as stack:
        if not settings.database_url:
            stack.enter_context(data_lock(settings))
            stack.enter_context(run_dir(settings))
            settings, _ = with_database(stack, settings)
        applied = apply_migrations(settings.database_url)
    click.echo("\n".join(f"applied {name}" for name in applied) or "nothing to do: the tables are up to date")


def _start(
    stack: contextlib.ExitStack, settings: ServerSettings, watch: Path | None
) -> tuple[ServerSettings, list[Any]]:
    listener = stack.enter_context(listening(settings.bind))  # first: a port that is taken is known at once
    settings, parts = with_database(stack, settings)
    apply_migrations(settings.database_url)
    _ensure_admin_token(settings)
    _ensure_secret_key(settings)
    server, dispatcher = server_part(settings, listener), dispatcher_part(settings)
    for part in (executor_part(settings), server):
        stack.callback(stop_undisturbed, part)
        part.start()
        parts.append(part)
    for extra in (dispatcher, *([watcher_part(settings, watch)] if watch else [])):
        parts.append(extra)
        stack.callback(stop_undisturbed, extra)
        _try_to_start(extra)
    stack.callback(ask_undisturbed, dispatcher, server)  # at the stop each waits for what it runs, and both at once
    return settings, parts


def _try_to_start(part: Extra) -> None:
    try:
        part.start()
    except PlatformError as error:
        if part.pause_s and not part.pid:
            part.start_unawaited(part.pause_s)
        click.echo(f"{error}; PiCloud goes on{'' if part.pid else ' without it'}", err=True)


def _request_stop(_number: int, _frame: object) -> NoReturn:
    raise _StopRequested


def _watch(parts: list[Any]) -> NoReturn:
    """Wait for ever; start a part again that ends by itself."""
    started = {part: time.monotonic() for part in parts}
    quick_ends = dict.fromkeys(parts, 0)
    while True:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        part = next((part for part in parts if ended and part.pid == ended.si_pid), None)
        if part is None:  # an orphan of a part
            os.waitpid(ended.si_pid if ended else -1, 0)
            continue
        status = part.reap()
        quick_ends[part] = quick_ends[part] + 1 if time.monotonic() - started[part] < _QUICK_END_S else 0
        pause_s = _start_again(part, status, is_broken=quick_ends[part] >= _QUICK_ENDS_MAX)
        started[part] = time.monotonic() + pause_s


def _start_again(part: Any, status: int, *, is_broken: bool) -> int:
    """Start what has ended, if that is of any use → for how many seconds it does nothing first."""
    news = f"the {part.name} ends as soon as it is started (exit status {status}); see above"
    if not isinstance(part, Extra):
        if is_broken:
            raise PlatformError(news)
        click.echo(f"the {part.name} ended (exit status {status}); starting it again", err=True)
        _start_patiently(part)
        return 0
    if is_broken and not part.pause_s:
        click.echo(f"{news}; PiCloud goes on without it", err=True)
        return 0
    pause_s = part.pause_s if is_broken else 0
    when = f" in {pause_s} s" if pause_s else ""
    click.echo(f"the {part.name} ended (exit status {status}); starting it again{when}", err=True)
    part.start_unawaited(pause_s)  # the others are not left alone for it
    return pause_s


def _start_patiently(part: Any) -> None:
    """A few times: what ended it may still be at work, such as a disk that is full for a moment."""
    for pause_s in _PAUSES_S:
        try:
            part.start()
        except PlatformError as error:
            click.echo(f"{error}; trying again in {pause_s} s", err=True)
            time.sleep(pause_s)
        else:
            return
    part.start()


def _ensure_admin_token(settings: ServerSettings) -> None:
    """Keep the token in the file if the database knows it; else make a new one."""
    pool = Pool(settings.database_url, size=1, wait_ms=5_000)
    try:
        tokens, path = TokenTable(pool), settings.admin_token_file
        if path.exists() and tokens.find(path.read_text(encoding="utf-8", errors="replace").strip()):
            return
        secret = new_secret()
        path.unlink(missing_ok=True)
        _write_private(path, secret)
        tokens.put(f"admin@{socket.gethostname()}-{_node(settings)}", secret, [Scope.ADMIN])
    finally:
        pool.close()


def _ensure_secret_key(settings: ServerSettings) -> None:
    """A key for secrets, unless there are some that another one opens; ConfigurationError if it cannot be used."""
    keys = KeyFile(settings.secret_key)
    if not settings.secret_key_file and not settings.secret_key.exists():
        with contextlib.closing(Pool(settings.database_url, size=1, wait_ms=5_000)) as pool:
            if SecretTable(pool).any():
                click.echo(f"{settings.secret_key} is missing: put it back, or no script gets a secret", err=True)
                return
        keys.create()
    keys.check()


def _node(settings: ServerSettings) -> str:
    """What tells this data folder from others on the same database: nodes may have one host name."""
    path = settings.data / "node"
    if not path.exists():
        _write_private(path, secrets.token_hex(4))
    return path.read_text(encoding="ascii").strip()


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text + "\n")


def _greet(settings: ServerSettings, example: Path | None) -> None:
    client = Client(default_url(settings), settings.admin_token_file.read_text(encoding="ascii").strip())
    click.echo(f"PiCloud {__version__} is up.")
    if example:
        _show_example(client, example)
    click.echo(f"  health   {curl_line(client.url, '/readyz')}")
    click.echo(f"  token    {settings.admin_token_file}")
    click.echo(f"  data     {settings.data}")
    click.echo("Ctrl-C stops it.")
    sys.stdout.flush()


def _show_example(client: Client, example: Path) -> None:
    name = script_name_of(example)
    path = script_path(name)
    if client.send("GET", path).status == 404:
        client.call("PUT", path, example.read_bytes(), {"content-type": "text/x-lua"})
    answer = client.send("GET", f"/fn/{name}")
    text = answer.data.decode(errors="replace").rstrip() if answer.status < 400 else describe(answer)
    click.echo(f"  {name:8} {harmless(text)}")
    click.echo(f"  try      {curl_line(client.url, f'/fn/{name}')}")
