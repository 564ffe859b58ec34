"""`/api/v1/subscriptions`: which scripts hear of which events."""

from typing import Annotated

import falcon
import msgspec
from msgspec import Meta

from picloud.auth import Scope
from picloud.manager.events import Subscriptions
from picloud.manager.resources.events import SOURCE_PATTERN, TYPE_PATTERN
from picloud.messages.endpoint import Answer, endpoint
from picloud.messages.forms import form
from picloud.messages.reading import CURSOR, Paging, ScriptName, path_number
from picloud.messages.writing import Page, send_json, send_page
from picloud.model import Subscription
from picloud.subscriptions import SubscriptionWanted

_ID_MAX = 2**63 - 1


class SubscriptionsQuery(Paging):
    """Which subscriptions."""

    script: ScriptName | None = None
    after: Annotated[int, Meta(ge=0, le=_ID_MAX, description=CURSOR)] = 0  # type: ignore[assignment]


class NewSubscription(msgspec.Struct, forbid_unknown_fields=True):
    """A subscription to be."""

    type: Annotated[str, TYPE_PATTERN]
    script: ScriptName
    source: Annotated[str, SOURCE_PATTERN] | None = None
    subject: Annotated[str, form("text-pattern", "a subject, or what it begins with and `*`")] | None = None


_PLACE = {"Location": Annotated[str, Meta(description="the subscription's own path")]}
_ADDED = {201: Answer(Subscription, headers=_PLACE)}


class SubscriptionsResource:
    """`/api/v1/subscriptions`"""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self._subscriptions = subscriptions

    @endpoint(Scope.READ, query=SubscriptionsQuery, answers={200: Page[Subscription]}, by_script=True)
    def on_get(self, req: falcon.Request, resp: falcon.Response, query: SubscriptionsQuery) -> None:
        """List subscriptions by id, of one script with `?script=`."""
        only = req.context.principal.scripts
        if query.script:
            req.context.principal.require(Scope.READ, query.script)
            only = {query.script}
        found = self._subscriptions.page(query.limit, query.after, only)
        send_page(resp, found, query.limit, lambda it: it, lambda it: it.id)

    @endpoint(Scope.DEPLOY, body=NewSubscription, answers=_ADDED, problems=("not-found", "conflict"), by_script=True)
    def on_post(self, req: falcon.Request, resp: falcon.Response, body: NewSubscription) -> None:
        """Have a script hear of events: each that is published from now on makes a job of it.

        `order.*` takes `order.created` and `order.item.added`, not `order`; `*` takes all. `source` and `subject` are
        texts, or end in `*`; what is left out takes any. `conflict`: the script has the very same.
        A token that is limited to scripts subscribes to what those publish: `source` is `/scripts/NAME` of one of them.
        """
        req.context.principal.require(Scope.DEPLOY, body.script)
        wanted = SubscriptionWanted(body.type, body.source, body.subject)
        added = self._subscriptions.add(body.script, wanted, req.context.principal.scripts)
        resp.location = f"/api/v1/subscriptions/{added.id}"
        send_json(resp, added, 201)


class SubscriptionResource:
    """`/api/v1/subscriptions/ID`"""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self._subscriptions = subscriptions

    @endpoint(Scope.READ, answers={200: Subscription}, problems=("not-found",), by_script=True)
    def on_get(self, req: falcon.Request, resp: falcon.Response, subscription: str) -> None:
        """One subscription."""
        send_json(resp, self._subscriptions.get(_number(subscription), req.context.principal.scripts))

    @endpoint(Scope.DEPLOY, answers={204: None}, problems=("not-found",), by_script=True)
    def on_delete(self, req: falcon.Request, resp: falcon.Response, subscription: str) -> None:
        """Drop a subscription: the jobs that it made are run all the same."""
        self._subscriptions.delete(_number(subscription), req.context.principal.scripts)
        resp.status = 204


def _number(text: str) -> int:
    return path_number(text, "subscription")
