"""Conditional requests (RFC 9110, 13): what `If-Match` and `If-None-Match` ask for.

Owns: how both are written. Knows nothing of what a tag stands for, but that a script's is its active version.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import falcon
from msgspec import Meta

from picloud.errors import PreconditionFailed
from picloud.model import ANYWAY, Condition

_TAG = r'(W/)?"([!#-~\x80-\xff]*)"'
_TAGS = re.compile(rf"[ \t]*{_TAG}[ \t]*(?:,[ \t]*{_TAG}[ \t]*)*")
_EACH = re.compile(_TAG)
_VERSION = re.compile("[0-9]{1,9}")

ETAG: dict[str, Any] = {"ETag": Annotated[str, Meta(pattern='^"[0-9]{1,9}"$', description="the active version")]}
"""What an answer about a script carries."""

_VERSIONS = r'^("[0-9]{1,9}"(, ?"[0-9]{1,9}")*|\*)$'
_ONLY_IF = 'only while one of these versions is active (`"N"`, or a list), or only if there is such a script (`*`)'

IF_MATCH: Mapping[str, Any] = {"If-Match": Annotated[str, Meta(pattern=_VERSIONS, description=_ONLY_IF)]}
"""Of a change of a script; heeded by `only_if`."""

IF_NEW: Mapping[str, Any] = {
    "If-None-Match": Annotated[Literal["*"], Meta(description="only if there is no such script yet")]
}
"""Beside it, of an upload; heeded by `only_if_or_new`."""

VALUE_VERSION = re.compile("[0-9]{1,18}")
"""How the version of a script's value looks."""

VALUE_ETAG: dict[str, Any] = {
    "ETag": Annotated[str, Meta(pattern='^"[0-9]{1,18}"$', description="the value's version")]
}
"""What an answer about a value carries."""

IF_VALUE_MATCH: Mapping[str, Any] = {
    "If-Match": Annotated[
        str,
        Meta(
            pattern=r'^("[0-9]{1,18}"(, ?"[0-9]{1,18}")*|\*)$',
            description='only over one of these versions (`"N"`, or a list), or only if there is one (`*`)',
        ),
    ]
}
"""Of a change of a value; heeded by `only_if`."""

IF_NEW_VALUE: Mapping[str, Any] = {
    "If-None-Match": Annotated[Literal["*"], Meta(description="only if there is none yet")]
}
"""Beside it, of one that is stored; heeded by `only_if_or_new`."""

CONFIG_ETAG: dict[str, Any] = {
    "ETag": Annotated[str, Meta(pattern='^"[0-9a-f]{32}"$', description="the configuration's")]
}
"""What an answer about the whole configuration carries."""

IF_CONFIG: Mapping[str, Any] = {
    "If-Match": Annotated[str, Meta(description="only while the configuration has this ETag")]
}
"""Of a change of the whole configuration; heeded by `only_if_tag`."""

IF_CHANGED: Mapping[str, Any] = {
    "If-None-Match": Annotated[str, Meta(description="the ETag of a copy: 304 if it is still good")]
}
"""Of what is read; heeded by `is_known`."""


def version_tag(active_version: int) -> str:
    """A script's ETag."""
    return f'"{active_version}"'


def is_known(req: falcon.Request, tag: str) -> bool:
    """Whether 304 will do, since the caller has what it asks for: `If-None-Match` has its tag, weak or not, or `*`."""
    given = req.get_header("if-none-match")
    return given is not None and (given.strip() == "*" or any(f'"{text}"' == tag for _, text in _tags(given)))


def only_if(req: falcon.Request, version: re.Pattern[str] = _VERSION) -> Condition:
    """What `If-Match` asks for; PreconditionFailed for what cannot hold. ``version``: how one looks."""
    given = req.get_header("if-match")
    if given is None:
        return ANYWAY
    if given.strip() == "*":
        return Condition(update_only=True)
    versions = [int(text) for weak, text in _tags(given) if not weak and version.fullmatch(text)]
    if not versions:
        raise PreconditionFailed(f"no version has the ETag {given[:100]!r}; an ETag is a version's number in quotes")
    return Condition(frozenset(versions))


def only_if_or_new(req: falcon.Request, version: re.Pattern[str] = _VERSION) -> Condition:
    """The same, and what `If-None-Match: *` asks for."""
    none_match = req.get_header("if-none-match")
    if none_match is None:
        return only_if(req, version)
    if none_match.strip() != "*":
        raise PreconditionFailed("If-None-Match takes '*' only: if there is none yet")
    if req.get_header("if-match") is not None:
        raise PreconditionFailed("If-Match wants what is there, and If-None-Match one that is not")
    return Condition(create_only=True)


def only_if_tag(req: falcon.Request) -> frozenset[str] | None:
    """The tags that `If-Match` names; None: any will do."""
    given = req.get_header("if-match")
    if given is None or given.strip() == "*":
        return None
    return frozenset(text for weak, text in _tags(given) if not weak)


def _tags(given: str) -> list[tuple[str, str]]:
    """Each tag of a list: `W/` or nothing, and its text; none if it is no such list."""
    return _EACH.findall(given) if _TAGS.fullmatch(given) else []
