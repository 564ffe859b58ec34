"""How HTTP carries events: the `cloudevents` package writes them, and what is wrong is named."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from picloud.errors import InvalidRequest, UnsupportedMediaType
from picloud.messages.cloud_events import BATCH, STRUCTURED, Mode, mode_of, read
from picloud.model import Event

ATTRIBUTES: dict[str, Any] = {
    "id": 'A 1% "ü"', "source": "/shop", "type": "order.created", "specversion": "1.0", "subject": "Zoë 100%",
    "time": datetime(2026, 1, 31, 12, tzinfo=UTC), "datacontenttype": "application/json",
    "dataschema": "https://example.org/s", "traceid": "\N{GRINNING FACE}",
}  # fmt: skip
LEAST = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "x"}


def one(content_type: str, headers: dict[str, str], body: bytes) -> Event:
    (found,) = read(content_type, {name.lower(): value for name, value in headers.items()}, body)
    return found


def structured(**members: Any) -> Event:
    return one(STRUCTURED, {}, json.dumps(LEAST | members).encode())


def binary(body: bytes = b"", content_type: str = "", **headers: str) -> Event:
    named = {f"ce-{name}": value for name, value in (LEAST | headers).items()}
    return one(content_type, named, body)


def wrong(content_type: str, headers: dict[str, str], body: bytes) -> list[object]:
    with pytest.raises(InvalidRequest) as caught:
        read(content_type, headers, body)
    return [it["field"] for it in caught.value.errors]


@pytest.mark.parametrize("write", [to_structured, to_binary])
def test_what_the_cloudevents_package_writes_is_read(write: Any) -> None:
    message = write(CloudEvent(attributes=ATTRIBUTES, data={"total": 5}), JSONFormat())
    headers = {name.lower(): value for name, value in message.headers.items()}
    found = one(headers["content-type"], headers, message.body)
    assert json.loads(str(found.data)) == {"total": 5}
    assert (found.id, found.source, found.type) == ('A 1% "ü"', "/shop", "order.created")
    assert (found.subject, found.time, found.dataschema) == (
        "Zoë 100%",
        "2026-01-31T12:00:00Z",
        "https://example.org/s",
    )
    assert (found.datacontenttype, found.extensions) == ("application/json", {"traceid": "\N{GRINNING FACE}"})


def test_bytes_stay_bytes_whichever_way_they_come() -> None:
    event = CloudEvent(attributes=ATTRIBUTES | {"datacontenttype": "image/png"}, data=b"\x89PNG\xff")
    for write in (to_structured, to_binary):
        message = write(event, JSONFormat())
        headers = {name.lower(): value for name, value in message.headers.items()}
        found = one(headers["content-type"], headers, message.body)
        assert (found.data, found.datacontenttype) == (b"\x89PNG\xff", "image/png")


@pytest.mark.parametrize(
    ("content_type", "headers", "mode"),
    [
        (STRUCTURED, {}, Mode.STRUCTURED),
        ("Application/CloudEvents+JSON; Charset=UTF-8", {}, Mode.STRUCTURED),
        (STRUCTURED, {"ce-id": "1"}, Mode.STRUCTURED),
        (BATCH, {}, Mode.BATCH),
        ("", {"ce-id": "1"}, Mode.BINARY),
        ("text/plain", {"ce-anything": "1"}, Mode.BINARY),
    ],
)
def test_the_content_type_says_how_events_are_carried(content_type: str, headers: dict[str, str], mode: Mode) -> None:
    assert mode_of(content_type, headers) is mode


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        ("", {}),
        ("application/json", {}),
        ("application/cloudevents", {"ce-id": "1"}),
        ("application/cloudevents+avro", {"ce-id": "1"}),
        ("application/cloudevents-batch+avro", {}),
        (f"{STRUCTURED}; charset=latin-1", {}),
    ],
)
def test_what_carries_none_is_refused(content_type: str, headers: dict[str, str]) -> None:
    with pytest.raises(UnsupportedMediaType):
        read(content_type, headers, b"{}")


@pytest.mark.parametrize(
    ("members", "data", "content_type"),
    [
        ({"data": {"a": 1}}, '{"a": 1}', "application/json"),
        ({"data": "text"}, '"text"', "application/json"),
        ({"data": [1], "datacontenttype": "application/vnd.x+json"}, "[1]", "application/vnd.x+json"),
        ({"data": "<a/>", "datacontenttype": "text/xml"}, "<a/>", "text/xml"),
        ({"data_base64": "/w=="}, b"\xff", None),
        ({"data_base64": "", "datacontenttype": "image/png"}, b"", "image/png"),
        ({"data": None}, None, None),
        ({"data": None, "data_base64": None, "subject": None}, None, None),
        ({}, None, None),
    ],
)
def test_data_is_json_text_or_base64(members: dict[str, Any], data: object, content_type: str | None) -> None:
    found = structured(**members)
    assert (found.data, found.datacontenttype) == (data, content_type)


def test_extensions_keep_their_types() -> None:
    found = structured(a="x", b=True, c=-5, d=None, e=5.0).extensions
    assert found == {"a": "x", "b": True, "c": -5, "e": 5}
    assert not isinstance(found["e"], float)


@pytest.mark.parametrize(
    ("members", "fields"),
    [
        ({"specversion": "0.3"}, ["specversion"]),
        ({"specversion": None, "id": None, "source": None, "type": None}, ["specversion", "id", "source", "type"]),
        ({"id": 7, "type": {"a": 1}}, ["id", "type"]),
        ({"id": "", "source": "a b"}, ["id", "source"]),
        ({"time": "noon"}, ["time"]),
        ({"time": 5}, ["time"]),
        ({"extension": {"a": 1}}, ["extension"]),
        ({"number": 1.5}, ["number"]),
        ({"number": 2**40}, ["number"]),
        ({"with_line": "x"}, ["with_line"]),
        ({"data": 1, "data_base64": "AA=="}, ["data_base64"]),
        ({"data_base64": "?"}, ["data_base64"]),
        ({"data_base64": 5}, ["data_base64"]),
        ({"data": {"a": 1}, "datacontenttype": "text/plain"}, ["data"]),
        ({"type": "picloud.job.dead"}, ["type"]),
    ],
)
def test_what_is_wrong_with_an_event_is_named(members: dict[str, Any], fields: list[str]) -> None:
    body = json.dumps(LEAST | members).encode()
    assert wrong(STRUCTURED, {}, body) == fields
    if None not in members.values():
        assert wrong(BATCH, {}, json.dumps([LEAST, LEAST | members]).encode()) == [f"[1].{name}" for name in fields]


@pytest.mark.parametrize(
    "body", [b"", b"x", b"[]", b"1", b'{"a":}', b'{"id":"\xff"}', b"[" * 100_000, b'{"data":' + b"[" * 100_000]
)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="the body"):
        read(STRUCTURED, {}, body)


def test_a_number_beyond_all_is_named() -> None:
    assert wrong(STRUCTURED, {}, b'{"specversion":"1.0","id":"1","source":"/s","type":"x","n":1e999}') == ["n"]


def with_member(text: str) -> bytes:
    return json.dumps(LEAST).encode()[:-1] + f", {text}}}".encode()


@pytest.mark.parametrize(
    ("member", "field"),
    [
        ('"id": "2"', "id"),
        ('"data": 1, "data": 2', "data"),
        ('"i\\u0064": "2"', "id"),
        ('"data": 1e999', "data"),
        ('"data": [-' + "9" * 400 + "]", "data"),
        ('"data": ' + "9" * 5000, "data"),
        ('"data": ' + "[" * 128 + "]" * 128, "data"),
        ('"data": ' + '{"a":' * 128 + "1" + "}" * 128, "data"),
        ('"n": ' + "9" * 5000, "n"),
        ('"n": 18446744073709551616', "n"),
        ('"subject": "a\\u0000"', "subject"),
        ('"subject": "\\uffff"', "subject"),
        ('"n": "\\u0000"', "n"),
        ('"data_base64": "AA\\n=="', "data_base64"),
        ('"data_base64": "é"', "data_base64"),
    ],
)
def test_what_an_enemy_sends_is_named(member: str, field: str) -> None:
    assert wrong(STRUCTURED, {}, with_member(member)) == [field]
    assert wrong(BATCH, {}, b"[" + with_member('"a": 1') + b"," + with_member(member) + b"]") == [f"[1].{field}"]


@pytest.mark.parametrize("data", ["[" * 127 + "]" * 127, "1e308", "9" * 300, '{"a": 1, "a": 2}', '"\\u0000"'])
def test_data_is_whatever_a_script_can_read(data: str) -> None:
    assert one(STRUCTURED, {}, with_member(f'"data": {data}')).data == data
    assert binary(data.encode(), "application/json").data == data


@pytest.mark.parametrize("data", [b"[" * 128 + b"]" * 128, b"1e999", b"[" * 100_000, b'"\\ud800"'])
def test_a_body_that_no_script_can_read_is_bytes(data: bytes) -> None:
    assert binary(data, "application/json").data == data


@pytest.mark.parametrize("member", ['"data": "\\ud800"', '"id": "\\udfff"', '"\\ud800": 1', '"n": NaN'])
def test_what_is_no_text_is_no_json(member: str) -> None:
    with pytest.raises(InvalidRequest):
        read(STRUCTURED, {}, with_member(member))


@pytest.mark.parametrize("written", ["%00", "%0A", "%ff", "%ed%a0%80", "%C0%80", "%F4%90%80%80", "%ef%bf%bf", "\x80"])
def test_a_header_that_is_no_text_is_refused(written: str) -> None:
    for name in ("id", "subject", "more"):
        with pytest.raises(InvalidRequest):
            binary(b"", "", **{name: written})


def test_attributes_are_at_most_50_beside_the_known_ones() -> None:
    many = {f"a{at}": "x" for at in range(51)}
    assert wrong(STRUCTURED, {}, json.dumps(LEAST | many).encode()) == ["extensions"]
    assert wrong("", {f"ce-{name}": value for name, value in (LEAST | many).items()}, b"") == ["extensions"]
    many.popitem()
    assert len(structured(**many).extensions) == len(binary(b"", "", **many).extensions) == 50


def test_a_batch_is_a_list_of_at_most_100() -> None:
    assert read(BATCH, {}, b"[]") == []
    batch = [LEAST | {"id": str(number)} for number in range(101)]
    assert [it.id for it in read(BATCH, {}, json.dumps(batch[:100]).encode())] == [str(it) for it in range(100)]
    with pytest.raises(InvalidRequest, match="101 events"):
        read(BATCH, {}, json.dumps(batch).encode())
    for body in (b"{}", b"[1]", b"[null]"):
        with pytest.raises(InvalidRequest, match="a batch is a list of objects"):
            read(BATCH, {}, body)


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("a%2520b", "a%20b"),
        ('"quoted \\"text\\" %20"', 'quoted "text"  '),
        ('"half', '"half'),
        ("%zz%", "%zz%"),
        ("z\u00c3\u00bc", "zü"),  # bytes of UTF-8, as WSGI has them
    ],
)
def test_a_header_is_unquoted_and_its_percents_are_decoded_once(written: str, read_as: str) -> None:
    assert binary(subject=written).subject == read_as


@pytest.mark.parametrize(
    ("body", "content_type", "data"),
    [
        (b"", "", None),
        (b"", "application/json", None),
        (b"\x00\xff", "", b"\x00\xff"),
        (b"plain", "", b"plain"),
        (b'{"a":1}', "application/json", '{"a":1}'),
        (b"{no json", "application/json", b"{no json"),
        (b'"\xff"', "application/json", b'"\xff"'),
        (b"text", "text/plain", "text"),
        (b"\xe9", "text/plain", b"\xe9"),
        (b"e", "text/plain; charset=latin-1", b"e"),
        (b"<a/>", "image/svg+xml; charset=UTF-8", "<a/>"),
        (b"a=b", "application/x-www-form-urlencoded", "a=b"),
        (b"abc", "application/octet-stream", b"abc"),
    ],
)
def test_a_body_is_data_as_its_type_says(body: bytes, content_type: str, data: object) -> None:
    found = binary(body, content_type)
    assert (found.data, found.datacontenttype) == (data, content_type or None)


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({"ce-id": "1"}, ["ce-specversion", "ce-source", "ce-type"]),
        ({f"ce-{name}": value for name, value in LEAST.items()} | {"ce-subject": "%ff"}, ["ce-subject"]),
        (
            {f"ce-{name}": value for name, value in LEAST.items()} | {"ce-datacontenttype": "x/y"},
            ["ce-datacontenttype"],
        ),
        ({f"ce-{name}": value for name, value in LEAST.items()} | {"ce-data": "x"}, ["ce-data"]),
        ({f"ce-{name}": value for name, value in LEAST.items()} | {"ce-my-ext": "x"}, ["my-ext"]),
    ],
)
def test_what_is_wrong_with_headers_is_named(headers: dict[str, str], fields: list[str]) -> None:
    assert wrong("", headers, b"") == fields
