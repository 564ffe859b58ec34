"""One row of an answer, where there is one."""

from typing import Any

from picloud.errors import NotFound


def found(row: Any, otherwise: str) -> Any:
    """The row; NotFound if there is none, in these words."""
    if row is None:
        raise NotFound(otherwise)
    return row
