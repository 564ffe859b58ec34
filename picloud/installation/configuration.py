"""The operator's file, the key that secrets are sealed with, and the command.

Each is made once and then is the operator's, save the command: it is ours.
"""

import re
import stat

from picloud.errors import PlatformError
from picloud.installation import postgres
from picloud.installation.machine import Machine
from picloud.installation.places import (
    COMMAND,
    CONFIGURATION,
    CURRENT,
    HTTP_SOCKET,
    KEY,
    RUN,
    RUN_EXECUTOR,
    SETTINGS,
    STATE,
    USER,
)
from picloud.installation.steps import Change, News, Note, Order, replaced
from picloud.sealing import KeyFile
from picloud.settings import ServerSettings, load

_DRAIN_MS = 15_000  # a script has 10 s unless it says otherwise
_KEY_LINE = re.compile(r"^# (\w+) = .*$", re.MULTILINE)
_HEAD = "# Settings of this PiCloud: `picloud install` made this file, and never changes it.\n"

_WRAPPER = f"""#!/bin/sh
# PiCloud's command line, of the release in use
if [ -z "${{PICLOUD_CONFIG+is set}}" ] && [ -r {SETTINGS} ]; then
  export PICLOUD_CONFIG={SETTINGS}
fi
if [ -z "${{PICLOUD_SECRET_KEY_FILE+is set}}" ] && [ -r {KEY} ]; then
  export PICLOUD_SECRET_KEY_FILE={KEY}
fi
exec {CURRENT}/bin/picloud "$@"
"""


def settings_file(machine: Machine, order: Order) -> News:
    """What is there is read, and stays as it is; ConfigurationError if it is wrong."""
    example = order.text("config/picloud.toml")
    there = machine.text(SETTINGS)
    if there is None:
        made = _made(example, postgres.url(machine))
        yield Change(f"write {SETTINGS}", lambda: _write(machine, made))
        return
    read(machine)
    table = example.partition("\n# [[schedule]]")[0]
    new = [name for name in _KEY_LINE.findall(table) if not re.search(rf"\b{name}\b", there)]
    if new:
        yield Note(f"{SETTINGS} stays as it is; settings that it does not know yet: {', '.join(new)}")


def read(machine: Machine) -> ServerSettings:
    """The settings that the services have; ConfigurationError."""
    path = machine.path(SETTINGS)
    return load({"PICLOUD_CONFIG": str(path)} if path.exists() else {})


def secret_key(machine: Machine, _order: Order) -> News:
    """The key is made once. With secrets in the database that another one opens, a new one would open none of them."""
    if machine.has(KEY):
        found = machine.path(KEY).stat()
        if stat.S_IMODE(found.st_mode) & 0o077 or (machine.is_root and found.st_uid != 0):
            yield Change(f"make {KEY} root's alone", lambda: machine.make_private(KEY))
        return
    if machine.is_root and postgres.has_secrets(machine):
        raise PlatformError(
            f"{KEY} is missing, and the database has secrets that are sealed with what was in it: put it there again;"
            f" if it is lost, make another and set each secret anew: (umask 077;"
            f" head -c32 /dev/urandom | base64 | tr +/ -_ >{KEY})"
        )
    yield Change(f"make {KEY}: who has it and a backup can read all secrets", lambda: _make_key(machine))


def command(machine: Machine, _order: Order) -> News:
    """`picloud` for whoever logs in."""
    yield from replaced(machine, COMMAND, _WRAPPER, 0o755)


def _made(example: str, database_url: str) -> str:
    """The example, with what an installation has in place of the defaults."""
    given: dict[str, str | int] = {
        "data": str(STATE), "run": str(RUN), "executor_dir": str(RUN_EXECUTOR), "bind": f"unix:{HTTP_SOCKET}",
        "database_url": database_url, "drain_ms": _DRAIN_MS,
    }  # fmt: skip
    for name, value in given.items():
        line = f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}"
        example, count = re.subn(rf"^# {name} = .*$", line.replace("\\", r"\\"), example, flags=re.MULTILINE)
        assert count == 1, name
    return _HEAD + example.partition("\n")[2]


def _write(machine: Machine, text: str) -> None:
    machine.write(SETTINGS, text, 0o640, USER if machine.is_root else "root")


def _make_key(machine: Machine) -> None:
    path = machine.path(KEY)
    machine.make_folder(CONFIGURATION, 0o755, "root")
    KeyFile(path).create()
