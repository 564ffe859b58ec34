"""`python -m picloud.server`: HTTP alone, for `picloud up` and the systemd unit, which start what it needs."""

import sys

from picloud import log, settings
from picloud.api import problems
from picloud.errors import ConfigurationError
from picloud.server import run
from picloud.settings import ServerSettings
from picloud.wiring.platform import Platform, build


def main() -> int:
    """Exit status 2 if the configuration is not valid, 3 if a worker cannot start."""
    log.to_stderr()
    try:
        run(_make, problems.of_server)
    except ConfigurationError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def _make() -> tuple[ServerSettings, Platform]:
    ours = settings.load()
    return ours, build(ours)


if __name__ == "__main__":
    sys.exit(main())
