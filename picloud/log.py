"""What our processes say of themselves on stderr, one line a record: `time=… level=info pid=7 message="…"`."""

import json
import logging
import time


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


def to_stderr() -> None:
    """Set this process's logging up; for entry points."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
