"""What an event may be, and how it is written."""

import json
from dataclasses import replace
from typing import Any

import pytest

from picloud import events
from picloud.errors import InvalidRequest
from picloud.model import EVENT_BYTES_MAX, Event, Trigger

GOOD = Event("1", "/shop", "order.created")


@pytest.mark.parametrize(
    "more",
    [
        {"id": "ü" * 256},
        {"source": "https://example.org/a?b=%20#c"},
        {"source": "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66"},
        {"subject": "order 7 – \N{PILE OF POO}"},
        {"time": "2026-01-31T12:00:00Z"},
        {"time": "2016-12-31t23:59:60.123456789+01:00"},
        {"datacontenttype": "application/vnd.x+json; charset=utf-8"},
        {"dataschema": "https://example.org/schema"},
        {"extensions": {"traceparent": "00-a", "sampled": True, "count": -(2**31), "empty": ""}},
        {"data": "{}", "datacontenttype": "application/json"},
        {"data": b"\xff"},
    ],
)
def test_what_cloudevents_allows_is_taken(more: dict[str, Any]) -> None:
    events.check_foreign(replace(GOOD, **more))


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"id": ""}, "id"),
        ({"id": "x" * 513}, "id"),
        ({"id": "a\nb"}, "id"),
        ({"id": "\ud800"}, "id"),
        ({"id": "\ufffe"}, "id"),
        ({"id": "\U0010ffff"}, "id"),
        ({"source": ""}, "source"),
        ({"source": "/a b"}, "source"),
        ({"source": "/%zz"}, "source"),
        ({"source": "/ü"}, "source"),
        ({"type": ""}, "type"),
        ({"type": "x" * 256}, "type"),
        ({"subject": ""}, "subject"),
        ({"time": "2026-01-31"}, "time"),
        ({"time": "2026-01-31T12:00:00"}, "time"),
        ({"time": "2026-02-30T12:00:00Z"}, "time"),
        ({"time": "٢٠٢٦-01-31T12:00:00Z"}, "time"),
        ({"time": "tomorrow"}, "time"),
        ({"datacontenttype": "json"}, "datacontenttype"),
        ({"datacontenttype": "text/plain\r\nx: y"}, "datacontenttype"),
        ({"dataschema": "/no/scheme"}, "dataschema"),
        ({"extensions": {"my-extension": "x"}}, "my-extension"),
        ({"extensions": {"Upper": "x"}}, "Upper"),
        ({"extensions": {"n": 2**31}}, "n"),
        ({"extensions": {f"n{at}": "x" for at in range(51)}}, "extensions"),
        ({"data": "x" * (EVENT_BYTES_MAX + 1)}, "data"),
        ({"type": "picloud.job.dead"}, "type"),
        ({"source": "/picloud"}, "source"),
        ({"source": "/picloud/x"}, "source"),
    ],
)
def test_what_is_wrong_is_named(more: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        events.check_foreign(replace(GOOD, **more), of="[3].")
    assert [it["field"] for it in caught.value.errors] == [f"[3].{field}"]


def test_what_only_looks_like_the_platforms_own_is_taken() -> None:
    events.check_foreign(replace(GOOD, type="picloudy", source="/picloudy"))


def document(event: Event) -> Any:
    return json.loads(events.document(event))


def test_an_event_is_written_in_the_json_format() -> None:
    whole = Event(
        "1", "/shop", "order.created", "7", "2026-01-31T12:00:00Z", "application/json", "https://example.org/s",
        '{"total": 1.50}', {"sampled": True, "n": 1, "t": "x"},
    )  # fmt: skip
    assert document(whole) == {
        "specversion": "1.0", "id": "1", "source": "/shop", "type": "order.created", "subject": "7",
        "time": "2026-01-31T12:00:00Z", "datacontenttype": "application/json", "dataschema": "https://example.org/s",
        "data": {"total": 1.5}, "sampled": True, "n": 1, "t": "x",
    }  # fmt: skip
    assert b"1.50" in events.document(whole), "data is left as it was written"


def test_data_is_json_text_or_bytes() -> None:
    assert document(replace(GOOD, data="1", datacontenttype="text/plain"))["data"] == "1"
    assert document(replace(GOOD, data="1", datacontenttype="application/x+json"))["data"] == 1
    assert document(replace(GOOD, data=b"\xff"))["data_base64"] == "/w=="
    assert document(GOOD).keys() == {"specversion", "id", "source", "type"}


def test_who_hears_of_it_sees_its_data_as_the_body() -> None:
    request = events.request_of(replace(GOOD, data='{"a":1}', datacontenttype="application/json"), 3)
    assert (request.method, request.path, request.body, request.trigger) == ("POST", "/", b'{"a":1}', Trigger.EVENT)
    assert (request.headers, request.event_depth) == ((("content-type", "application/json"),), 3)
    assert json.loads(request.event)["data"] == {"a": 1}
    assert events.request_of(GOOD, 1).headers == ()
