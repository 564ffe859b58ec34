"""Requests that are kept with their invocations, so that they can be looked at and run again.

Owns: of which invocations, how much of one, and what is masked in it: headers that carry credentials, the secrets that
the scripts got, and those that they are granted, had they got so far or not. The last are looked up where the record is
written, and not on the request's way.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from picloud.errors import ConfigurationError
from picloud.model import HeaderList, Invocation, KeptRequest, Outcome, Program, Record, Recording, Request, Run
from picloud.orchestrator.masking import MASK, Mask
from picloud.orchestrator.record import RecordTable
from picloud.sealing import CannotOpen

BODY_BYTES_MAX = 256 * 1024  # of a body that is kept
_HEADERS_BYTES_MAX = 64 * 1024  # of all else
_CREDENTIALS = frozenset(("authorization", "cookie", "proxy-authorization"))
_NEVER_RAN = frozenset((Outcome.OVERLOADED, Outcome.CONCURRENCY_LIMIT))  # and there may be any number of them
_FAULT = 500  # a status from which an answer is a failure, too

_log = logging.getLogger(__name__)


class Values(Protocol):
    """What knows secrets by name."""

    def get(self, name: str) -> str | None:
        """None if there is no such secret; DatabaseUnavailable, CannotOpen, ConfigurationError."""


class GrantsMasked:
    """Writes records to a table without the secrets that their scripts are granted."""

    def __init__(self, table: RecordTable, values: Values) -> None:
        self._table = table
        self._values = values

    def add(self, records: Sequence[Record]) -> None:
        """Write a batch; DatabaseUnavailable."""
        self._table.add([self._masked(it) if it.request and it.granted else it for it in records])

    def mark(self, invocation: Invocation) -> None:
        """Write that one is under way, by itself; DatabaseUnavailable."""
        self._table.mark(invocation)

    def _masked(self, record: Record) -> Record:
        assert record.request
        mask = _mask_of(record.granted, self._values, f"the request of {record.invocation.id} is not kept")
        return replace(record, request=None if mask is None else _without_secrets(record.request, mask))


def kept_request(program: Program, request: Request, run: Run, mask: Mask) -> KeptRequest | None:
    """What is kept of a request after its run; None: nothing."""
    wanted = program.settings.record
    if wanted is Recording.NONE or run.outcome in _NEVER_RAN or (wanted is Recording.FAILURES and not _failed(run)):
        return None
    return _presentable(request, mask)


def shown_request(request: Request, granted: Sequence[str], values: Values) -> KeptRequest | None:
    """The same of one that is stored as it came, to be shown; None: a secret that its script is granted cannot be read,
    so nobody knows what is to be masked. DatabaseUnavailable."""
    mask = _mask_of(granted, values, "the request of a job is not shown")
    return None if mask is None else _presentable(request, mask)


def _failed(run: Run) -> bool:
    return run.response is None or run.response.status >= _FAULT


def _mask_of(names: Sequence[str], values: Values, lost: str) -> Mask | None:
    """Over these secrets; None if one of them cannot be read, which the server's log says."""
    mask = Mask()
    for name in names:
        try:
            mask.add(values.get(name) or "")
        except (CannotOpen, ConfigurationError) as error:
            _log.error("%s: '%s': %s", lost, name, error)
            return None
    return mask


def _presentable(request: Request, mask: Mask) -> KeptRequest:
    plain = KeptRequest(request, len(request.body), cut=False, masked=False)
    return _without_secrets(_without_credentials(_short(plain)), mask)


def _short(it: KeptRequest) -> KeptRequest:
    """Without what is too large: part of a body is none, and a secret could be cut in two."""
    if len(it.request.body) > BODY_BYTES_MAX:
        it = replace(it, request=replace(it.request, body=b""), cut=True)
    if sum(len(name) + len(value) for name, value in it.request.headers) > _HEADERS_BYTES_MAX:
        it = replace(it, request=replace(it.request, headers=()), cut=True)
    return it


def _without_credentials(it: KeptRequest) -> KeptRequest:
    headers = tuple((name, MASK if name in _CREDENTIALS else value) for name, value in it.request.headers)
    return replace(it, request=replace(it.request, headers=headers), masked=headers != it.request.headers)


def _without_secrets(it: KeptRequest, mask: Mask) -> KeptRequest:
    if not mask:
        return it
    request = replace(
        it.request,
        path=_text(it.request.path, mask),
        query_string=_text(it.request.query_string, mask),
        headers=_pairs(it.request.headers, mask),
        params=_pairs(it.request.params, mask),
        body=mask.raw(it.request.body),
        event=mask.raw(it.request.event),
    )
    return replace(it, request=request, masked=it.masked or request != it.request)


def _pairs(fields: HeaderList, mask: Mask) -> HeaderList:
    return tuple((_text(name, mask), _text(value, mask)) for name, value in fields)


def _text(latin: str, mask: Mask) -> str:
    return mask.raw(latin.encode("latin-1")).decode("latin-1")
