"""`picloud event …`: what was published, and which scripts hear of it."""

import base64
import json
from typing import Any
from urllib.parse import urlencode

import click

from picloud.cli.client import API, connect
from picloud.cli.completion import ScriptName
from picloud.cli.output import as_json, newest, show_fields, show_json, show_rows
from picloud.cli.request import read_data
from picloud.cli.terminal import harmless
from picloud.events import SPECVERSION, now
from picloud.model import new_id

_EVENTS, _SUBSCRIPTIONS = f"{API}/events", f"{API}/subscriptions"
_STRUCTURED = "application/cloudevents+json"
_COLUMNS = ("number", "published_at", "type", "source", "id", "subject")


@click.group()
def event() -> None:
    """Tell scripts what has happened, and choose what they hear of."""


@event.command("ls")
@click.option("--type", "kind", metavar="PATTERN", help="Of this type: order.created, or 'order.*'.")
@click.option("--source", metavar="PATTERN", help="From there: /shop, or '/shop/*'.")
@newest
@as_json
def ls(kind: str | None, source: str | None, lines: int, as_json: bool) -> None:
    """List what was published, newest first."""
    wanted = urlencode({name: value for name, value in (("type", kind), ("source", source)) if value})
    show_rows(connect().items(f"{_EVENTS}?{wanted}", lines), _COLUMNS, as_json)


@event.command("show")
@click.argument("number", type=click.IntRange(min=1))
@as_json
def show(number: int, as_json: bool) -> None:
    """Show an event with its data, by its number."""
    found = connect().call("GET", f"{_EVENTS}/{number}")
    if as_json:
        show_json(found)
    else:
        show_fields({name: value for name, value in found.items() if value not in (None, {})})


@event.command("publish")
@click.argument("kind", metavar="TYPE")
@click.option("--data", help="Its data: JSON, or else text; '@FILE' reads a file, '@-' standard input.")
@click.option("--subject", metavar="TEXT", help="Of what it tells.")
@click.option("--source", metavar="URI", default="/cli", show_default=True, help="Who says so.")
@click.option("--id", "identifier", metavar="ID", help="With the source it is there once. Without it, a new one.")
def publish(kind: str, data: str | None, subject: str | None, source: str, identifier: str | None) -> None:
    """Publish an event: each script that is subscribed to it gets a job."""
    event: dict[str, Any] = {
        "specversion": SPECVERSION, "id": identifier or new_id(), "source": source, "type": kind, "time": now(),
        **({"subject": subject} if subject else {}), **({} if data is None else _content(read_data(data))),
    }  # fmt: skip
    answer = connect().call("POST", _EVENTS, json.dumps(event).encode(), {"content-type": _STRUCTURED})
    (done,) = answer["items"]
    count = done["jobs"]
    said = "was there already" if done["duplicate"] else f"made {count} job{'' if count == 1 else 's'}"
    click.echo(harmless(f"event {done['id']} {said}"))


@event.command("subscriptions")
@as_json
def subscriptions(as_json: bool) -> None:
    """List which scripts hear of which events."""
    show_rows(connect().items(_SUBSCRIPTIONS), ("id", "type", "source", "subject", "script", "declared"), as_json)


@event.command("subscribe")
@click.argument("pattern", metavar="TYPE")
@click.argument("name", type=ScriptName())
@click.option("--source", metavar="PATTERN", help="Only from there: /shop, or '/shop/*'.")
@click.option("--subject", metavar="PATTERN", help="Only of this: 7, or 'user/*'.")
def subscribe(pattern: str, name: str, source: str | None, subject: str | None) -> None:
    """Have a script hear of events: order.created, 'order.*' for all that begin so, '*' for all."""
    wanted = {"type": pattern, "script": name, "source": source, "subject": subject}
    made = connect().call("POST", _SUBSCRIPTIONS, json.dumps(wanted).encode(), {"content-type": "application/json"})
    click.echo(harmless(f"subscription {made['id']}: {pattern} → {name}"))


@event.command("unsubscribe")
@click.argument("identifier", metavar="ID", type=click.IntRange(min=1))
def unsubscribe(identifier: int) -> None:
    """Remove a subscription; what it made a job of runs all the same."""
    connect().call("DELETE", f"{_SUBSCRIPTIONS}/{identifier}")
    click.echo(f"subscription {identifier} is removed")


def _content(data: bytes) -> dict[str, Any]:
    """Data as JSON if it is some, else as text, else as bytes."""
    try:
        return {"datacontenttype": "application/json", "data": json.loads(data)}
    except ValueError:
        pass
    try:
        return {"datacontenttype": "text/plain", "data": data.decode()}
    except UnicodeDecodeError:
        return {"datacontenttype": "application/octet-stream", "data_base64": base64.b64encode(data).decode()}
