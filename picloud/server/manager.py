"""`picloud-manager`: HTTP of the manager alone."""

import sys

from picloud.server.entry import serve
from picloud.wiring.manager import build


def main() -> int:
    """Serve the control plane."""
    return serve(build)


if __name__ == "__main__":
    sys.exit(main())
