"""gunicorn's own log, one line a record: `time=… level=info pid=7 message="…"`.

Of a request it has the method and the path, and those only when it failed.
"""

import json
import logging
import time
from typing import Any

from gunicorn.glogging import Logger as GunicornLogger


class OneLine(logging.Formatter):
    """A record as `key=value` words; text is quoted as in JSON, so that no line break survives."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        text = (
            f"time={at} level={record.levelname.lower()} pid={record.process} message={json.dumps(record.getMessage())}"
        )
        if record.exc_info:
            text += f" exception={json.dumps(self.formatException(record.exc_info))}"
        return text


class Logger(GunicornLogger):  # type: ignore[misc] # gunicorn has no types
    """Writes to stderr."""

    def _set_handler(self, log: Any, output: Any, fmt: Any, stream: Any = None) -> None:  # noqa: ARG002 - ours instead
        """gunicorn's Formatter is not a setting."""
        super()._set_handler(log, output, OneLine(), stream)
