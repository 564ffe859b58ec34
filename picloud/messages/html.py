"""Plain pages of HTML, for who asks with a browser."""

from typing import Any, Literal

import falcon

VARY: dict[str, Any] = {"Vary": Literal["Accept"]}  # of what is a page or JSON


def wants_json(req: falcon.Request) -> bool:
    """Whether the caller asked for JSON rather than a page."""
    return req.accept != "*/*" and req.client_prefers(["text/html", "application/json"]) == "application/json"


def send_html(resp: falcon.Response, title: str, body: str) -> None:
    """Answer with a page; `title` and `body` are HTML already."""
    resp.content_type = "text/html; charset=utf-8"
    resp.text = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><h1>{title}</h1>{body}</html>"
