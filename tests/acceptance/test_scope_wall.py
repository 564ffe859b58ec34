"""A scope is a wall: every endpoint of the API, asked by everybody who may not, changes nothing and shows nothing.

The endpoints are those that the application has, not a list of ours: a new one without a row below fails here.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import falcon.inspect
import pytest

from picloud.auth import Scope, new_secret
from picloud.messages.endpoint import Endpoint, declared
from picloud.model import Request, Trigger
from picloud.settings import load
from picloud.storage.pool import Pool
from picloud.storage.tokens import TokenTable
from picloud.wiring.platform import build
from tests.queued import dead, sent
from tests.running import Answer, Running, running

API = "/api/v1"
SCRIPT = f"{API}/scripts/{{script}}"
TEXT, JSON = "text/plain", "application/json"
MARK = "behind-the-wall"  # is in all that may not be seen

EVENT = b'{"specversion": "1.0", "id": "through", "source": "/wall", "type": "through.the.wall"}'
SCHEDULE = b'{"script": "%s", "cron": "0 3 29 2 *", "payload": "through the wall"}' % MARK.encode()
CONFIG = b'{"scripts": {"through": {"files": {"main.lua": "return 666"}}}}'
NAMED_SCHEDULE = SCHEDULE.replace(b"{", b'{"name": "through", ', 1)

OPEN_TO_ALL = {"/", "/healthz", "/readyz", "/openapi.json", "/problems", "/problems/{name}", f"{API}/hosts"}


@dataclass(frozen=True)
class Sample:
    """What an endpoint needs, and a request that would succeed, and be seen to, if the wall had a hole."""

    scope: Scope
    body: bytes | None = None
    content_type: str = TEXT
    query: str = ""


SAMPLES = {
    ("GET", "/metrics"): Sample(Scope.READ),
    ("GET", f"{API}/scripts"): Sample(Scope.READ),
    ("POST", f"{API}/scripts"): Sample(Scope.DEPLOY, b"return 666", query=f"name={MARK}"),
    ("GET", SCRIPT): Sample(Scope.READ),
    ("PUT", SCRIPT): Sample(Scope.DEPLOY, b"return 666"),
    ("DELETE", SCRIPT): Sample(Scope.DEPLOY),
    ("PUT", f"{SCRIPT}/active"): Sample(Scope.DEPLOY, b'{"version": 1}', JSON),
    ("GET", f"{SCRIPT}/settings"): Sample(Scope.READ),
    ("PATCH", f"{SCRIPT}/settings"): Sample(Scope.DEPLOY, b'{"expose_errors": false}', JSON),
    ("GET", f"{SCRIPT}/versions"): Sample(Scope.READ),
    ("GET", f"{SCRIPT}/versions/{{number}}"): Sample(Scope.READ, query="source=true"),
    ("GET", f"{SCRIPT}/kv"): Sample(Scope.READ),
    ("GET", f"{SCRIPT}/kv/{{key:path}}"): Sample(Scope.READ),
    ("PUT", f"{SCRIPT}/kv/{{key:path}}"): Sample(Scope.DEPLOY, b'"through the wall"', JSON),
    ("DELETE", f"{SCRIPT}/kv/{{key:path}}"): Sample(Scope.DEPLOY),
    ("POST", f"{SCRIPT}/invoke"): Sample(Scope.INVOKE, b"x"),
    ("GET", f"{API}/routes"): Sample(Scope.READ),
    ("POST", f"{API}/routes"): Sample(Scope.DEPLOY, b'{"path": "/through", "script": "%s"}' % MARK.encode(), JSON),
    ("GET", f"{API}/routes/{{route}}"): Sample(Scope.READ),
    ("DELETE", f"{API}/routes/{{route}}"): Sample(Scope.DEPLOY),
    ("GET", f"{API}/invocations"): Sample(Scope.READ),
    ("GET", f"{API}/invocations/{{identifier}}"): Sample(Scope.READ, query="request=true"),
    ("POST", f"{API}/invocations/{{identifier}}/replay"): Sample(Scope.INVOKE),
    ("GET", f"{API}/events"): Sample(Scope.READ),
    ("POST", f"{API}/events"): Sample(Scope.INVOKE, EVENT, "application/cloudevents+json"),
    ("GET", f"{API}/events/{{event_number}}"): Sample(Scope.READ),
    ("GET", f"{API}/subscriptions"): Sample(Scope.READ),
    ("POST", f"{API}/subscriptions"): Sample(
        Scope.DEPLOY, b'{"type": "through", "script": "%s"}' % MARK.encode(), JSON
    ),
    ("GET", f"{API}/subscriptions/{{subscription}}"): Sample(Scope.READ),
    ("DELETE", f"{API}/subscriptions/{{subscription}}"): Sample(Scope.DEPLOY),
    ("GET", f"{API}/schedules"): Sample(Scope.READ),
    ("POST", f"{API}/schedules"): Sample(Scope.DEPLOY, NAMED_SCHEDULE, JSON),
    ("GET", f"{API}/schedules/{{schedule}}"): Sample(Scope.READ),
    ("PUT", f"{API}/schedules/{{schedule}}"): Sample(Scope.DEPLOY, SCHEDULE, JSON),
    ("DELETE", f"{API}/schedules/{{schedule}}"): Sample(Scope.DEPLOY),
    ("GET", f"{API}/schedules/{{schedule}}/slots"): Sample(Scope.READ),
    ("GET", f"{API}/schedules/{{schedule}}/next-runs"): Sample(Scope.READ),
    ("GET", f"{API}/logs"): Sample(Scope.READ),
    ("GET", f"{API}/jobs"): Sample(Scope.READ),
    ("GET", f"{API}/jobs/{{job}}"): Sample(Scope.READ),
    ("DELETE", f"{API}/jobs/{{job}}"): Sample(Scope.INVOKE),
    ("GET", f"{API}/queue"): Sample(Scope.READ),
    ("GET", f"{API}/dead-letters"): Sample(Scope.READ),
    ("DELETE", f"{API}/dead-letters"): Sample(Scope.INVOKE, query=f"script={MARK}"),
    ("GET", f"{API}/dead-letters/{{letter}}"): Sample(Scope.READ),
    ("DELETE", f"{API}/dead-letters/{{letter}}"): Sample(Scope.INVOKE),
    ("POST", f"{API}/dead-letters/{{letter}}/retry"): Sample(Scope.INVOKE, b'{"payload": "through the wall"}', JSON),
    ("GET", f"{API}/config"): Sample(Scope.ADMIN),
    ("PUT", f"{API}/config"): Sample(Scope.ADMIN, CONFIG, JSON),
    ("GET", f"{API}/secrets"): Sample(Scope.READ),
    ("GET", f"{API}/secrets/{{secret}}"): Sample(Scope.READ),
    ("PUT", f"{API}/secrets/{{secret}}"): Sample(Scope.DEPLOY, b'{"value": "through the wall"}', JSON),
    ("DELETE", f"{API}/secrets/{{secret}}"): Sample(Scope.DEPLOY),
    ("GET", f"{API}/tokens"): Sample(Scope.ADMIN),
    ("POST", f"{API}/tokens"): Sample(Scope.ADMIN, b'{"name": "taken through the wall", "scopes": ["admin"]}', JSON),
    ("GET", f"{API}/tokens/{{token}}"): Sample(Scope.ADMIN),
    ("DELETE", f"{API}/tokens/{{token}}"): Sample(Scope.ADMIN),
}


@dataclass(frozen=True)
class Door:
    """One method of one path of the application."""

    method: str
    template: str
    told: Endpoint | None

    @property
    def sample(self) -> Sample:
        return SAMPLES["GET" if self.method == "HEAD" else self.method, self.template]


def doors(data: Path) -> list[Door]:
    """What the real application declares; building it opens nothing."""
    app: Any = build(load({"PICLOUD_DATA": str(data)})).wsgi
    found = []
    for route in falcon.inspect.inspect_routes(app):
        resource = app._router.find(route.path)[0]
        found += [
            Door(method.method, route.path, declared(resource, method.method))
            for method in route.methods
            if not method.internal  # Falcon's own OPTIONS and 405
        ]
    return found


@pytest.fixture(scope="module")
def walled(tmp_path_factory: pytest.TempPathFactory) -> list[Door]:
    """All that are not open to everybody, by their own word; the test below holds which those are."""
    return [it for it in doors(tmp_path_factory.mktemp("doors")) if it.told is None or it.told.scope is not None]


@dataclass(frozen=True)
class Fortress:
    """A PiCloud with something of everything in it."""

    picloud: Running
    places: Mapping[str, object]  # what stands for a path's parameters

    def ask(self, door: Door, headers: Mapping[str, str], query: str = "") -> Answer:
        """Ask for something that is there."""
        path = door.template.replace(":path}", "}").format_map(self.places)
        queries = "&".join(filter(None, (door.sample.query, query)))
        with_type = {"content-type": door.sample.content_type} if door.sample.body is not None else {}
        return self.picloud.call(door.method, f"{path}?{queries}", door.sample.body, with_type | dict(headers))

    def token(self, name: str, scopes: list[Scope], **more: Any) -> str:
        with contextlib.closing(Pool(self.picloud.database_url, size=1, wait_ms=5_000)) as pool:
            secret = new_secret()
            TokenTable(pool).add(name, secret, scopes, **more)
        return secret

    def contents(self) -> str:
        """Every row of every table, but for when tokens were used."""
        rows = []
        pool = Pool(self.picloud.database_url, size=1, wait_ms=5_000)
        with contextlib.closing(pool), pool.transaction() as cursor:
            cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
            for (name,) in sorted(cursor.fetchall()):
                cursor.execute(f"SELECT (to_jsonb(it) - 'last_used_at')::text FROM \"{name}\" it ORDER BY 1")
                rows += [f"{name} {row[0]}" for row in cursor.fetchall()]
        return "\n".join(rows)


@pytest.fixture(scope="module")
def fortress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fortress]:
    with running(tmp_path_factory.mktemp("fortress")) as picloud:
        picloud.deploy(MARK, f"log.info('{MARK}') return 1")
        picloud.deploy(MARK, f"log.info('{MARK}') return '{MARK}'")
        picloud.set(MARK, {"record": "all"})
        record = picloud.record_of(picloud.call("GET", f"/fn/{MARK}"))
        token = picloud.api("POST", "tokens", {"name": f"of {MARK}", "scopes": ["admin"]}).json["id"]
        route = picloud.api("POST", "routes", {"path": f"/{MARK}", "script": MARK}).json["id"]
        assert picloud.api("PUT", f"scripts/{MARK}/kv/{MARK}", MARK).status == 200
        places = {"script": MARK, "number": 1, "identifier": record["id"], "token": token, "route": route, "key": MARK}
        assert picloud.api("PUT", "secrets/BEHIND_THE_WALL", {"value": MARK}).status == 201
        subscription = {"type": MARK, "script": MARK}
        places["subscription"] = picloud.api("POST", "subscriptions", subscription).json["id"]
        event = EVENT.replace(b"through", MARK.encode())
        assert picloud.api("POST", "events", event, "application/cloudevents+json").status == 202
        places["event_number"] = picloud.api("GET", "events").json["items"][0]["number"]
        schedule = {"script": MARK, "cron": "0 3 29 2 *", "payload": MARK}
        assert picloud.api("PUT", "schedules/daily", schedule).status == 201
        places["schedule"] = "daily"
        places["secret"] = "BEHIND_THE_WALL"
        request = Request("", "POST", "/", f"q={MARK}", (), MARK.encode(), trigger=Trigger.JOB)
        places["job"] = sent(picloud.database_url, MARK, request, delay_ms=86_400_000)
        places["letter"] = dead(picloud.database_url, MARK, request)
        yield Fortress(picloud, places)


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def test_nothing_is_open_to_all_but_what_is_meant_to_be(tmp_path: Path) -> None:
    assert {it.template for it in doors(tmp_path) if it.told and it.told.scope is None} == OPEN_TO_ALL


def test_every_endpoint_has_a_row_here_and_declares_its_scope(walled: list[Door]) -> None:
    assert {(it.method, it.template): it.told and it.told.scope for it in walled if it.method != "HEAD"} == {
        door: sample.scope for door, sample in SAMPLES.items()
    }


def test_every_get_can_be_asked_with_head(walled: list[Door]) -> None:
    assert {it.template for it in walled if it.method == "HEAD"} == {it.template for it in walled if it.method == "GET"}


STRANGERS = [
    "nobody", "an unknown token", "an expired one", "a revoked one", "Basic", "Token", "no scheme", "two schemes",
    "the query", "a cookie", "another header",
]  # fmt: skip


def stranger(fortress: Fortress, who: str) -> tuple[dict[str, str], str]:
    """Headers, and what to add to the query, of somebody who is not known, though their token may be."""
    admin = fortress.picloud.token
    if who == "an expired one":
        past = datetime.now(UTC) - timedelta(seconds=1)
        return bearer(fortress.token("expired", [Scope.ADMIN], expires_at=past)), ""
    if who == "a revoked one":
        made = fortress.picloud.api("POST", "tokens", {"name": "to be revoked", "scopes": ["admin"]}).json
        assert fortress.picloud.call("GET", f"{API}/scripts", headers=bearer(made["token"])).status == 200
        assert fortress.picloud.api("DELETE", f"tokens/{made['id']}").status == 204
        return bearer(made["token"]), ""
    return {
        "nobody": ({}, ""),
        "an unknown token": (bearer(new_secret()), ""),
        "Basic": ({"authorization": f"Basic {admin}"}, ""),
        "Token": ({"authorization": f"Token {admin}"}, ""),
        "no scheme": ({"authorization": admin}, ""),
        "two schemes": ({"authorization": f"Bearer Bearer {admin}"}, ""),
        "the query": ({}, f"token={admin}&access_token={admin}"),
        "a cookie": ({"cookie": f"picloud_session={admin}; token={admin}"}, ""),
        "another header": ({"x-api-key": admin, "proxy-authorization": f"Bearer {admin}"}, ""),
    }[who]


@pytest.mark.parametrize("who", STRANGERS)
def test_who_is_not_known_opens_nothing(fortress: Fortress, walled: list[Door], who: str) -> None:
    headers, query = stranger(fortress, who)
    before = fortress.contents()
    for door in walled:
        assert_closed(door, fortress.ask(door, headers, query), 401)
    assert fortress.contents() == before


@pytest.mark.parametrize("scope", [scope for scope in Scope if scope is not Scope.ADMIN])
def test_a_scope_opens_nothing_that_is_not_for_it(fortress: Fortress, walled: list[Door], scope: Scope) -> None:
    secret = fortress.token(f"only {scope}", [scope])
    before = fortress.contents()
    for door in [it for it in walled if it.sample.scope is not scope]:
        answer = fortress.ask(door, bearer(secret))
        assert_closed(door, answer, 403)
        assert door.method == "HEAD" or door.sample.scope in answer.json["detail"]
    assert fortress.contents() == before


def test_all_scopes_but_admin_do_not_make_an_administrator(fortress: Fortress, walled: list[Door]) -> None:
    secret = fortress.token("all but admin", [Scope.DEPLOY, Scope.INVOKE, Scope.READ])
    before = fortress.contents()
    for door in [it for it in walled if it.sample.scope is Scope.ADMIN]:
        assert_closed(door, fortress.ask(door, bearer(secret)), 403)
    assert fortress.contents() == before


def test_a_token_that_is_limited_to_another_script_sees_and_changes_nothing_of_this_one(
    fortress: Fortress, walled: list[Door]
) -> None:
    secret = fortress.token("limited elsewhere", [Scope.DEPLOY, Scope.INVOKE, Scope.READ], scripts=["another"])
    before = fortress.contents()
    for door in walled:
        answer = fortress.ask(door, bearer(secret))
        if door.told and door.told.by_script and answer.status not in (401, 403):
            assert answer.status == 404 or (door.method in ("GET", "HEAD") and answer.status == 200), (door, answer)
            assert MARK not in answer.body.decode(), (door, answer)
        else:
            assert_closed(door, answer, 403)
    assert fortress.contents() == before


def test_a_token_that_is_limited_to_this_script_opens_it_and_nothing_else(
    fortress: Fortress, walled: list[Door]
) -> None:
    secret = fortress.token("limited here", [Scope.READ], scripts=[MARK])
    before = fortress.contents()
    for door in walled:
        answer = fortress.ask(door, bearer(secret))
        if door.sample.scope is Scope.READ and ("{script}" in door.template or (door.told and door.told.by_script)):
            assert_opened(door, answer)
        else:
            assert_closed(door, answer, 403)
    assert fortress.contents() == before


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v1", "/api/v1/", "/api/v2/scripts", "/api/v1/no-such-thing"])
def test_not_even_what_does_not_exist_is_told_to_strangers(fortress: Fortress, path: str) -> None:
    answer = fortress.picloud.call("GET", path)
    assert answer.status in (401, 404) if path == "/api" else answer.status == 401
    assert fortress.picloud.call("OPTIONS", path).status in (401, 404)


def test_the_session_of_the_front_page_opens_no_endpoint(fortress: Fortress, walled: list[Door]) -> None:
    form = f"token={fortress.picloud.token}".encode()
    answer = fortress.picloud.call("POST", "/", form, {"content-type": "application/x-www-form-urlencoded"})
    cookie = (answer.header("set-cookie") or "").partition(";")[0]
    assert cookie.startswith("picloud_session=")
    before = fortress.contents()
    for door in walled:
        assert_closed(door, fortress.ask(door, {"cookie": cookie}), 401)
    assert fortress.contents() == before


@pytest.mark.parametrize("scope", list(Scope))
def test_a_scope_opens_what_it_is_for(fortress: Fortress, walled: list[Door], scope: Scope) -> None:
    """The last here: what is opened does what it is for."""
    secret = fortress.token(f"opens {scope}", [scope])
    opened = [it for it in walled if scope in (it.sample.scope, Scope.ADMIN)]
    for door in sorted(opened, key=lambda it: it.method == "DELETE"):
        assert_opened(door, fortress.ask(door, bearer(secret)))


def assert_closed(door: Door, answer: Answer, status: int) -> None:
    assert answer.status == status, (door, answer)
    if door.method == "HEAD":
        assert answer.body == b""
        return
    assert answer.problem == ("unauthorized" if status == 401 else "forbidden"), (door, answer)
    document = answer.json
    document.pop("instance")  # what was asked for, in their own words
    assert MARK not in str(document), (door, answer)


def assert_opened(door: Door, answer: Answer) -> None:
    assert answer.status < 500, (door, answer)
    assert answer.status not in (401, 403, 405), (door, answer)
