"""Coming and going at `/`: the form, the session's cookie, and whose page the form is on.

Owns: who is asking. Knows nothing of what there is to show.
"""

import time
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import falcon
import msgspec

from picloud.auth import SESSION_COOKIE, Credential, Principal, TokenFinder, authenticate, digest
from picloud.dashboard.session import SESSION_S, issue, principal_of
from picloud.dashboard.shapes import Form
from picloud.errors import InvalidRequest, UnsupportedMediaType
from picloud.messages.reading import read_body
from picloud.messages.wrong import invalid
from picloud.orchestrator.request import Proxies

FORM = "application/x-www-form-urlencoded"

_FORM_BYTES_MAX = 4 * 1024


class SessionTokens(TokenFinder, Protocol):
    """What knows tokens, and what their sessions are checked with."""

    def credential(self, identifier: int) -> Credential | None:
        """A token's; None if it is revoked, or its time is over; DatabaseUnavailable."""


class FrontDoor:
    """Lets people in by a token, and knows them again by a session."""

    def __init__(self, tokens: SessionTokens, proxies: Proxies) -> None:
        self._tokens = tokens
        self._proxies = proxies

    def principal(self, req: falcon.Request) -> Principal | None:
        """Who is asking, by token or by session; Unauthorized for a token that is none."""
        if (req.auth or "").lower().startswith("bearer "):  # a proxy's own Basic is none of ours
            return authenticate(req.auth, self._tokens.find)
        if req.get_header("sec-fetch-dest") not in (None, "document"):  # a script's page asks with `fetch` or a frame
            return None
        value = next(iter(req.get_cookie_values(SESSION_COOKIE) or ()), "")
        return principal_of(value, self._tokens.credential, time.time())

    def known(self, secret: str) -> Principal | None:
        """Whose token was shown; None if it is nobody's, or its time is over; DatabaseUnavailable."""
        return self._tokens.find(secret)

    def enter(self, req: falcon.Request, resp: falcon.Response, principal: Principal, secret: str) -> None:
        """Back to the page, with a session for who has just shown this token."""
        self._go(req, resp, issue(Credential(principal, digest(secret)), time.time()), SESSION_S)

    def leave(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Back to the page, without a session."""
        self._go(req, resp, "", 0)

    def read_form(self, req: falcon.Request) -> Form:
        """What the form sent; UnsupportedMediaType, BodyTooLarge, InvalidRequest, Overloaded."""
        media_type = (req.content_type or "").partition(";")[0].strip().lower()
        if media_type != FORM:
            raise UnsupportedMediaType(f"'{media_type}' is not taken; the form sends {FORM}")
        body = read_body(req.env, _FORM_BYTES_MAX)
        try:
            fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=8, errors="strict")
            return msgspec.convert({name: values[-1] for name, values in fields.items()}, Form)
        except msgspec.ValidationError as error:
            raise invalid(Form, error, "the form: ") from error
        except ValueError as error:
            raise InvalidRequest("the body is not the form of this page") from error

    def is_from_elsewhere(self, req: falcon.Request) -> bool:
        """Whether another site's page sent this form. A browser names the origin; who names none is no browser."""
        origin = req.get_header("origin")
        return origin is not None and urlsplit(origin).netloc.lower() != self._proxies.host(req.env).lower()

    def _go(self, req: falcon.Request, resp: falcon.Response, session: str, max_age_s: int) -> None:
        resp.status = 303
        resp.set_header("location", "/")
        resp.set_cookie(
            SESSION_COOKIE,
            session,
            max_age=max_age_s,
            expires=None if session else datetime.fromtimestamp(0, UTC),  # Falcon leaves out a Max-Age of 0
            path="/",
            http_only=True,
            same_site="Strict",
            secure=self._proxies.is_https(req.env) or (req.get_header("origin") or "").startswith("https://"),
        )
