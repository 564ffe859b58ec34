"""`/healthz`, `/readyz`, `/` and `/problems/NAME`: what anyone may ask."""

from collections.abc import Sequence
from html import escape
from typing import Protocol

import falcon

from picloud import __version__
from picloud.api import problems
from picloud.errors import NotFound, PicloudError
from picloud.messages.writing import send_json


class Check(Protocol):
    """One thing that must answer for the node to be ready."""

    def __call__(self) -> Sequence[str]:
        """Raise a PicloudError whose message is fit for anyone to read; else return what is weaker than it could be."""


class Healthz:
    """`/healthz`"""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Liveness: the process answers. No I/O. 200 `{"status": "ok"}`."""
        send_json(resp, {"status": "ok"})


class Readyz:
    """`/readyz`"""

    def __init__(self, checks: dict[str, Check]) -> None:
        self._checks = checks

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Whether the database and the executor answer, and which protections this machine lacks.

        200 or 503: `{"status": "ready" | "unavailable", "checks": {NAME: "ok" | REASON}, "warnings": [TEXT]}`.
        """
        results: dict[str, str] = {}
        warnings: list[str] = []
        for name, check in self._checks.items():
            try:
                warnings += check()
                results[name] = "ok"
            except PicloudError as error:
                results[name] = str(error)
        ready = all(result == "ok" for result in results.values())
        shape = {"status": "ready" if ready else "unavailable", "checks": results, "warnings": warnings}
        send_json(resp, shape, 200 if ready else 503)
        if not ready:
            resp.set_header("retry-after", "1")


class Front:
    """`/`"""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """What this is and where to go; JSON if asked for."""
        links = {"health": "/readyz", "scripts": "/api/v1/scripts", "functions": "/fn/NAME"}
        if req.accept != "*/*" and req.client_prefers(["text/html", "application/json"]) == "application/json":
            send_json(resp, {"name": "PiCloud", "version": __version__, "links": links})
            return
        rows = "".join(f"<li>{escape(name)}: <code>{escape(path)}</code></li>" for name, path in links.items())
        _send_html(
            resp, "PiCloud", f"<p>Version {__version__}. Upload a Lua script, get an HTTP endpoint.</p><ul>{rows}</ul>"
        )


class ProblemPage:
    """`/problems/NAME`"""

    def on_get(self, _req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """What a problem means and what to do about it. 200 HTML, 404."""
        row = problems.TABLE.get(name)
        if row is None:
            raise NotFound(f"there is no problem named '{name}'")
        _send_html(resp, f"{row.name} ({row.status})", f"<p>{escape(row.title)}.</p><p>{escape(row.advice)}</p>")


def _send_html(resp: falcon.Response, title: str, body: str) -> None:
    resp.content_type = "text/html; charset=utf-8"
    resp.text = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><h1>{title}</h1>{body}</html>"
