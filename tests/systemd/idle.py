"""`make idle`: PiCloud is installed from this checkout on a machine of its own, used, left alone, and watched."""

import functools
import sys

from tests.running import eventually
from tests.systemd.guest import guest
from tests.systemd.installed import Installed

SECONDS = 60
_SETTLE_S = 2
_STATISTICS_S = 12  # within 10 s after its last statement, a backend of PostgreSQL wakes to write its statistics
_HELLO = 'return function() log.info("x") return "hello" end'


def doctor(seconds: int, *options: str) -> list[str]:
    """The command that measures."""
    return ["picloud", "doctor", "--idle", "--seconds", str(seconds), *options]


def use_and_settle(installed: Installed) -> None:
    """Have it work, and wait until that is written, its sandboxes are as many again, and PostgreSQL rests as well."""
    installed.deploy("hello", _HELLO)
    for _ in range(12):
        assert installed.call("GET", "/fn/hello").body == b"hello"
    for seconds in (_SETTLE_S, _STATISTICS_S):
        eventually(functools.partial(installed.machine.ended, *doctor(seconds)), lambda ended: ended.returncode == 0)


def main() -> int:
    """Print the table → 0 if the contract holds."""
    with guest() as machine:
        installed = Installed(machine)
        installed.prepare()
        installed.install()
        installed.await_ready()
        use_and_settle(installed)
        ended = machine.ended(*doctor(SECONDS))
    sys.stdout.write(ended.stdout.decode())
    sys.stderr.write(ended.stderr.decode())
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
