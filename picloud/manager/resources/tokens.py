"""`/api/v1/tokens`: who may use the API."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import falcon
import msgspec

from picloud.auth import Scope, Token
from picloud.errors import InvalidRequest
from picloud.manager.tokens import NAME_CHARACTERS_MAX, Tokens
from picloud.messages.endpoint import Answer, endpoint
from picloud.messages.reading import BODY, CURSOR, Paging, ScriptName, path_number
from picloud.messages.writing import Page, send_json, send_page

_NUMBER_MAX = 2**63 - 1

_NAMED = {"minLength": 1, "maxLength": NAME_CHARACTERS_MAX, "format": "printable"}
_Name = Annotated[str, msgspec.Meta(description="printable characters", extra_json_schema=_NAMED)]
_Moment = Annotated[datetime, msgspec.Meta(tz=True, description="RFC 3339 with a zone, in the future; null: never")]


class TokensQuery(Paging):
    """Which page of the tokens, oldest first."""

    after: Annotated[int, msgspec.Meta(ge=0, le=_NUMBER_MAX, description=CURSOR)] = 0  # type: ignore[assignment]


class NewToken(msgspec.Struct, forbid_unknown_fields=True):
    """What a new token may do."""

    name: _Name
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1)]
    scripts: Annotated[list[ScriptName], msgspec.Meta(min_length=1, description="null: all")] | None = None
    expires_at: _Moment | None = None


_LESSER = [scope.value for scope in Scope if scope is not Scope.ADMIN]
_EITHER = [{"properties": {"scripts": {"type": "null"}}}, {"properties": {"scopes": {"items": {"enum": _LESSER}}}}]
Wanted = Annotated[NewToken, msgspec.Meta(extra_json_schema={"anyOf": _EITHER})]
"""`admin` is good for every script."""


class CreatedToken(msgspec.Struct):
    """A token with its secret, which is shown this once."""

    id: int
    name: str
    scopes: tuple[Scope, ...]
    scripts: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    token: str


_MADE = Answer(
    CreatedToken,
    headers={
        "Location": Annotated[str, msgspec.Meta(description="its path")],
        "Cache-Control": Annotated[str, msgspec.Meta(description="`no-store`")],
    },
)


class TokensResource:
    """`/api/v1/tokens`"""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    @endpoint(Scope.ADMIN, query=TokensQuery, answers={200: Page[Token]})
    def on_get(self, _req: falcon.Request, resp: falcon.Response, query: TokensQuery) -> None:
        """List tokens, oldest first, without their secrets.

        `last_used_at` is true to the minute.
        """
        found = self._tokens.page(query.limit, query.after)
        send_page(resp, found, query.limit, lambda it: it, lambda it: it.id)

    @endpoint(Scope.ADMIN, body=Wanted, answers={201: _MADE}, problems=("conflict",))
    def on_post(self, _req: falcon.Request, resp: falcon.Response, body: NewToken) -> None:
        """Make a token; its secret is in the answer as `token`, and nowhere ever after.

        `scripts`: those that it is good for, which need not exist yet; not with the scope `admin`.
        `expires_at`: RFC 3339 with a zone. 409: there is a token of this name.
        """
        made, secret = self._tokens.create(body.name, body.scopes, body.scripts, _utc(body.expires_at))
        resp.set_header("location", f"/api/v1/tokens/{made.id}")
        resp.set_header("cache-control", "no-store")
        send_json(resp, CreatedToken(**asdict(made), token=secret), 201)


class TokenResource:
    """`/api/v1/tokens/ID`"""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    @endpoint(Scope.ADMIN, answers={200: Token}, problems=("not-found",))
    def on_get(self, _req: falcon.Request, resp: falcon.Response, token: str) -> None:
        """One token."""
        send_json(resp, self._tokens.get(path_number(token, "token")))

    @endpoint(Scope.ADMIN, answers={204: None}, problems=("conflict", "not-found"))
    def on_delete(self, _req: falcon.Request, resp: falcon.Response, token: str) -> None:
        """Revoke a token, one's own too: it opens nothing any more, on any node.

        409: it is the last one with the scope `admin` that does not expire.
        """
        self._tokens.revoke(path_number(token, "token"))
        resp.status = 204


def _utc(moment: datetime | None) -> datetime | None:
    """In UTC; InvalidRequest at the calendar's ends, where there is none."""
    try:
        return moment and moment.astimezone(UTC)
    except OverflowError:
        raise InvalidRequest.of("expires_at", "is outside the calendar in UTC", BODY) from None
