"""Events, from whoever publishes them to the jobs of who hears of them, through a running server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings.http import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from picloud.auth import Scope
from picloud.model import Request
from tests.fixtures_postgres import execute
from tests.running import Answer, Running, running

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
PUBLISH = """return function(request)
  local it = request:json()
  local data = it.data
  for _ = 1, it.deep or 0 do data = { data } end
  local id = events.publish(it.type, data, it.options)
  if it.fails then error("after it") end
  return { id = id }
end"""


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A PiCloud of these tests, in whose tables they look."""
    with running(tmp_path_factory.mktemp("events")) as picloud:
        picloud.deploy("shop", PUBLISH)
        picloud.deploy("other", PUBLISH)
        yield picloud


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """A type of events that no other test has."""
    return f"test.{request.node.name}".replace("[", ".").replace("]", "")


def hear(ours: Running, name: str, **wanted: str) -> int:
    """Have a script hear of events, and keep them in its log → the subscription's id."""
    ours.deploy(name, "log.info('heard', request.event) return 1")
    made = ours.api("POST", "subscriptions", {"script": name, **wanted})
    assert made.status == 201, made
    assert made.header("location") == f"/api/v1/subscriptions/{made.json['id']}"
    identifier: int = made.json["id"]
    return identifier


def jobs(ours: Running, script: str) -> list[Request]:
    """What a script was sent, run or not."""
    rows: list[Any] = execute(ours.database_url, "SELECT request FROM jobs WHERE script = %s ORDER BY id", script)
    return [msgspec.msgpack.decode(bytes(row), type=Request) for (row,) in rows]


def event(kind: str, identifier: str = "1", **more: Any) -> CloudEvent:
    attributes = {"specversion": "1.0", "id": f"{kind} {identifier}", "source": "/till", "type": kind}
    # Where attributes are headers, data without a type is bytes of which nobody knows what they are.
    return CloudEvent(attributes={**attributes, "datacontenttype": "application/json", **more}, data={"item": "tea"})


def send(ours: Running, write: Any, it: CloudEvent, token: str = "") -> Answer:
    message = write(it, JSONFormat())
    headers = {**message.headers, "authorization": f"Bearer {token or ours.token}"}
    return ours.call("POST", "/api/v1/events", message.body, headers)


def publish(ours: Running, script: str, **asked: Any) -> Answer:
    body = json.dumps(asked).encode()
    return ours.call("POST", f"/fn/{script}", body, {"content-type": "application/json"})


@pytest.mark.parametrize("write", [to_structured, to_binary])
def test_who_is_subscribed_gets_a_job_with_the_event(ours: Running, kind: str, write: Any) -> None:
    hear(ours, f"hears-{write.__name__.replace('_', '-')}", type=kind)
    answer = send(ours, write, event(kind, subject="Zoë 7%"))
    assert (answer.status, answer.header("content-type")) == (202, "application/json")
    assert answer.json == {"items": [{"id": f"{kind} 1", "source": "/till", "jobs": 1, "duplicate": False}]}
    (request,) = jobs(ours, f"hears-{write.__name__.replace('_', '-')}")
    assert (request.method, request.path, request.trigger) == ("POST", "/", "event")
    assert json.loads(request.body) == {"item": "tea"}
    assert dict(request.headers) == {"content-type": "application/json"}
    told = json.loads(request.event)
    assert (told["type"], told["subject"], told["data"]) == (kind, "Zoë 7%", {"item": "tea"})
    again = send(ours, write, event(kind))
    assert again.json["items"] == [{"id": f"{kind} 1", "source": "/till", "jobs": 0, "duplicate": True}]
    assert len(jobs(ours, f"hears-{write.__name__.replace('_', '-')}")) == 1


def test_a_batch_is_published_whole_or_not_at_all(ours: Running, kind: str) -> None:
    hear(ours, "hears-batch", type=f"{kind}.*")
    batch = [json.loads(to_structured(event(f"{kind}.x", str(at)), JSONFormat()).body) for at in range(100)]
    bad = [*batch[:50], batch[50] | {"time": "noon"}]
    refused = ours.api("POST", "events", bad, BATCH)
    assert (refused.status, refused.problem) == (422, "invalid-request")
    assert [it["field"] for it in refused.json["errors"]] == ["[50].time"]
    assert jobs(ours, "hears-batch") == []
    answer = ours.api("POST", "events", [*batch[:3], batch[0]], BATCH)
    assert [(it["id"].split()[1], it["jobs"], it["duplicate"]) for it in answer.json["items"]] == [
        ("0", 1, False), ("1", 1, False), ("2", 1, False), ("0", 0, True),
    ]  # fmt: skip
    assert [it["duplicate"] for it in ours.api("POST", "events", batch, BATCH).json["items"]] == [True] * 3 + [
        False
    ] * 97
    assert len(jobs(ours, "hears-batch")) == 100
    assert ours.api("POST", "events", [], BATCH).json == {"items": []}
    assert ours.api("POST", "events", [*batch, batch[0]], BATCH).status == 422


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json", 415),
        (b"{}", "", 415),
        (b"{}", "application/cloudevents+avro", 415),
        (b"{}", STRUCTURED, 422),
        (b"", STRUCTURED, 422),
        (b"[]", STRUCTURED, 422),
        (b'{"specversion":"1.0","id":"1","id":"2","source":"/s","type":"x"}', STRUCTURED, 422),
        (b'{"specversion":"1.0","id":"a\\u0000","source":"/s","type":"x"}', STRUCTURED, 422),
        (b'{"specversion":"1.0","id":"\\ud800","source":"/s","type":"x"}', STRUCTURED, 422),
        (b'{"specversion":"1.0","id":"\xff","source":"/s","type":"x"}', STRUCTURED, 422),
        (b'{"specversion":"1.0","id":"1","source":"/s","type":"x","data":' + b"[" * 100_000, STRUCTURED, 422),
        (b"[" * 1024 * 1024, BATCH, 422),
        (b" " * (1024 * 1024 + 1), STRUCTURED, 413),
    ],
)
def test_what_is_no_event_is_refused(ours: Running, body: bytes, content_type: str, status: int) -> None:
    headers = {"authorization": f"Bearer {ours.token}"} | ({"content-type": content_type} if content_type else {})
    answer = ours.call("POST", "/api/v1/events", body, headers)
    assert answer.status == status, answer
    assert answer.problem


def test_any_body_is_data_where_the_attributes_are_headers(ours: Running, kind: str) -> None:
    hear(ours, "hears-bytes", type=kind)
    attributes = {"ce-specversion": "1.0", "ce-source": "/camera", "ce-type": kind, "ce-trace": "a%20b"}
    told = []
    for at, (body, content_type) in enumerate([(b"\x89PNG\xff", "image/png"), (b"", ""), (b"ok", "text/plain")]):
        typed = {"content-type": content_type} if content_type else {}
        headers = {"authorization": f"Bearer {ours.token}", "ce-id": str(at), **attributes, **typed}
        assert ours.call("POST", "/api/v1/events", body, headers).status == 202
        request = jobs(ours, "hears-bytes")[-1]
        assert (request.body, dict(request.headers).get("content-type", "")) == (body, content_type)
        told.append(json.loads(request.event))
    assert [it.get("data_base64") for it in told] == ["iVBOR/8=", None, None]
    assert [it.get("data") for it in told] == [None, None, "ok"]
    assert {it["trace"] for it in told} == {"a b"}


def test_what_a_script_publishes_is_heard_of_with_its_commit(ours: Running, kind: str) -> None:
    hear(ours, "hears-scripts", type=kind)
    asked = {"type": kind, "data": {"total": [1, 2.5, "ü", None]}, "options": {"subject": "order 7"}}
    assert publish(ours, "shop", **asked, fails=True).status == 500
    assert jobs(ours, "hears-scripts") == []
    answer = publish(ours, "shop", **asked)
    assert answer.status == 200, answer
    (request,) = jobs(ours, "hears-scripts")
    told = json.loads(request.event)
    assert told.pop("time")
    assert told == {
        "specversion": "1.0", "id": answer.json["id"], "source": "/scripts/shop", "type": kind, "subject": "order 7",
        "datacontenttype": "application/json", "data": {"total": [1, 2.5, "ü", None]},
    }  # fmt: skip
    assert request.event_depth == 1


def test_a_script_publishes_an_event_of_its_own_once(ours: Running, kind: str) -> None:
    hear(ours, "hears-once", type=kind, source="/scripts/shop*")
    options = {"id": "mine", "time": "2026-01-31T12:00:00Z", "source": "/scripts/shop/till"}
    for _ in range(2):
        assert publish(ours, "shop", type=kind, options=options).json == {"id": "mine"}
    (request,) = jobs(ours, "hears-once")
    assert (request.body, request.headers) == (b"", ())
    assert json.loads(request.event) == {"specversion": "1.0", "type": kind, **options}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"type": "picloud.job.dead"}, "PiCloud's own events"),
        ({"type": ""}, "type: must not be empty"),
        ({"type": "x", "options": {"source": "/scripts/other"}}, "'/scripts/other' is another's"),
        ({"type": "x", "options": {"source": "/scripts"}}, "is another's"),
        ({"type": "x", "options": {"source": "/picloud"}}, "'/picloud' is PiCloud itself"),
        ({"type": "x", "options": {"time": "noon"}}, "time: must be a time"),
        ({"type": "x", "options": {"subject": ""}}, "subject must not be empty"),
        ({"type": "x", "options": {"topic": "x"}}, "there is no option 'topic'"),
        ({"type": "x", "deep": 128}, "an event's data must be JSON that a script can read"),
    ],
)
def test_what_a_script_may_not_publish_is_an_error_at_its_line(ours: Running, asked: dict[str, Any], said: str) -> None:
    answer = publish(ours, "shop", **asked)
    assert (answer.status, answer.problem) == (500, "script-error")
    assert answer.json["detail"].startswith("main.lua:5: events.publish: ")
    assert said in answer.json["detail"]


def test_an_event_of_a_script_that_is_invoked_is_as_deep_as_one_of_its_caller(ours: Running, kind: str) -> None:
    hear(ours, "hears-deep", type=kind)
    ours.deploy("deep", f"events.publish('{kind}') return 1")
    ours.deploy("through", "return invoke('deep')")
    for name in ("deep", "through"):
        assert ours.call("GET", f"/fn/{name}").status == 200
    assert [it.event_depth for it in jobs(ours, "hears-deep")] == [1, 1]


def test_a_dry_run_shows_what_would_be_published(ours: Running, kind: str) -> None:
    hear(ours, "hears-nothing", type=kind)
    asked = {"type": kind, "data": {"a": 1}, "options": {"subject": "7", "id": "dry"}}
    for _ in range(2):
        shown = ours.api("POST", "scripts/shop/invoke?dry_run=true", asked)
        assert shown.status == 200, shown
        (told,) = shown.json["events"]
        assert told.pop("time")
        assert told == {
            "script": "shop", "id": "dry", "source": "/scripts/shop", "type": kind, "subject": "7", "data": {"a": 1},
            "cut": False, "jobs": 1, "duplicate": False,
        }  # fmt: skip
    assert jobs(ours, "hears-nothing") == []


def test_subscriptions_are_made_listed_and_dropped(ours: Running, kind: str) -> None:
    first = hear(ours, "hears-for-a-while", type=kind, source="/till", subject="7*")
    told = {"id": first, "script": "hears-for-a-while", "type": kind, "source": "/till", "subject": "7*"}
    assert ours.api("GET", f"subscriptions/{first}").json == told | {"declared": False}
    assert ours.api("GET", "subscriptions?script=hears-for-a-while").json["items"] == [told | {"declared": False}]
    again = ours.api("POST", "subscriptions", {key: value for key, value in told.items() if key != "id"})
    assert (again.status, again.problem) == (409, "conflict")
    assert send(ours, to_structured, event(kind, "a", subject="75")).json["items"][0]["jobs"] == 1
    assert send(ours, to_structured, event(kind, "b", subject="8")).json["items"][0]["jobs"] == 0
    assert ours.api("DELETE", f"subscriptions/{first}").status == 204
    assert ours.api("DELETE", f"subscriptions/{first}").status == 404
    assert send(ours, to_structured, event(kind, "c", subject="75")).json["items"][0]["jobs"] == 0
    nobody = {"script": "nobody", "type": "x"}
    assert ours.api("POST", "subscriptions", nobody).status == 404
    wrong = ours.api("POST", "subscriptions", {"script": "shop", "type": "a*", "topic": "x"})
    assert wrong.status == 422
    wrong = ours.api("POST", "subscriptions", {"script": "shop", "type": "a*"})
    assert [it["field"] for it in wrong.json["errors"]] == ["type"]


def test_a_bundle_says_what_it_hears_of(ours: Running, kind: str) -> None:
    def upload(text: str, main: str = "return 1") -> Answer:
        return ours.api("PUT", "scripts/declares", {"files": {"main.lua": main, "picloud.toml": text}})

    def heard() -> list[tuple[str, str | None]]:
        found = ours.api("GET", "subscriptions?script=declares").json["items"]
        assert all(it["declared"] for it in found)
        return sorted((it["type"], it["source"]) for it in found)

    table = f'[[subscription]]\ntype = "{kind}.*"\n'
    assert upload(table + f'[[subscription]]\ntype = "{kind}"\nsource = "/till"\n').status == 201
    assert heard() == [(kind, "/till"), (f"{kind}.*", None)]
    assert send(ours, to_structured, event(kind)).json["items"][0]["jobs"] == 1
    for text, field in [
        (table + table, "subscription[1]"),
        ('[[subscription]]\ntype = "a*"', "subscription[0].type"),
        ('[[subscription]]\nsource = "x"', "subscription[0].type"),
        ('[[subscription]]\ntype = "a"\nsubjects = "x"', "subscription[0].subjects"),
    ]:
        refused = upload(text, "return 2")
        assert (refused.status, [it["field"] for it in refused.json["errors"]]) == (422, [field])
    assert upload(table, "return 3").status == 201
    assert heard() == [(f"{kind}.*", None)]
    assert ours.api("PUT", "scripts/declares", b"return 4", "text/x-lua").status == 201
    assert heard() == [(f"{kind}.*", None)], "without a picloud.toml they stay"
    assert upload("", "return 5").status == 201
    assert heard() == []


def test_a_script_hears_of_what_is_deployed(ours: Running) -> None:
    hear(ours, "hears-deployments", type="picloud.script.deployed", subject="deployed-*")
    ours.deploy("deployed-one", "return 1")
    ours.deploy("deployed-one", "return 2")
    ours.deploy("deployed-one", "return 2")
    assert ours.api("PUT", "scripts/deployed-one/active", {"version": 1}).status == 200
    told = [json.loads(it.event) for it in jobs(ours, "hears-deployments")]
    assert [it["data"] for it in told] == [{"script": "deployed-one", "version": at} for at in (1, 2, 1)]
    assert {(it["source"], it["subject"]) for it in told} == {("/picloud", "deployed-one")}


def test_events_are_listed_and_shown(ours: Running, kind: str) -> None:
    for at, data in enumerate(['{"a": [1.50]}', '"text"', None]):
        members = {"specversion": "1.0", "id": f"{kind}-{at}", "source": "/lists/x", "type": f"{kind}.{at}", "n": at}
        body = json.dumps(members).encode()[:-1] + (f', "data": {data}'.encode() if data else b"") + b"}"
        assert ours.api("POST", "events", body, STRUCTURED).status == 202
    listed = ours.api("GET", f"events?type={kind}.*&source=/lists/*&limit=2").json
    assert [it["id"] for it in listed["items"]] == [f"{kind}-2", f"{kind}-1"]
    assert "data" not in listed["items"][0]
    behind = ours.api("GET", f"events?type={kind}.*&limit=2&after={listed['next']}").json
    assert ([it["id"] for it in behind["items"]], behind["next"]) == ([f"{kind}-0"], None)
    (one,) = ours.api("GET", f"events?source=/lists/x&id={kind}-0").json["items"]
    shown = ours.api("GET", f"events/{one['number']}")
    assert b'"data":{"a": [1.50]}' in shown.body, "as it was written"
    assert shown.json == {**one, "data": {"a": [1.5]}}
    assert (one["extensions"], one["depth"], one["bytes"]) == ({"n": 0}, 1, 13)
    assert ours.api("GET", "events/999999999").status == 404
    assert ours.api("GET", "events/x").status == 404
    assert ours.api("GET", "events?type=a*").status == 422
    members = {"specversion": "1.0", "id": kind, "source": "/lists/x", "type": kind, "data_base64": "/w=="}
    assert ours.api("POST", "events", members, STRUCTURED).status == 202
    number = ours.api("GET", "events").json["items"][0]["number"]
    assert ours.api("GET", f"events/{number}").json["data_base64"] == "/w=="


def test_a_token_that_is_limited_subscribes_its_scripts_and_publishes_nothing(ours: Running, kind: str) -> None:
    wanted = {"name": f"limited {kind}", "scopes": [Scope.DEPLOY, Scope.INVOKE, Scope.READ], "scripts": ["shop"]}
    token = ours.api("POST", "tokens", wanted).json["token"]

    def ask(method: str, path: str, body: object = None) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        return ours.call(method, f"/api/v1/{path}", data, headers)

    assert send(ours, to_structured, event(kind), token).status == 403
    assert ask("GET", "events").status == 403
    theirs = hear(ours, "not-for-limited", type=kind)
    assert ask("POST", "subscriptions", {"type": kind, "script": "not-for-limited"}).status == 403
    assert ask("GET", f"subscriptions/{theirs}").status == 404
    assert ask("DELETE", f"subscriptions/{theirs}").status == 404
    for source in ({}, {"source": "/scripts/*"}, {"source": "/scripts/other"}):  # it would hear of others
        assert ask("POST", "subscriptions", {"type": kind, "script": "shop", **source}).status == 403
    own = ask("POST", "subscriptions", {"type": kind, "script": "shop", "source": "/scripts/shop"})
    assert own.status == 201
    assert [it["script"] for it in ask("GET", "subscriptions").json["items"]] == ["shop"]
    assert ask("DELETE", f"subscriptions/{own.json['id']}").status == 204


def test_the_command_line_publishes_and_subscribes(ours: Running, kind: str, tmp_path: Path) -> None:
    ours.deploy("hears-cli", "return 1")

    def said(*words: str, stdin: bytes = b"") -> str:
        done = ours.cli("event", *words, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, b""), done
        return done.stdout.decode()

    made = said("subscribe", f"{kind}.*", "hears-cli", "--source", "/cli", "--subject", "7")
    identifier = made.split()[1].rstrip(":")
    assert made == f"subscription {identifier}: {kind}.* → hears-cli\n"
    assert f"{identifier}\t{kind}.*\t/cli\t7\thears-cli\tFalse\n" in said("subscriptions")
    one = ("publish", f"{kind}.x", "--data", '{"a": 1}', "--subject", "7", "--id", kind)
    assert said(*one) == f"event {kind} made 1 job\n"
    assert said(*one) == f"event {kind} was there already\n"
    assert said("publish", f"{kind}.x", "--source", "/elsewhere", "--data", "no json").endswith(" made 0 jobs\n")
    assert said("publish", f"{kind}.x", "--data", "@-", stdin=b"\xff").endswith(" made 0 jobs\n")
    (request,) = jobs(ours, "hears-cli")
    assert json.loads(request.body) == {"a": 1}
    rows = json.loads(said("ls", "--type", f"{kind}.*", "--json"))
    assert [it["source"] for it in rows] == ["/cli", "/elsewhere", "/cli"]
    assert [it["datacontenttype"] for it in rows] == ["application/octet-stream", "text/plain", "application/json"]
    assert said("ls", "-n", "1", "--source", "/elsewhere").split("\t")[2] == f"{kind}.x"
    assert "data.a: 1\n" in said("show", str(rows[2]["number"]))
    assert json.loads(said("show", str(rows[0]["number"]), "--json"))["data_base64"] == "/w=="
    assert said("unsubscribe", identifier) == f"subscription {identifier} is removed\n"
    refused = ours.cli("event", "publish", "picloud.x")
    assert (refused.returncode, b"PiCloud's own" in refused.stderr) == (1, True)
