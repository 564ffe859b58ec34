"""A query and a body become typed messages: what OpenAPI's schema takes is taken, and nothing else."""

import json
import uuid
from typing import Annotated, Any

import falcon
import msgspec
import pytest
from falcon.testing import create_environ

from picloud.errors import InvalidRequest, UnsupportedMediaType
from picloud.messages.reading import Query, read_json, read_query


class Asked(Query):
    """One parameter of each kind."""

    number: Annotated[int, msgspec.Meta(ge=-5, le=5)] | None = None
    flag: bool = False
    identifier: uuid.UUID | None = None
    text: str = ""


class Sent(msgspec.Struct, forbid_unknown_fields=True):
    """A whole number and another."""

    whole: int
    any: float = 0.0


def asked(query_string: str) -> Asked:
    return read_query(falcon.Request(create_environ(query_string=query_string)), Asked)


def sent(body: bytes, content_type: str = "application/json") -> Sent:
    headers = {"content-type": content_type} if content_type else {}
    return read_json(falcon.Request(create_environ(body=body.decode("latin-1"), headers=headers)), Sent)


@pytest.mark.parametrize(
    ("query_string", "expected"),
    [
        ("", Asked()),
        ("number=-5", Asked(number=-5)),
        ("flag=true", Asked(flag=True)),
        ("flag=0", Asked(flag=False)),
        ("text=null", Asked(text="null")),
        ("text=1", Asked(text="1")),
        ("text=", Asked(text="")),
        ("identifier=00000000-0000-0000-0000-000000000001", Asked(identifier=uuid.UUID(int=1))),
    ],
)
def test_a_parameter_is_read_as_what_it_is(query_string: str, expected: Asked) -> None:
    assert asked(query_string) == expected


@pytest.mark.parametrize(
    ("query_string", "field"),
    [
        ("number=6", "number"), ("number=1.0", "number"), ("number=1e0", "number"), ("number=null", "number"),
        ("number=%D9%A1", "number"), ("number=" + "1" * 5000, "number"), ("number=", "number"), ("number=+1", "number"),
        ("flag=yes", "flag"), ("flag=2", "flag"), ("identifier=null", "identifier"), ("identifier=1", "identifier"),
        ("text=a%00", "text"), ("text=1&text=2", "text"), ("tezt=1", "tezt"),
    ],
)  # fmt: skip
def test_what_is_no_such_value_is_refused_by_its_name(query_string: str, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asked(query_string)
    assert [one["field"] for one in caught.value.errors] == [field]


@pytest.mark.parametrize("body", ['{"whole": 1}', '{"whole": 1.0}', '{"whole": 1e0, "any": 0}', '{"whole": 10e-1}'])
def test_a_whole_number_may_be_written_as_json_likes(body: str) -> None:
    assert sent(body.encode()) == Sent(1)


@pytest.mark.parametrize("value", [1.5, "1", None, True, [1], {}])
def test_what_is_no_whole_number_is_none(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="whole"):
        sent(json.dumps({"whole": value}).encode())


@pytest.mark.parametrize("body", [b"", b"{", b'{"whole": 1e999}', b'{"whole": NaN}', b'{"whole": 1} x', b"[" * 60_000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        sent(body)


@pytest.mark.parametrize(
    "content_type",
    [
        "", "application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json",
        "application/x-www-form-urlencoded",
    ],
)  # fmt: skip
def test_json_is_taken_as_json_and_as_what_curl_says(content_type: str) -> None:
    assert sent(b'{"whole": 1}', content_type) == Sent(1)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "multipart/form-data", "application/json-patch+json", "image/x+json"]
)
def test_json_as_anything_else_is_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="send application/json"):
        sent(b'{"whole": 1}', content_type)
