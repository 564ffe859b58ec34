"""Requests with an Idempotency-Key: the script runs for a key once, and whoever asks again gets the same answer.

Owns: which requests have a key, what makes two of them the same, and how those with the same key wait. Knows nothing
of how answers are kept: that is the attempt's transaction's, so an answer is kept exactly if its effects are.

Of requests with the same key one runs at a time. Those in this process wait here, in memory (`Twins`), parked: they
take no place from others, and do not count against their script's limit. Those of other processes and nodes wait for
its transaction. Whoever's turn comes looks first whether there is an answer: with `find`, in the transaction that would
be its own. That is all that a replay costs.
"""

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from picloud.errors import AnswerNotKept, InvalidRequest, StillRunning
from picloud.model import KeptAnswer, Outcome, Program, Request, Run
from picloud.orchestrator.attempt import Attempt

HEADER = "Idempotency-Key"
ANOTHER = "was used for another request: its method, path, query, type or body differs"
ANSWER_BYTES_MAX = 1024 * 1024  # of a body that is kept

_WAIT_S = 5.0  # for those with the same key, in all
_STATEMENT_S = 2.0  # for a statement that waits for nobody
_KEY = re.compile(r"[\x20-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Claim:
    """A request that is to run once."""

    script_id: int
    key: str
    fingerprint: bytes
    until: float  # monotonic, s: as long as it waits for others with its key


def claim_of(program: Program, request: Request) -> Claim | None:
    """What a request claims; None: it runs as often as it is sent. InvalidRequest: its key is none."""
    key = request.idempotency_key
    if key is None or not program.settings.idempotency:
        return None
    if not _KEY.fullmatch(key):
        raise InvalidRequest.of(HEADER, "must be 1 to 255 printable ASCII characters")
    return Claim(program.script_id, key, fingerprint(request), time.monotonic() + _WAIT_S)


class Twins:
    """Who runs in this process, by key."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # of what follows
        self._running: set[tuple[int, str]] = set()

    @contextmanager
    def turn(self, claim: Claim | None, waiting: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
        """Be the only one here with a key for the length of the block, once it is free; StillRunning.

        ``waiting``: who waits does so within it.
        """
        if claim is None:
            yield
            return
        name = (claim.script_id, claim.key)
        if not self._took(name, 0):
            with waiting():
                if not self._took(name, claim.until - time.monotonic()):
                    raise StillRunning
        try:
            yield
        finally:
            with self._changed:
                self._running.remove(name)
                self._changed.notify_all()

    def _took(self, name: tuple[int, str], within_s: float) -> bool:
        with self._changed:
            if not self._changed.wait_for(lambda: name not in self._running, within_s):
                return False
            self._running.add(name)
            return True


def find(attempt: Attempt, claim: Claim | None) -> Run | None:
    """What was answered before; None: nothing, and nobody else runs for it until the attempt has ended.

    StillRunning; InvalidRequest: the key was another request's.
    """
    if claim is None:
        return None
    left_s = max(0.0, claim.until - time.monotonic())
    answers = attempt.work(time.monotonic() + left_s + _STATEMENT_S).answers
    kept = answers.claim(claim.script_id, claim.key, int(left_s * 1000))
    if kept is None:
        return None
    if kept.fingerprint != claim.fingerprint:
        raise InvalidRequest.of(HEADER, ANOTHER)
    return Run(Outcome.OK, kept.response, replays=kept.invocation)


def keep(attempt: Attempt, claim: Claim | None, run: Run) -> None:
    """Keep an answer, if the attempt's effects are; AnswerNotKept, TransactionConflict."""
    if claim is None or run.response is None:
        return
    if run.stream:
        raise AnswerNotKept(f"with an {HEADER} an answer is kept, to be given again: a stream cannot be")
    if len(run.response.body) > ANSWER_BYTES_MAX:
        size = len(run.response.body)
        raise AnswerNotKept(f"the body has {size} bytes; with an {HEADER} it has at most {ANSWER_BYTES_MAX}")
    answers = attempt.work(time.monotonic() + _STATEMENT_S).answers
    answers.put(claim.script_id, claim.key, KeptAnswer(attempt.request.id, claim.fingerprint, run.response))


def fingerprint(request: Request) -> bytes:
    """What makes two requests the same. The host does not: who tries again may do so at another node."""
    content_type = dict(request.headers).get("content-type", "")
    texts = (request.method, request.path, request.query_string, content_type)
    digest = hashlib.sha256()
    for part in (*(text.encode("latin-1") for text in texts), request.body):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()
