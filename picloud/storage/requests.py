"""Requests that are kept with their invocations: a row each, as long as the invocation's at most.

They are the largest of what is kept of a run, so all of them together have a limit in bytes, too: the newest stay.
"""

from collections.abc import Sequence

import msgspec
from psycopg2.extras import execute_values

from picloud.model import KeptRequest, Record
from picloud.storage.connection import Cursor

BYTES_MAX = 256 * 1024 * 1024  # of all of them, before PostgreSQL packs them

_INSERT = "INSERT INTO requests (invocation, request) VALUES %s ON CONFLICT (invocation) DO NOTHING"

_GET = "SELECT request FROM requests WHERE invocation = %s::uuid"

_DELETE_OF = """DELETE FROM requests WHERE invocation IN
  (SELECT invocation FROM requests WHERE invocation <= %s::uuid ORDER BY invocation LIMIT 5000)"""

_DELETE_BEYOND = """DELETE FROM requests WHERE invocation <=
  (SELECT invocation FROM (SELECT invocation, sum(octet_length(request)) OVER (ORDER BY invocation DESC) AS so_far
    FROM requests) AS summed WHERE so_far > %s ORDER BY invocation DESC LIMIT 1)"""


def write(cursor: Cursor, records: Sequence[Record]) -> None:
    """Write those that records have, in the caller's transaction; one that is there already is left as it is."""
    rows = [(it.invocation.id, msgspec.msgpack.encode(it.request)) for it in records if it.request]
    if rows:
        execute_values(cursor, _INSERT, rows, page_size=50)


def get(cursor: Cursor, invocation: str) -> KeptRequest | None:
    """That of one invocation; None: it was not kept."""
    cursor.execute(_GET, (invocation,))
    row = cursor.fetchone()
    return msgspec.msgpack.decode(row[0], type=KeptRequest) if row else None


def expire(cursor: Cursor, invocation: str, bytes_max: int = BYTES_MAX) -> int:
    """Delete some of that invocation and older ones, and what is beyond the newest `bytes_max` → how many."""
    cursor.execute(_DELETE_OF, (invocation,))
    gone = cursor.rowcount
    cursor.execute(_DELETE_BEYOND, (bytes_max,))
    return gone + cursor.rowcount
