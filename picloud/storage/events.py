"""Events in PostgreSQL, and the jobs that they make: stored in the transaction of whatever publishes them.

Owns: that each (source, id) is there once, and that each script that is subscribed then gets one job for it. Who
commits an event that made jobs then rings for those who run them (see `jobs`).
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from picloud import events as rules
from picloud.errors import InvalidRequest
from picloud.model import EVENT_DEPTH_MAX, Event, EventFilter, NewJob, Published, StoredEvent, new_id
from picloud.storage import jobs
from picloud.storage.jobs import Run, through
from picloud.storage.pool import Pool
from picloud.storage.rows import found
from picloud.subscriptions import comes_from, type_patterns

# Whoever has stored one with this source and id and not committed yet is waited for.
_PUT = """INSERT INTO events
    (source, id, type, subject, time, datacontenttype, dataschema, data, is_text, extensions, depth)
  VALUES (%(source)s, %(id)s, %(type)s, %(subject)s, %(time)s, %(datacontenttype)s, %(dataschema)s, %(data)s,
    %(is_text)s, %(extensions)s, %(depth)s)
  ON CONFLICT (source, id) DO NOTHING RETURNING 1"""

_HEARING = """SELECT s.name, NULLIF(it.source, ''), NULLIF(it.subject, '')
  FROM subscriptions it JOIN scripts s ON s.id = it.script_id WHERE it.type = ANY(%(types)s) ORDER BY s.name"""

_COLUMNS = """number, id, source, type, subject, time, datacontenttype, dataschema, data, is_text, extensions, depth,
  published_at"""

# Values are literals by the time that PostgreSQL plans this: it leaves out what does not matter.
_PAGE = f"""SELECT {_COLUMNS} FROM events
 WHERE number < %(after)s
   AND (%(type)s::text IS NULL OR type = %(type)s) AND (%(types)s::text IS NULL OR starts_with(type, %(types)s))
   AND (%(source)s::text IS NULL OR source = %(source)s)
   AND (%(sources)s::text IS NULL OR starts_with(source, %(sources)s))
   AND (%(id)s::text IS NULL OR id = %(id)s)
 ORDER BY number DESC LIMIT %(limit)s"""

_TURN = "SELECT pg_try_advisory_xact_lock(%s)"
_EXPIRING = 0x5049_4556  # the advisory lock's number, "PIEV"

_EXPIRE = """DELETE FROM events WHERE number IN (SELECT number FROM events
  WHERE published_at < clock_timestamp() - %(keep_days)s * interval '1 day' OR number <= %(beyond)s
  ORDER BY number LIMIT 5000 FOR UPDATE SKIP LOCKED)"""

_BEYOND = "SELECT number FROM events ORDER BY number DESC OFFSET %(keep_rows)s LIMIT 1"

_NEWEST = 2**63 - 1

_log = logging.getLogger(__name__)


def publish(run: Run, event: Event, depth: int) -> Published:
    """Store an event, and one job for each script that is subscribed to it, in the transaction of ``run``.

    Nothing, if there is one with its source and id. ``depth``: how many events led to each other, this one included;
    InvalidRequest if they are too many.
    """
    return publish_all(run, [event], depth)[0]


def publish_all(run: Run, events: Sequence[Event], depth: int) -> list[Published]:
    """The same for several. They are stored in one order, whoever stores them: no two wait for each other."""
    if depth > EVENT_DEPTH_MAX:
        raise InvalidRequest(f"{EVENT_DEPTH_MAX} events led to each other up to this one: a loop, which ends here")
    in_order = sorted(range(len(events)), key=lambda at: (events[at].source, events[at].id))
    stored = {at for at in in_order if run(_PUT, _row(events[at], depth))}
    return [
        Published(duplicate=False, jobs=_send(run, event, depth)) if at in stored else Published(duplicate=True, jobs=0)
        for at, event in enumerate(events)
    ]


def publish_own(run: Run, event_type: str, subject: str, data: Mapping[str, Any], depth: int = 1) -> None:
    """An event of the platform's own. One that too many events led to is dropped."""
    if depth > EVENT_DEPTH_MAX:
        _log.warning("%s of '%s' is not published: %d events led to it", event_type, subject, depth - 1)
        return
    publish(
        run,
        Event(
            id=new_id(),
            source=rules.OWN_SOURCE,
            type=event_type,
            subject=subject,
            time=rules.now(),
            datacontenttype=rules.MEDIA_JSON,
            data=msgspec.json.encode(data).decode(),
        ),
        depth,
    )


class Events:
    """What one invocation's transaction does with events; every method may raise what `UnitOfWork.read` does."""

    def __init__(self, write: Run, will_ring: Callable[[], None]) -> None:
        self._write = write
        self._will_ring = will_ring

    def publish(self, event: Event, depth: int) -> Published:
        """Store one with all else that the invocation does; InvalidRequest."""
        done = publish(self._write, event, depth)
        if done.jobs:
            self._will_ring()
        return done


class EventTable:
    """All of them; every method is one transaction, and DatabaseUnavailable if there is none."""

    def __init__(self, pool: Pool, *, keep_days: int, keep_rows: int) -> None:
        self._pool = pool
        self._keep = {"keep_days": keep_days, "keep_rows": keep_rows}

    def publish(self, events: Sequence[Event], depth: int) -> list[Published]:
        """Publish all or none; TransactionConflict."""
        with self._pool.transaction() as cursor:
            return publish_all(through(cursor), events, depth)

    def page(self, wanted: EventFilter, limit: int, after: int | None) -> list[StoredEvent]:
        """At most limit events, newest first, those with a number below `after` (None: from the newest)."""
        with self._pool.transaction() as cursor:
            cursor.execute(_PAGE, {**_parameters(wanted), "after": after or _NEWEST, "limit": limit})
            return [_stored(row) for row in cursor.fetchall()]

    def get(self, number: int) -> StoredEvent:
        """One event; NotFound."""
        with self._pool.transaction() as cursor:
            cursor.execute(f"SELECT {_COLUMNS} FROM events WHERE number = %s", (number,))
            return _stored(found(cursor.fetchone(), f"there is no event {number}"))

    def expire(self) -> int:
        """Delete some of what is too old or too much → how many.

        A few thousand at a time, and by one process at a time: 0 also if another is at it.
        """
        with self._pool.transaction() as cursor:
            cursor.execute(_TURN, (_EXPIRING,))
            if cursor.fetchone() != (True,):
                return 0
            cursor.execute(_BEYOND, self._keep)
            beyond = cursor.fetchone()
            cursor.execute(_EXPIRE, {**self._keep, "beyond": beyond[0] if beyond else 0})
            return cursor.rowcount

    def vacuum(self) -> None:
        """Give the space of deleted rows back; autovacuum is set to wake rarely."""
        self._pool.vacuum("events")


def _send(run: Run, event: Event, depth: int) -> int:
    """One job for each script that hears of it → how many."""
    rows: Iterable[tuple[Any, ...]] = run(_HEARING, {"types": type_patterns(event.type)})
    hearing = dict.fromkeys(name for name, source, subject in rows if comes_from(source, subject, event))
    request = rules.request_of(event, depth)
    for script in hearing:
        jobs.send(run, NewJob(script, request))
    return len(hearing)


def _row(it: Event, depth: int) -> dict[str, Any]:
    return {
        "source": it.source, "id": it.id, "type": it.type, "subject": it.subject, "time": it.time,
        "datacontenttype": it.datacontenttype, "dataschema": it.dataschema,
        "data": None if it.data is None else rules.encoded(it.data), "is_text": isinstance(it.data, str),
        "extensions": msgspec.json.encode(it.extensions).decode(), "depth": depth,
    }  # fmt: skip


def _stored(row: tuple[Any, ...]) -> StoredEvent:
    number, identifier, source, event_type, subject, time, content_type, schema, data, is_text, extensions, *rest = row
    content = None if data is None else bytes(data)
    event = Event(
        identifier, source, event_type, subject, time, content_type, schema,
        content.decode() if content is not None and is_text else content,
        msgspec.json.decode(extensions, type=dict[str, bool | int | str]),
    )  # fmt: skip
    return StoredEvent(number, event, *rest)


def _parameters(wanted: EventFilter) -> dict[str, Any]:
    kind, kinds = _exact_or_prefix(wanted.type)
    source, sources = _exact_or_prefix(wanted.source)
    return {"type": kind, "types": kinds, "source": source, "sources": sources, "id": wanted.id}


def _exact_or_prefix(pattern: str | None) -> tuple[str | None, str | None]:
    if pattern is None or not pattern.endswith("*"):
        return pattern, None
    return None, pattern[:-1]
