"""Answers as JSON."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import falcon
import msgspec

Item = TypeVar("Item")
Shape = TypeVar("Shape")


class Page(msgspec.Struct, Generic[Shape]):
    """One page of a list."""

    items: list[Shape]
    next: str | None  # the cursor of the page behind it: `?after=`; null: there is none


def send_json(resp: falcon.Response, value: object, status: int = 200) -> None:
    """Answer with JSON."""
    resp.status = status
    resp.content_type = "application/json"
    resp.data = msgspec.json.encode(value)


def send_page(
    resp: falcon.Response,
    items: Sequence[Item],
    limit: int,
    show: Callable[[Item], object],
    cursor: Callable[[Item], object],
) -> None:
    """Answer with a page; `next` is the cursor of its last item if there may be more."""
    following = str(cursor(items[-1])) if len(items) == limit else None
    send_json(resp, Page([show(item) for item in items], following))
