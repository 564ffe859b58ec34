"""`events`: what has happened, told to the scripts that are subscribed to it, as its host calls.

| call           | arguments                                          | values   |
|----------------|----------------------------------------------------|----------|
| events.publish | type, data as JSON, subject, id, source, time      | its id   |

What is left out is empty: of data, id, source and time. An event is published in the invocation's transaction, and so
are the jobs of those who hear of it. A script speaks for itself: no event of its says that it came from another script.
"""

from collections.abc import Mapping, Sequence

from picloud import events
from picloud.errors import Forbidden, InvalidRequest
from picloud.model import Event, new_id
from picloud.orchestrator.attempt import Attempt, Binding
from picloud.orchestrator.bindings.reading import fields, text

_SCRIPTS = "/scripts"


def publish(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """events.publish"""
    kind, data, subject, identifier, source, time = (text(it, "an event's attribute") for it in fields(arguments, 6))
    event = Event(
        id=identifier or new_id(),
        source=source or events.source_of(attempt.program.script),
        type=kind,
        subject=subject or None,
        time=time or events.now(),
        datacontenttype=events.MEDIA_JSON if data else None,
        data=data or None,
    )
    _check(event, attempt.program.script)
    attempt.work().events.publish(event, attempt.request.event_depth + 1)
    return [event.id.encode()]


TABLE: Mapping[str, Binding] = {"events.publish": publish}


def _check(event: Event, script: str) -> None:
    events.check_foreign(event)
    if event.data is not None and not events.is_json_data(event.data):
        raise InvalidRequest(f"an event's data {events.NOT_JSON_DATA}")  # a sandbox could say anything
    if events.is_at(event.source, _SCRIPTS) and not events.is_at(event.source, events.source_of(script)):
        raise Forbidden(
            f"'{event.source}' is another's to speak for: this script's own is '{events.source_of(script)}'"
        )
