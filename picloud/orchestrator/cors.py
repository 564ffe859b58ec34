"""CORS: which pages of other origins a script's settings let in (the CORS protocol of the Fetch standard).

Owns: the headers that say so. Pure: knows nothing of scripts or servers. A browser enforces it, and nobody else:
a request from a page that is not let in still runs the script, and the browser keeps the answer from the page.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from picloud.model import Cors

ALLOW = "access-control-allow-"  # begins the name of every header that only the settings may send
EXPOSED = "picloud-invocation, server-timing, idempotent-replayed"

_ALWAYS_ALLOWED = ("GET", "HEAD", "POST")  # browsers send these without asking
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARY = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


@dataclass(frozen=True, slots=True)
class Preflight:
    """What a browser asks before it sends a page's request."""

    origin: str
    method: str
    headers: tuple[str, ...]  # lower-case


def preflight_of(environ: Mapping[str, str]) -> Preflight | None:
    """The preflight that a request is, if it is one."""
    if environ["REQUEST_METHOD"] != "OPTIONS":
        return None
    origin, method = environ.get("HTTP_ORIGIN"), environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD")
    if not origin or not method:
        return None
    names = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "").lower().split(",")
    return Preflight(origin, method, tuple(filter(None, map(str.strip, names))))


def answer_preflight(cors: Cors, asked: Preflight) -> dict[str, str]:
    """The headers of its answer; without any that allows, if one thing asked for is not allowed."""
    allowed = allow_origin(cors, asked.origin)
    methods = _choices(cors.methods, (*_ALWAYS_ALLOWED, *cors.methods), (asked.method,))
    headers = _choices(cors.headers, cors.headers, asked.headers)
    if not allowed or asked.method not in methods or not set(asked.headers) <= set(headers):
        return {"vary": _VARY}
    allowed[ALLOW + "methods"] = ", ".join(methods)
    if headers:
        allowed[ALLOW + "headers"] = ", ".join(headers)
    return {**allowed, "access-control-max-age": str(cors.max_age), "vary": _VARY}


def allow_origin(cors: Cors, origin: str | None) -> dict[str, str]:
    """The headers that let a page of this origin see an answer; none if it may not."""
    if "*" in cors.origins:  # with it, browsers refuse credentials
        return {ALLOW + "origin": "*"}
    if origin is None or origin not in cors.origins:
        return {}
    credentials = {ALLOW + "credentials": "true"} if cors.credentials else {}
    return {ALLOW + "origin": origin, **credentials}


def share_headers(cors: Cors, origin: str | None) -> dict[str, str]:
    """The headers of an answer that has none of its own."""
    allowed = allow_origin(cors, origin)
    exposed = {"access-control-expose-headers": EXPOSED} if allowed else {}
    return {**allowed, **exposed, "vary": vary_by_origin(None)}


def vary_by_origin(vary: str | None) -> str:
    """A Vary that names Origin beside what it named."""
    named = [name.strip() for name in (vary or "").split(",") if name.strip()]
    if "*" in named or "origin" in (name.lower() for name in named):
        return ", ".join(named)
    return ", ".join([*named, "Origin"])


def _choices(setting: Iterable[str], allowed: Iterable[str], asked: Iterable[str]) -> tuple[str, ...]:
    """What is allowed; what was asked for, if everything is: `*` means a star to a request with credentials."""
    if "*" in setting:
        return tuple(name for name in asked if _TOKEN.fullmatch(name))
    return tuple(dict.fromkeys(allowed))
