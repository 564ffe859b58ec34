"""systemd's units: in place, enabled, running, and of the release in use; or all as it was before.

The sockets are systemd's and stay open while services are restarted: who calls meanwhile waits in line.
"""

import re
import time
from collections.abc import Sequence
from datetime import datetime

from picloud.errors import PlatformError
from picloud.installation import configuration, releases
from picloud.installation.machine import CommandFailed, Machine
from picloud.installation.places import CURRENT, PREVIOUS, RELEASES
from picloud.installation.ready import why_not_ready
from picloud.installation.releases import Release
from picloud.installation.steps import Change, News, Order
from picloud.installation.units import BESIDE, SERVER, SPLIT, placed

_READY_S = 60
_PAUSE_S = 0.2  # between two questions whether it is ready
_LOG_LINES = 20
_LINE_CHARACTERS = 400


def units(machine: Machine, order: Order) -> News:
    """The files are those of the release, and systemd has read them; the operator's changes are drop-ins elsewhere."""
    yield from placed(machine, order.shipped)
    if machine.ask("systemctl", "show", "--property=NeedDaemonReload", "--value", SERVER) == "yes":
        yield Change("have systemd read them again", lambda: machine.do("systemctl", "daemon-reload"))
    if not any(_is_enabled(machine, unit) for unit in (SERVER, *SPLIT)):
        yield Change(f"enable {SERVER}, for each boot", lambda: machine.do("systemctl", "enable", "--quiet", SERVER))


def release(machine: Machine, order: Order) -> News:
    """The release is in use, and what runs is of it; if it does not get ready, the one before is put back."""
    wanted = order.release
    name = wanted.name if wanted else f"what 'make install' makes of {order.shipped}"
    before, earlier = releases.led_to(machine, CURRENT), releases.led_to(machine, PREVIOUS)
    is_new = wanted is None or before != wanted
    if is_new:
        yield Change(f"switch {CURRENT} to {name}", lambda: releases.switch(machine, _known(wanted)))
    stale = [unit for unit in _wanted(machine) if is_new or not _runs(machine, unit, name)]
    if not stale:
        return
    verb = "restart" if any(machine.says("systemctl", "is-active", "--quiet", unit) for unit in stale) else "start"
    back = before if is_new else None
    yield Change(f"{verb} {', '.join(stale)}", lambda: _start_or_go_back(machine, stale, back, earlier))


def go_back(machine: Machine) -> None:
    """Use the release before this one, with its units; PlatformError if it does not start: then this one goes on."""
    before, target = releases.led_to(machine, CURRENT), releases.previous(machine)
    activate(machine, target)
    _start_or_go_back(machine, _wanted(machine), before, target)


def activate(machine: Machine, wanted: Release) -> None:
    """Put a release's units in place and switch to it; nothing is restarted."""
    for change in placed(machine, wanted.shipped()):
        change.make()
    releases.switch(machine, wanted)
    machine.do("systemctl", "daemon-reload")


def start(machine: Machine, services: Sequence[str]) -> None:
    """Start services, anew if they run, and wait until all is ready; PlatformError with what they said."""
    since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    try:
        machine.do("systemctl", "restart", *services)
    except CommandFailed as error:
        raise PlatformError(f"{error}\n{_log(machine, since)}") from error
    until = time.monotonic() + _READY_S
    while why := _why_not(machine, services):
        if time.monotonic() > until:
            raise PlatformError(f"PiCloud is not ready after {_READY_S} s: {why}\n{_log(machine, since)}")
        time.sleep(_PAUSE_S)


def _start_or_go_back(
    machine: Machine, services: Sequence[str], before: Release | None, earlier: Release | None
) -> None:
    try:
        start(machine, services)
    except PlatformError as error:
        if before is None:
            raise
        _restore(machine, before, earlier, error)


def _restore(machine: Machine, before: Release, earlier: Release | None, error: PlatformError) -> None:
    failed = releases.led_to(machine, CURRENT)
    name = failed.name if failed else "that was new"
    activate(machine, before)
    if earlier:
        machine.link(PREVIOUS, f"releases/{earlier.name}")
    else:
        machine.remove(PREVIOUS)
    try:
        start(machine, _wanted(machine))
    except PlatformError as worse:
        raise PlatformError(
            f"release {name} did not start, and {before.name}, which is in use again, did not either: {worse}\n"
            f"what {name} said: {error}"
        ) from error
    raise PlatformError(f"release {name} did not start; {before.name} is in use again: {error}") from error


def _known(wanted: Release | None) -> Release:
    if wanted is None:
        raise PlatformError("only a release can be installed: sudo make install")
    return wanted


def _wanted(machine: Machine) -> list[str]:
    """The services that should run: all in one, or the split ones if the operator has enabled those."""
    split = [unit for unit in SPLIT if _is_enabled(machine, unit)]
    return [*(split or [SERVER]), *BESIDE]


def _is_enabled(machine: Machine, unit: str) -> bool:
    return machine.says("systemctl", "is-enabled", "--quiet", unit)


def _runs(machine: Machine, unit: str, name: str) -> bool:
    """Whether a service is active and its libraries are those of a release."""
    if not machine.says("systemctl", "is-active", "--quiet", unit):
        return False
    pid = machine.ask("systemctl", "show", "--property=MainPID", "--value", unit)
    maps = machine.text(f"/proc/{pid}/maps") or ""
    return re.findall(rf" {RELEASES}/([^/\n]+)/", maps)[:1] == [name]


def _why_not(machine: Machine, services: Sequence[str]) -> str:
    """Why not all is ready; empty if it is."""
    down = [unit for unit in services if not machine.says("systemctl", "is-active", "--quiet", unit)]
    if down:
        return f"{', '.join(down)} not active"
    return why_not_ready(configuration.read(machine).bind) if SERVER in services else ""


def _log(machine: Machine, since: str) -> str:
    """What the services said last."""
    named = [word for unit in (SERVER, *BESIDE, *SPLIT) for word in ("-u", unit)]
    try:
        text = machine.ask("journalctl", "-q", "--no-pager", "-o", "cat", f"-n{_LOG_LINES}", f"--since={since}", *named)
    except CommandFailed:
        return ""
    return "\n".join(f"  {line[:_LINE_CHARACTERS]}" for line in text.splitlines())
