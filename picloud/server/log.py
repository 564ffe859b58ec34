"""gunicorn's own log, in the lines of all our processes.

Of a request it has the method and the path, and those only when it failed.
"""

from typing import Any

from gunicorn.glogging import Logger as GunicornLogger

from picloud.log import OneLine


class Logger(GunicornLogger):  # type: ignore[misc] # gunicorn has no types
    """Writes to stderr."""

    def _set_handler(self, log: Any, output: Any, fmt: Any, stream: Any = None) -> None:  # noqa: ARG002 - ours instead
        """gunicorn's Formatter is not a setting."""
        super()._set_handler(log, output, OneLine(), stream)
