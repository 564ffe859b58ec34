"""Answers that are kept for requests with an Idempotency-Key, in the transaction of the invocation that gave them.

Owns: their SQL, and who may run for a key. Knows nothing of HTTP.

Who is to run for a key *claims* it first: an advisory lock that its transaction holds to its end. So of all workers of
all nodes one at a time runs for a key, and whoever comes after it sees what it committed: the lock and the transaction
end together, also when the connection is lost. Two keys with the same hash wait for each other, and that is all.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from picloud.errors import StillRunning, TransactionConflict
from picloud.model import HeaderList, KeptAnswer, Response
from picloud.storage.connection import Cursor, LockTimeout
from picloud.storage.pool import Pool

_KEPT_HOURS = 24
_SCRIPT_BYTES_MAX = 256 * 1024 * 1024  # of one script's; beyond them the oldest go before their time
_OVERHEAD_BYTES = 256  # what each takes beside key, headers and body

# Each statement sees what was committed before it, so the last one sees what whoever had the lock has left.
_CLAIM = """SET LOCAL lock_timeout = %(wait_ms)s;
  SELECT pg_advisory_xact_lock(hashtextextended(%(key)s, %(script_id)s));
  SET LOCAL lock_timeout = DEFAULT;
  SELECT invocation::text, fingerprint, status, headers, body FROM kept_answers
   WHERE script_id = %(script_id)s AND key = %(key)s AND expires_at > clock_timestamp()"""

_PUT = f"""INSERT INTO kept_answers AS it
    (script_id, key, fingerprint, invocation, status, headers, body, bytes, expires_at)
  VALUES (%(script_id)s, %(key)s, %(fingerprint)s, %(invocation)s::uuid, %(status)s, %(headers)s, %(body)s, %(bytes)s,
    clock_timestamp() + interval '{_KEPT_HOURS} hours')
  ON CONFLICT (script_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, invocation = excluded.invocation,
    status = excluded.status, headers = excluded.headers, body = excluded.body, bytes = excluded.bytes,
    expires_at = excluded.expires_at
  WHERE it.expires_at <= clock_timestamp()
  RETURNING 1"""

_DROP = """DELETE FROM kept_answers WHERE (script_id, key) IN
  (SELECT script_id, key FROM kept_answers WHERE script_id = %s FOR UPDATE SKIP LOCKED)"""

_TURN = "SELECT pg_try_advisory_xact_lock(%s)"
_EXPIRING = 0x5049_4B41  # the advisory lock's number, "PIKA"

_EXPIRE = """DELETE FROM kept_answers WHERE (script_id, key) IN
  (SELECT script_id, key FROM kept_answers WHERE expires_at <= clock_timestamp() LIMIT 5000 FOR UPDATE SKIP LOCKED)"""

_BEYOND = """DELETE FROM kept_answers WHERE (script_id, key) IN (SELECT script_id, key FROM
    (SELECT script_id, key, sum(bytes) OVER (PARTITION BY script_id ORDER BY expires_at DESC, key) AS so_far
      FROM kept_answers) AS summed
  WHERE so_far > %s LIMIT 5000)"""


class Work(Protocol):
    """The transaction; see `UnitOfWork`."""

    def read(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run one statement → its rows."""

    def write(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The same for a statement whose effect is to last."""


class KeptAnswers:
    """What one transaction does with kept answers; every method may raise what `UnitOfWork.read` does."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def claim(self, script_id: int, key: str, wait_ms: int) -> KeptAnswer | None:
        """What is kept for a key; None: nothing, and nobody else runs for it until this transaction has ended.

        StillRunning: somebody else did for so long.
        """
        try:
            rows = self._work.read(_CLAIM, {"script_id": script_id, "key": key, "wait_ms": max(1, wait_ms)})
        except LockTimeout:
            raise StillRunning from None
        return _answer(rows[0]) if rows else None

    def put(self, script_id: int, key: str, answer: KeptAnswer) -> None:
        """Keep an answer for a day; TransactionConflict: there is one, although the key was claimed."""
        headers = msgspec.json.encode(answer.response.headers).decode()
        size = len(key) + len(headers) + len(answer.response.body) + _OVERHEAD_BYTES
        row = {
            "script_id": script_id, "key": key, "fingerprint": answer.fingerprint, "invocation": answer.invocation,
            "status": answer.response.status, "headers": headers, "body": answer.response.body, "bytes": size,
        }  # fmt: skip
        if not self._work.write(_PUT, row):
            raise TransactionConflict


class KeptAnswerTable:
    """All of them, as they go."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def expire(self) -> int:
        """Delete some of what has expired, and of what one script has too much of → how many.

        A few thousand at a time, and by one process at a time: 0 also if another is at it.
        """
        with self._pool.transaction() as cursor:
            cursor.execute(_TURN, (_EXPIRING,))
            if cursor.fetchone() != (True,):
                return 0
            cursor.execute(_EXPIRE)
            gone = cursor.rowcount
            cursor.execute(_BEYOND, (_SCRIPT_BYTES_MAX,))
            return gone + cursor.rowcount

    def vacuum(self) -> None:
        """Give the space of deleted rows back; autovacuum is set to wake rarely."""
        self._pool.vacuum("kept_answers")


def drop(cursor: Cursor, script_id: int) -> None:
    """Delete what is kept of a script, waiting for no invocation of it."""
    cursor.execute(_DROP, (script_id,))


def _answer(row: tuple[Any, ...]) -> KeptAnswer:
    invocation, fingerprint, status, headers, body = row
    pairs = msgspec.json.decode(headers, type=HeaderList)
    return KeptAnswer(invocation, bytes(fingerprint), Response(status, pairs, bytes(body)))
