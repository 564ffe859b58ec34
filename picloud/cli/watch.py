"""`picloud up --watch DIR`: what lies in a folder is deployed, and again whenever it changes.

A process of its own that blocks in one read of inotify: nothing is polled, and idle costs nothing. What is to be done
is decided by `decide`, a pure function of what was there, what is, and which entries the kernel named.
"""

import contextlib
import os
import socket
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from picloud.cli.bundle import read_source, script_name_of
from picloud.cli.changes import Changes, wait_until_there
from picloud.cli.client import Client, connect
from picloud.cli.deploy import address, show_calls, upload
from picloud.cli.terminal import harmless, say_error
from picloud.errors import PicloudError
from picloud.manager.files import ENTRY


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change asks for."""

    deploy: tuple[tuple[str, Path], ...]  # script, file or folder
    gone: tuple[tuple[str, Path], ...]
    clashes: tuple[tuple[str, tuple[Path, ...]], ...]  # several that would be one script


def decide(before: Mapping[Path, str], now: Mapping[Path, str], touched: Collection[Path]) -> Plan:
    """From what was and is in the folder (file or folder → script) and what changed to what is to be done.

    Of those that would be one script, none is deployed.
    """
    owners: dict[str, list[Path]] = {}
    for path, script in sorted(now.items()):
        owners.setdefault(script, []).append(path)
    changed = {seen[path] for seen in (before, now) for path in touched if path in seen}
    return Plan(
        tuple((script, owners[script][0]) for script in sorted(changed & owners.keys()) if len(owners[script]) == 1),
        tuple((script, path) for path, script in sorted(before.items()) if path not in now and script not in owners),
        tuple((script, tuple(owners[script])) for script in sorted(changed & owners.keys()) if len(owners[script]) > 1),
    )


def scripts_in(folder: Path) -> dict[Path, str]:
    """The files and folders in it that are scripts → their names."""
    found = {}
    for entry in os.scandir(folder):
        path = Path(entry.path)
        is_file = path.suffix == ".lua" and not entry.is_dir(follow_symlinks=False)
        is_bundle = entry.is_dir(follow_symlinks=False) and _has_entry(path)
        if not entry.name.startswith(".") and (is_file or is_bundle):
            try:
                found[path] = script_name_of(path)
            except (PicloudError, OSError) as error:
                say_error(error)
    return found


def _whole(folder: Path) -> dict[Path, str]:
    """The folder itself is the script, as it is to `deploy`."""
    try:
        return {folder: script_name_of(folder)}
    except PicloudError as error:
        say_error(error)
        return {}


class Watcher:
    """One folder and the PiCloud that it is deployed to."""

    def __init__(self, client: Client, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self._before: dict[Path, str] = {}
        self._shown: set[str] = set()  # whose curl line was printed
        self._is_bundle = False  # it has a main.lua, or had: its modules are no scripts while that is away

    def look(self, touched: Collection[Path] | None = None) -> None:
        """Deploy what changed; without `touched`, everything."""
        now = self._scripts()
        if touched and self._is_bundle:
            touched = {self._folder}
        plan = decide(self._before, now, now.keys() if touched is None else touched)
        self._before = now
        for script, path in plan.gone:
            click.echo(f"{harmless(path.name)} is gone; {script} stays as it is ('picloud rm {script}' deletes it)")
        for script, paths in plan.clashes:
            names = " and ".join(path.name for path in paths)
            say_error(PicloudError(f"{names} would all be the script '{script}': rename one"))
        for script, path in plan.deploy:
            self._deploy(script, path)

    def _scripts(self) -> dict[Path, str]:
        if not self._is_bundle and _has_entry(self._folder):
            self._is_bundle, self._before = True, {}
        return _whole(self._folder) if self._is_bundle else scripts_in(self._folder)

    def _deploy(self, script: str, path: Path) -> None:
        try:
            done = upload(self._client, script, read_source(path, within=Path(os.path.realpath(self._folder))))
        except (PicloudError, OSError) as error:
            if os.path.lexists(path):  # else the next event tells
                say_error(error)
            return
        click.echo(f"{done.news} at {address(self._client, done.path)}")
        if script not in self._shown:
            self._shown.add(script)
            show_calls(self._client, done)


def main(folder: Path) -> None:
    """Deploy the folder, say READY=1, and follow it for ever."""
    client = connect()
    while True:
        watcher = Watcher(client, folder)
        with Changes(folder) as changes:
            _look(watcher)
            _ready()
            while (touched := changes.wait()) is not None:
                _look(watcher, touched)
        say_error(PicloudError(f"{folder} is gone; nothing is watched until it is there again"))
        wait_until_there(folder)
        click.echo(f"{harmless(str(folder))} is there again and watched")


def _look(watcher: Watcher, touched: Collection[Path] | None = None) -> None:
    try:
        watcher.look(touched)
    except OSError as error:  # a folder that goes away under our eyes; its end is the next change
        say_error(error)


def _ready() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):  # nobody waits
        sender.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])


def _has_entry(folder: Path) -> bool:
    try:
        return (folder / ENTRY).exists()
    except OSError:  # who may not look into it was told when it was to be watched
        return False


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (PicloudError, OSError) as failure:
        say_error(failure)
        sys.exit(1)
