"""Invocations that are asked for now and run later: `Prefer: respond-async` (RFC 7240).

Owns: who wants that, what of a request becomes the job's, and the 202. The job is stored before it is answered; who
runs it, and when, is no business of this.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import falcon

from picloud.errors import InvalidRequest
from picloud.messages.writing import send_json
from picloud.model import KEYS_OF_REQUESTS, AddedJob, NewJob, Program, Trigger
from picloud.orchestrator import idempotency
from picloud.orchestrator.dispatch import RequestSource

PREFERENCE = "respond-async"

_ELEMENT = r'(?:[^",]|"(?:[^"\\]|\\.)*")+'  # between commas that are not quoted
_EACH, _LIST = re.compile(_ELEMENT), re.compile(f"(?:{_ELEMENT})?(?:,(?:{_ELEMENT})?)*")
_ASYNC = re.compile(rf'[ \t]*{PREFERENCE}[ \t]*(?:=[ \t]*""[ \t]*)?(?:;.*)?', re.IGNORECASE | re.DOTALL)


class JobStore(Protocol):
    """Where jobs are kept."""

    def add(self, job: NewJob) -> AddedJob:
        """Store one for good, unless there is one of its script with its key; DatabaseUnavailable."""


class Enqueuing:
    """Makes jobs of requests."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs

    def enqueue(self, program: Program, source: RequestSource, key: str | None) -> AddedJob:
        """Store a job that will see this request; ``key``: its Idempotency-Key.

        BodyTooLarge, InvalidRequest, Overloaded, DatabaseUnavailable: there is none.
        """
        request = replace(source.read("", program.settings.limits.request_bytes), idempotency_key=key)
        claim = idempotency.claim_of(program, request)
        # the key is the job's: each of its runs is a request without one
        sent = replace(request, trigger=Trigger.JOB, idempotency_key=None)
        added = self._jobs.add(NewJob(program.script, sent, key=KEYS_OF_REQUESTS + claim.key if claim else None))
        if claim and added.twin and idempotency.fingerprint(added.twin) != claim.fingerprint:
            raise InvalidRequest.of(idempotency.HEADER, idempotency.ANOTHER)
        return added


def is_preferred(environ: Mapping[str, str]) -> bool:
    """Whether a request is not to be waited for; what cannot be read is no preference."""
    asked = environ.get("HTTP_PREFER")
    if asked is None or not _LIST.fullmatch(asked):
        return False
    return any(map(_ASYNC.fullmatch, _EACH.findall(asked)))


def job_url(identifier: str) -> str:
    """Where a job can be looked at."""
    return f"/api/v1/jobs/{identifier}"


def accept(added: AddedJob, shown: object, resp: falcon.Response) -> None:
    """Answer that it is stored."""
    send_json(resp, shown, 202)
    resp.set_headers({"location": job_url(added.job.id), "preference-applied": PREFERENCE})
    if added.twin:
        resp.set_header("idempotent-replayed", "true")
