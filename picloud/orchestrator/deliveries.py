"""Webhooks in: a signed delivery becomes a job of the script that it is for, once, before its sender hears of it.

Owns: the way from the request to the commit, and what is answered. Whoever gets no 2xx delivers again, and a delivery
that is stored already is answered as the first time: so none is lost, and none runs twice.

The signature is the access: the setting `access` is about other callers, of whom this has none.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import falcon
import msgspec

from picloud.errors import ConfigurationError, Unauthorized
from picloud.messages.writing import send_json
from picloud.model import KEYS_OF_DELIVERIES, NewJob, Program, Request, Trigger, Webhook
from picloud.orchestrator.dispatch import RequestSource
from picloud.orchestrator.enqueue import JobStore
from picloud.orchestrator.webhooks import Known, Unusable, challenge_of, keys_of, read, verify
from picloud.sealing import CannotOpen

_log = logging.getLogger(__name__)


class Values(Protocol):
    """What knows secrets by name."""

    def get(self, name: str) -> str | None:
        """None if there is no such secret; DatabaseUnavailable, CannotOpen, ConfigurationError."""


class Deliveries:
    """What takes webhooks."""

    def __init__(self, values: Values, jobs: JobStore, clock: Callable[[], float] = time.time) -> None:
        self._values = values
        self._jobs = jobs
        self._clock = clock

    def take(
        self, program: Program, webhook: Webhook, source: RequestSource, req: falcon.Request, resp: falcon.Response
    ) -> None:
        """Check a delivery, store its job, and answer 202 with that.

        HTTPMethodNotAllowed; BodyTooLarge, InvalidRequest, Overloaded; Unauthorized: it is not signed as it should be;
        DatabaseUnavailable: it is to be delivered again.
        """
        if req.method != "POST":
            raise falcon.HTTPMethodNotAllowed(["POST"])
        request = source.read("", program.settings.limits.request_bytes)
        delivery = read(webhook, request.headers, request.body)  # first: without a signature it costs no look-up
        known_by = verify(webhook, self._keys(program.script, webhook), delivery, self._clock())
        challenge = challenge_of(webhook, request.body)
        if challenge is not None:
            _repeat(challenge, resp)
            return
        added = self._jobs.add(_job(program, webhook, request, known_by))
        send_json(resp, {"job": added.job.id}, 202)

    def _keys(self, script: str, webhook: Webhook) -> list[bytes]:
        try:
            value = self._values.get(webhook.secret)
            if value is not None:
                return keys_of(webhook, value)
        except (CannotOpen, ConfigurationError, Unusable) as error:  # its owner's to mend, and to see
            _log.error("webhooks of '%s' cannot be checked: secret '%s': %s", script, webhook.secret, error)
        raise Unauthorized(
            "no signature can be checked here: the secret that the script's setting `webhook` names is not set, or is "
            "none that webhooks are signed with"
        )


def _job(program: Program, webhook: Webhook, request: Request, known_by: Known) -> NewJob:
    event = msgspec.json.encode({"webhook": webhook.preset, "id": known_by.id})
    asked = replace(request, trigger=Trigger.JOB, idempotency_key=None, event=event)
    return NewJob(program.script, asked, key=KEYS_OF_DELIVERIES + known_by.key)


def _repeat(challenge: str, resp: falcon.Response) -> None:
    """Text, whatever it says: no browser is to take it for a page."""
    resp.status = 200
    resp.content_type = "text/plain; charset=utf-8"
    resp.set_header("x-content-type-options", "nosniff")
    resp.data = challenge.encode("utf-8", "replace")
