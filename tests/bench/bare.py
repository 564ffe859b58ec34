"""The contender without scripts: Falcon says hello on the server that PiCloud uses. `python -m tests.bench.bare`."""

from collections.abc import Mapping

import falcon

from picloud.api import problems
from picloud.server import run
from picloud.settings import load


class Hello:
    """What the Lua scripts of the other contenders do, in Python."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Add, and say hello."""
        total = 0
        for step in range(1, 101):
            total += step
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = f"hello {total}"


class Bare:
    """A service that holds nothing."""

    def __init__(self) -> None:
        app = falcon.App()
        app.add_route("/", Hello())
        self.wsgi = app

    def refuse(self, _asked: Mapping[str, str]) -> None:
        """Nobody."""

    def start(self) -> None:
        """Nothing to open."""

    def begin_stop(self) -> None:
        pass

    def stop(self) -> None:
        """Nothing to close."""


if __name__ == "__main__":
    run(lambda: (load(), Bare()), problems.of_server)
