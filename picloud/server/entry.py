"""How each service that speaks HTTP begins: settings, then what is served, then the server."""

import sys
from collections.abc import Callable

from picloud import log, settings
from picloud.api import problems
from picloud.errors import ConfigurationError
from picloud.server import Service, run
from picloud.settings import ServerSettings


def serve(build: Callable[[ServerSettings], Service]) -> int:
    """Serve what ``build`` makes of the settings: exit status 2 if they are not valid, 3 if a worker cannot start.

    1 if a folder or file of theirs cannot be used.
    """

    def make() -> tuple[ServerSettings, Service]:
        ours = settings.load()
        return ours, build(ours)

    log.set_up()
    try:
        run(make, problems.of_server)
    except ConfigurationError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
