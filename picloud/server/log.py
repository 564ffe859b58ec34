"""gunicorn's own log, where all our processes' records go.

Of a request it has the method and the path, and those only when it failed.
"""

from typing import Any

from gunicorn.glogging import Logger as GunicornLogger

from picloud.log import handler


class Logger(GunicornLogger):  # type: ignore[misc] # gunicorn has no types
    """Writes where the others do."""

    def _set_handler(self, log: Any, output: Any, fmt: Any, stream: Any = None) -> None:  # noqa: ARG002 - ours instead
        """gunicorn's handlers and their format are no setting."""
        if known := self._get_gunicorn_handler(log):
            log.handlers.remove(known)
        if output is not None:
            ours = handler()
            ours._gunicorn = True  # type: ignore[attr-defined] # by which it finds it again
            log.addHandler(ours)
