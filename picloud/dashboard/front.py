"""`/`: what who is asking may see, and in which form.

Owns: the answers and the page's headers. Knows nothing of how a page looks; who is asking is for `sign_in` to say.

Scripts share this page's origin, so a page that a script serves is no stranger to a browser. What that costs:
the cookie opens this page and never the API, it is kept from scripts (`orchestrator.request`) and from JavaScript, and
content is given by a cookie only to a navigation: `fetch` in a script's page gets the page of who is not signed in, if
the browser says what is asking; over plain HTTP it does so on localhost only.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Protocol

import falcon
import msgspec

from picloud import __version__
from picloud.auth import Principal, Scope
from picloud.dashboard.page import Pages, Row
from picloud.dashboard.shapes import Form, FrontShape, listed
from picloud.dashboard.sign_in import FORM, FrontDoor, SessionTokens
from picloud.errors import DatabaseUnavailable
from picloud.messages.endpoint import Answer, endpoint
from picloud.messages.html import wants_json
from picloud.messages.writing import send_json
from picloud.model import Invocation, Script
from picloud.orchestrator.request import Proxies

_ROWS_MAX = 500
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")
_LINKS = {"health": "/readyz", "scripts": "/api/v1/scripts", "functions": "/fn/NAME", "api": "/openapi.json"}
_NO_READ = "This token does not have the scope 'read', which this page needs. Sign in with another one."
_HTML = "text/html; charset=utf-8"


class ScriptLister(Protocol):
    """What lists scripts."""

    def page(self, limit: int, after: str, only: Collection[str] | None = None) -> list[Script]:
        """By name, those behind `after`; of these alone, if any are given."""


class InvocationReader(Protocol):
    """What knows how scripts last ran."""

    def latest(self, scripts: Sequence[str]) -> Mapping[str, Invocation]:
        """Script → its newest invocation."""


_BACK = Answer(headers={"Location": str, "Set-Cookie": str})
_PAGE = Answer(media=("text/html",))
_AWAY = Answer(media=("text/html",), headers={"Retry-After": Annotated[int, msgspec.Meta(description="s to wait")]})
_STAY_OUT = Answer(media=("text/html",), headers={"WWW-Authenticate": str})


class Front:
    """`/`"""

    def __init__(
        self,
        tokens: SessionTokens,
        scripts: ScriptLister,
        invocations: InvocationReader,
        proxies: Proxies,
    ) -> None:
        self._door = FrontDoor(tokens, proxies)
        self._scripts = scripts
        self._invocations = invocations
        self._proxies = proxies
        self._pages = Pages()
        self._policy = (
            f"default-src 'none'; style-src '{self._pages.style_hash}'; form-action 'self'; frame-ancestors 'none';"
            " base-uri 'none'"
        )

    @endpoint(
        None,
        answers={200: Answer(FrontShape, media=("text/html",)), 403: _PAGE, 503: _AWAY},
        problems=("unauthorized", "forbidden", "database-unavailable"),
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Tell what this is, and what runs here to who may know it; JSON if asked for.

        That is who sends a token with the scope `read`, as for the API, or has signed in with one by the page's form.
        """
        self._protect(resp)
        if wants_json(req):
            self._send_json(req, resp)
            return
        try:
            self._send_page(req, resp)
        except DatabaseUnavailable:
            self._send_away(resp)

    @endpoint(
        None,
        media={FORM: Form},
        answers={303: _BACK, 401: _STAY_OUT, 403: _PAGE, 503: _AWAY},
        problems=("unsupported-media-type",),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Sign in with `token`, or out with `sign_out`: the page's form.

        401: the page again, with the reason.
        """
        self._protect(resp)
        if self._door.is_from_elsewhere(req):
            self._send_forbidden(resp, "This form was sent by a page of another site.")
            return
        form = self._door.read_form(req)
        if form.sign_out:
            self._door.leave(req, resp)
            return
        try:
            self._sign_in(req, resp, form.token.strip())
        except DatabaseUnavailable:
            self._send_away(resp)

    def _sign_in(self, req: falcon.Request, resp: falcon.Response, secret: str) -> None:
        principal = self._door.known(secret)
        if principal is None:
            resp.status = 401
            resp.set_header("www-authenticate", "Bearer")
            resp.text = self._pages.sign_in("This token is not known here: mistyped, revoked, or expired?")
        elif not principal.may(Scope.READ):
            self._send_forbidden(resp, _NO_READ)
        else:
            self._door.enter(req, resp, principal, secret)

    def _send_page(self, req: falcon.Request, resp: falcon.Response) -> None:
        principal = self._door.principal(req)
        if principal is None:
            resp.text = self._pages.sign_in()
        elif not principal.may(Scope.READ):
            self._send_forbidden(resp, _NO_READ, principal)
        else:
            rows = self._rows(principal, _ROWS_MAX + 1)
            more, now = len(rows) > _ROWS_MAX, datetime.now(UTC)
            resp.text = self._pages.overview(principal, rows[:_ROWS_MAX], more=more, origin=self._origin(req), now=now)

    def _send_json(self, req: falcon.Request, resp: falcon.Response) -> None:
        shape, principal = FrontShape("PiCloud", __version__, _LINKS), self._door.principal(req)
        if principal is not None:
            principal.require(Scope.READ)
            rows = self._rows(principal, _ROWS_MAX + 1)
            shape.scripts, shape.more = [listed(row) for row in rows[:_ROWS_MAX]], len(rows) > _ROWS_MAX
        send_json(resp, shape)

    def _send_forbidden(self, resp: falcon.Response, reason: str, principal: Principal | None = None) -> None:
        resp.status = 403
        resp.text = self._pages.notice("Nothing to see here", reason, principal)

    def _send_away(self, resp: falcon.Response) -> None:
        resp.status = 503
        resp.set_header("retry-after", "1")
        resp.text = self._pages.notice("The database is away", "Try again in a moment; /readyz says when it is back.")

    def _rows(self, principal: Principal, limit: int) -> list[Row]:
        scripts = self._scripts.page(limit, "", principal.scripts)
        latest = self._invocations.latest([it.name for it in scripts]) if scripts else {}
        return [Row(it, latest.get(it.name)) for it in scripts]

    def _origin(self, req: falcon.Request) -> str:
        """Where this page is reached, for people to copy."""
        host = self._proxies.host(req.env)
        scheme = "https" if self._proxies.is_https(req.env) else "http"
        return f"{scheme}://{host}" if _HOST.fullmatch(host) else "http://HOST"

    def _protect(self, resp: falcon.Response) -> None:
        resp.content_type = _HTML
        resp.set_headers(
            {
                "content-security-policy": self._policy,
                "cross-origin-opener-policy": "same-origin",
                "referrer-policy": "same-origin",  # with `no-referrer`, browsers send the form with `Origin: null`
                "x-content-type-options": "nosniff",
                "cache-control": "no-store",
                "vary": "Accept, Authorization, Cookie",
            }
        )
