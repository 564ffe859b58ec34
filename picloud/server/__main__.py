"""`python -m picloud.server`: HTTP alone, for `picloud up` and the systemd unit, which start what it needs."""

import sys

from picloud.server.entry import serve
from picloud.wiring.platform import build


def main() -> int:
    """All of PiCloud's HTTP in one server."""
    return serve(build)


if __name__ == "__main__":
    sys.exit(main())
