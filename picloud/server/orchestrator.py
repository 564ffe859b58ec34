"""`picloud-orchestrator`: HTTP of the orchestrator alone."""

import sys

from picloud.server.entry import serve
from picloud.wiring.orchestrator import build


def main() -> int:
    """Serve the ingress, and the API of what ran, runs and is to run."""
    return serve(build)


if __name__ == "__main__":
    sys.exit(main())
