"""Webhooks on a running PiCloud: verified, stored once before the answer, and refused without a word too many."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook as Signer

from picloud.auth import Scope, new_secret
from picloud.model import Request, Trigger
from picloud.storage.pool import Pool
from picloud.storage.tokens import TokenTable
from tests.acceptance.test_resilience import await_listeners, database_away
from tests.running import Answer, Running, eventually, running

SECRET = "a secret that is shared"
SOURCE = "return function(request) return request.body end"
BODY = b'{"zen": "Keep it logically awesome.", "\xc3\xa9": 1}'


@dataclass(frozen=True)
class Job:
    """What is stored of one."""

    id: str
    key: str
    request: Request


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("webhooks")) as picloud:
        yield picloud


def jobs(picloud: Running, script: str) -> list[Job]:
    """Those of a script, oldest first."""
    with closing(Pool(picloud.database_url, size=1, wait_ms=5_000)) as pool, pool.transaction() as cursor:
        cursor.execute("SELECT id::text, key, request FROM jobs WHERE script = %s ORDER BY id", (script,))
        rows = cursor.fetchall()
    return [Job(found, key, msgspec.msgpack.decode(request, type=Request)) for found, key, request in rows]


def deploy(picloud: Running, name: str, webhook: dict[str, object], secret: str = SECRET, **more: object) -> None:
    """A script that takes webhooks, which are signed with a secret of its own."""
    named = "OF_" + name.upper().replace("-", "_")
    assert picloud.api("PUT", f"secrets/{named}", {"value": secret}).status in (200, 201)
    picloud.deploy(name, SOURCE)
    picloud.set(name, {"webhook": {"secret": named} | webhook, **more})


def hex_of(content: bytes, secret: str = SECRET, algorithm: str = "sha256") -> str:
    return hmac.new(secret.encode(), content, algorithm).hexdigest()


def github(body: bytes, delivery: str = "1-2-3", secret: str = SECRET) -> dict[str, str]:
    """The headers of a delivery of GitHub's."""
    return {
        "content-type": "application/json",
        "x-github-event": "ping",
        "x-github-delivery": delivery,
        "x-hub-signature-256": "sha256=" + hex_of(body, secret),
    }


def stripe(body: bytes) -> dict[str, str]:
    now = int(time.time())
    return {"stripe-signature": f"t={now},v1={'0' * 64},v1={hex_of(b'%d.' % now + body)}"}


def slack(body: bytes) -> dict[str, str]:
    now = int(time.time())
    return {"x-slack-request-timestamp": str(now), "x-slack-signature": "v0=" + hex_of(b"v0:%d:" % now + body)}


def standard(body: bytes) -> dict[str, str]:
    now = datetime.now(UTC)
    signature = Signer(base64.b64encode(SECRET.encode()).decode()).sign("msg_1", now, body.decode())
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}


def custom(body: bytes) -> dict[str, str]:
    digest = hmac.new(SECRET.encode(), body, "sha512").digest()
    return {"x-mine": "sig " + base64.b64encode(digest).decode(), "x-id": "no-7"}


Headers = Callable[[bytes], dict[str, str]]
CUSTOM: dict[str, object] = {
    "preset": "custom", "header": "X-Mine", "algorithm": "sha512", "encoding": "base64", "prefix": "sig ",
    "id_header": "X-Id",
}  # fmt: skip
EACH: list[tuple[dict[str, object], Headers, bytes, str]] = [
    ({"preset": "github"}, github, BODY, "1-2-3"),
    ({"preset": "stripe"}, stripe, b'{"id": "evt_1", "type": "charge.succeeded"}', "evt_1"),
    ({"preset": "standard-webhooks"}, standard, BODY, "msg_1"),
    ({"preset": "slack"}, slack, b'{"type": "event_callback", "event_id": "Ev1"}', "Ev1"),
    (CUSTOM, custom, bytes(range(256)), "no-7"),
]
NAMES = ["github", "stripe", "standard", "slack", "custom"]


@pytest.mark.parametrize(("webhook", "headers", "body", "identifier"), EACH, ids=NAMES)
def test_a_signed_delivery_is_a_job_before_its_answer_and_once(
    ours: Running, webhook: dict[str, object], headers: Headers, body: bytes, identifier: str
) -> None:
    name = f"takes-{webhook['preset']}"
    secret = base64.b64encode(SECRET.encode()).decode() if headers is standard else SECRET
    deploy(ours, name, webhook, secret)
    first = ours.call("POST", f"/fn/{name}/below?x=1&x=2", body, headers(body) | {"x-more": "kept"})
    (job,) = jobs(ours, name)
    assert (first.status, first.json) == (202, {"job": job.id})
    again = ours.call("POST", f"/fn/{name}/below?x=1&x=2", body, headers(body))
    assert (again.status, again.json) == (202, {"job": job.id})
    assert jobs(ours, name) == [job]
    of_body = f" {hashlib.sha256(body).hexdigest()}" if webhook["preset"] in ("github", "custom") else ""  # not signed
    assert job.key == f"webhook:{identifier}{of_body}"
    request = job.request
    assert (request.method, request.path, request.query_string) == ("POST", f"/fn/{name}/below", "x=1&x=2")
    assert (request.body, request.trigger, request.params) == (body, Trigger.JOB, (("rest", "below"),))
    assert dict(request.headers)["x-more"] == "kept"
    assert secret.encode() not in msgspec.msgpack.encode(request)
    assert json.loads(request.event) == {"webhook": webhook["preset"], "id": identifier}


@pytest.mark.parametrize(("webhook", "headers", "body", "_"), EACH, ids=NAMES)
def test_what_is_not_signed_as_it_should_be_is_refused_and_stores_nothing(
    ours: Running, webhook: dict[str, object], headers: Headers, body: bytes, _: str
) -> None:
    name = f"doubts-{webhook['preset']}"
    secret = base64.b64encode(SECRET.encode()).decode() if headers is standard else SECRET
    deploy(ours, name, webhook, secret)
    signed = headers(body)
    for sent, said in (
        (ours.call("POST", f"/fn/{name}", body + b" ", signed), "is not that of this body"),
        (ours.call("POST", f"/fn/{name}", body), "is missing: this takes signed webhooks"),
        (ours.call("POST", f"/fn/{name}", b"", signed), "is not that of this body"),
    ):
        assert (sent.status, sent.problem) == (401, "unauthorized")
        assert said in sent.json["detail"]
        assert not [one for one in (secret, SECRET, hex_of(body)) if one in sent.body.decode()]
    assert jobs(ours, name) == []


def test_a_delivery_runs_once_and_sees_what_was_sent(ours: Running) -> None:
    deploy(ours, "runs-hook", {"preset": "github"})
    ours.deploy(
        "runs-hook",
        """return function(request)
      return { runs = kv.incr("runs"), trigger = request.trigger, event = request.event, method = request.method,
        of = request.headers["x-github-event"], zen = request:json().zen, rest = request.params.rest }
    end""",
    )
    answers = [ours.call("POST", "/fn/runs-hook/below", BODY, github(BODY, "once")).json for _ in range(3)]
    answers += [ours.call("POST", "/fn/runs-hook/below", BODY, github(BODY, "last")).json]
    assert answers[0] == answers[1] == answers[2] != answers[3]
    ended = [
        eventually(lambda job=job: ours.api("GET", f"jobs/{job}").json, lambda it: it["state"] == "done")  # type: ignore[misc]
        for job in (answers[0]["job"], answers[3]["job"])
    ]
    seen = [json.loads(it["result"]["body"]) for it in ended]
    assert sorted(it.pop("runs") for it in seen) == [1, 2]
    common = {"trigger": "job", "method": "POST", "of": "ping", "zen": "Keep it logically awesome.", "rest": "below"}
    assert seen == [common | {"event": {"webhook": "github", "id": id_}} for id_ in ("once", "last")]


def test_deliveries_of_the_same_at_once_are_one_job(ours: Running) -> None:
    deploy(ours, "crowded", {"preset": "github"})
    headers = github(BODY, "at-once")

    def deliver(_: int) -> Answer:
        answer = ours.call("POST", "/fn/crowded", BODY, headers)
        return deliver(_) if answer.status == 503 else answer  # as its sender would: this machine may be busy

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(deliver, range(48)))
    (job,) = jobs(ours, "crowded")
    assert {(it.status, it.json["job"]) for it in answers} == {(202, job.id)}
    assert ours.call("POST", "/fn/crowded", BODY, github(BODY, "another")).json != {"job": job.id}
    assert len(jobs(ours, "crowded")) == 2


@pytest.mark.parametrize(("webhook", "headers"), [({"preset": "github"}, github), (CUSTOM, custom)])
def test_who_has_one_delivery_cannot_take_the_id_of_another(
    ours: Running, webhook: dict[str, object], headers: Headers
) -> None:
    name = f"claimed-{webhook['preset']}"
    deploy(ours, name, webhook)
    seen, real = b'{"n": 1}', b'{"n": 2}'
    of_real = {key: value for key, value in headers(real).items() if "delivery" in key or "id" in key}
    assert of_real, "it has an id"
    assert ours.call("POST", f"/fn/{name}", seen, headers(seen) | of_real).status == 202
    for _ in range(2):
        assert ours.call("POST", f"/fn/{name}", real, headers(real)).status == 202
    assert [job.request.body for job in jobs(ours, name)] == [seen, real]


def test_without_an_id_what_was_signed_is_stored_once(ours: Running) -> None:
    deploy(ours, "nameless", {"preset": "github"})
    headers = github(BODY)
    del headers["x-github-delivery"]
    assert {ours.call("POST", "/fn/nameless", BODY, headers).status for _ in range(2)} == {202}
    assert [job.key for job in jobs(ours, "nameless")] == ["webhook:sha256:" + hashlib.sha256(BODY).hexdigest()]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_post_is_taken(ours: Running, method: str) -> None:
    deploy(ours, "posts", {"preset": "github"})
    answer = ours.call(method, "/fn/posts", headers=github(b""))
    assert (answer.status, answer.header("allow")) == (405, "POST")
    assert jobs(ours, "posts") == []


def test_a_route_leads_there_as_well(ours: Running) -> None:
    deploy(ours, "routed", {"preset": "github"})
    ours.api("POST", "routes", {"method": "POST", "path": "/hooks/{of}", "script": "routed"})
    assert ours.call("POST", "/hooks/mine", BODY, github(BODY)).status == 202
    assert [job.request.params for job in jobs(ours, "routed")] == [(("of", "mine"),)]


def test_slacks_challenge_is_answered_once_it_is_verified_and_stores_nothing(ours: Running) -> None:
    deploy(ours, "challenged", {"preset": "slack"})
    body = b'{"type": "url_verification", "challenge": "<b>3eZbrw1a</b>", "token": "x"}'
    answer = ours.call("POST", "/fn/challenged", body, slack(body))
    assert (answer.status, answer.body) == (200, b"<b>3eZbrw1a</b>")
    assert answer.header("content-type") == "text/plain; charset=utf-8"
    assert answer.header("x-content-type-options") == "nosniff"
    assert ours.call("POST", "/fn/challenged", body, slack(b"other")).status == 401
    assert jobs(ours, "challenged") == []


def test_a_new_secret_is_live_and_two_are_good_while_one_replaces_the_other(ours: Running) -> None:
    deploy(ours, "rotated", {"preset": "github"}, "old")

    def taken(secret: str) -> bool:
        headers = github(BODY, secret=secret)
        with ThreadPoolExecutor(8) as threads:  # on every worker
            statuses = set(threads.map(lambda _: ours.call("POST", "/fn/rotated", BODY, headers).status, range(8)))
        assert statuses in ({202}, {401})
        return statuses == {202}

    assert (taken("old"), taken("new")) == (True, False)
    ours.api("PUT", "secrets/OF_ROTATED", {"value": "new\nold"})
    assert (taken("old"), taken("new")) == (True, True)
    ours.api("PUT", "secrets/OF_ROTATED", {"value": "new\n"})
    assert (taken("old"), taken("new")) == (False, True)
    ours.api("DELETE", "secrets/OF_ROTATED")
    assert (taken("old"), taken("new")) == (False, False)


@pytest.mark.parametrize("value", [None, "whsec_none, and no base64"])
def test_without_a_secret_that_can_sign_nobody_is_believed(ours: Running, value: str | None) -> None:
    deploy(ours, "unready", {"preset": "standard-webhooks"})
    if value is None:
        ours.api("DELETE", "secrets/OF_UNREADY")
    else:
        ours.api("PUT", "secrets/OF_UNREADY", {"value": value})
    answer = ours.call("POST", "/fn/unready", BODY, standard(BODY))
    assert (answer.status, answer.problem) == (401, "unauthorized")
    assert "is not set, or is none that webhooks are signed with" in answer.json["detail"]
    assert not [one for one in ("UNREADY", "base64", SECRET) if one in answer.body.decode()]


def test_the_signature_is_the_access_and_a_token_is_not_the_scripts_to_learn(ours: Running) -> None:
    deploy(ours, "guarded-hook", {"preset": "github"}, access="token")
    assert ours.call("POST", "/fn/guarded-hook", BODY, github(BODY)).status == 202
    token = {"authorization": f"Bearer {ours.token}"}
    assert ours.call("POST", "/fn/guarded-hook", BODY, token).status == 401
    assert ours.call("POST", "/fn/guarded-hook", BODY, github(BODY, "2") | token).status == 202
    assert ours.call("POST", "/fn/guarded-hook", BODY, github(BODY, "3") | {"authorization": "Basic x"}).status == 202
    sent = [dict(job.request.headers).get("authorization") for job in jobs(ours, "guarded-hook")]
    assert sent == [None, None, "Basic x"]


def test_the_script_does_not_get_the_secret_and_by_hand_it_runs_as_ever(ours: Running) -> None:
    deploy(ours, "curious", {"preset": "github"})
    ours.deploy("curious", "return function() return secrets.get('OF_CURIOUS') end")
    answer = ours.api("POST", "scripts/curious/invoke", b"x")
    assert (answer.status, "is not granted to this script" in answer.json["detail"]) == (500, True)
    assert "curious" in ours.api("GET", "secrets/OF_CURIOUS").json["scripts"]


def test_a_body_over_the_limit_is_refused_unread(ours: Running) -> None:
    deploy(ours, "short-hook", {"preset": "github"}, limits={"request_bytes": 10})
    assert ours.call("POST", "/fn/short-hook", b"x" * 11, github(b"x" * 11)).problem == "body-too-large"
    assert ours.call("POST", "/fn/short-hook", b"x" * 10, github(b"x" * 10)).status == 202


def test_pages_of_other_origins_are_answered_as_cors_says(ours: Running) -> None:
    deploy(ours, "shared-hook", {"preset": "github"}, cors={"origins": ["https://page.example"]})
    origin = {"origin": "https://page.example"}
    asked = ours.call("OPTIONS", "/fn/shared-hook", headers=origin | {"access-control-request-method": "POST"})
    assert asked.status == 204
    for headers, status in ((github(BODY), 202), ({}, 401)):
        answer = ours.call("POST", "/fn/shared-hook", BODY, headers | origin)
        assert (answer.status, answer.header("access-control-allow-origin")) == (status, "https://page.example")


def test_a_request_does_not_become_the_jobs_idempotency_key(ours: Running) -> None:
    deploy(ours, "keyed-hook", {"preset": "github"}, idempotency=True)
    assert ours.call("POST", "/fn/keyed-hook", BODY, github(BODY) | {"idempotency-key": "k"}).status == 202
    assert [job.request.idempotency_key for job in jobs(ours, "keyed-hook")] == [None]


def test_settings_show_what_holds_and_take_it_back(ours: Running) -> None:
    path = "scripts/shown/settings"
    deploy(ours, "shown", {"preset": "custom"})
    held = {
        "preset": "custom", "secret": "OF_SHOWN", "header": "x-signature", "algorithm": "sha256", "encoding": "hex",
        "prefix": "", "timestamp_header": None, "tolerance_s": 300, "id_header": None,
    }  # fmt: skip
    assert ours.api("GET", path).json["webhook"] == held
    assert ours.api("PATCH", path, {"webhook": held}).json["webhook"] == held
    changed = ours.api("PATCH", path, {"webhook": {"preset": "custom", "secret": "OF_SHOWN", "header": "X-A"}})
    assert changed.json["webhook"] == held | {"header": "x-a"}
    blank = dict.fromkeys(held) | {"preset": "github", "secret": "OF_SHOWN"}
    answer = ours.api("PATCH", path, {"webhook": {"preset": "github", "secret": "OF_SHOWN"}})
    assert answer.json["webhook"] == blank
    assert ours.api("PATCH", path, {"webhook": blank}).json["webhook"] == blank
    again = ours.api("PATCH", path, {"webhook": {"preset": "custom", "secret": "OF_SHOWN"}})
    assert again.json["webhook"] == held  # nothing of before waits unseen
    assert ours.api("PATCH", path, {"webhook": None}).json["webhook"] is None
    assert ours.call("GET", "/fn/shown").status == 200


def test_the_command_line_and_a_bundle_set_it(ours: Running, tmp_path: Path) -> None:
    ours.deploy("by-hand", SOURCE)
    run = ours.cli("settings", "set", "by-hand", "webhook.preset=github", "webhook.secret=HOOKS")
    assert run.returncode == 0, run.stderr
    shown = ours.cli("settings", "show", "by-hand").stdout.decode()
    assert "webhook.preset: github\nwebhook.secret: HOOKS\n" in shown
    refused = ours.cli("settings", "set", "by-hand", "webhook.preset=slack")
    assert (refused.returncode, b"webhook.secret: is missing" in refused.stderr) == (1, True)
    assert ours.cli("settings", "set", "by-hand", "webhook=null").returncode == 0
    (tmp_path / "main.lua").write_text(SOURCE)
    (tmp_path / "picloud.toml").write_text('[settings.webhook]\npreset = "stripe"\nsecret = "STRIPE"\n')
    run = ours.cli("deploy", str(tmp_path), "--name", "by-bundle")
    assert run.returncode == 0, run.stderr
    assert ours.api("GET", "scripts/by-bundle/settings").json["webhook"]["preset"] == "stripe"


def test_a_limited_token_names_no_secret_and_keeps_the_one_that_is_there(ours: Running) -> None:
    deploy(ours, "kept-hook", {"preset": "github"})
    secret = new_secret()
    with closing(Pool(ours.database_url, size=1, wait_ms=5_000)) as pool:
        TokenTable(pool).add("limited to hooks", secret, [Scope.DEPLOY], scripts=("kept-hook", "new-hook"))
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}

    def patch(script: str, webhook: object) -> Answer:
        body = json.dumps({"webhook": webhook}).encode()
        return ours.call("PATCH", f"/api/v1/scripts/{script}/settings", body, headers)

    assert patch("kept-hook", {"preset": "slack", "secret": "OF_KEPT_HOOK"}).status == 200
    refused = patch("kept-hook", {"preset": "slack", "secret": "OTHERS"})
    assert refused.problem == "forbidden"
    assert "may not add 'OTHERS' to the setting 'webhook'" in refused.json["detail"]
    assert patch("kept-hook", None).status == 200
    assert patch("kept-hook", {"preset": "slack", "secret": "OF_KEPT_HOOK"}).problem == "forbidden"
    files = {"main.lua": SOURCE, "picloud.toml": '[settings.webhook]\npreset = "github"\nsecret = "OTHERS"\n'}
    body = json.dumps({"files": files}).encode()
    assert ours.call("PUT", "/api/v1/scripts/new-hook", body, headers).problem == "forbidden"


def test_while_the_database_is_away_it_is_to_be_delivered_again(ours: Running) -> None:
    deploy(ours, "patient", {"preset": "github"})
    await_listeners(ours)
    for _ in ours.by_each_worker():  # which then knows script and secret
        assert ours.call("POST", "/fn/patient", BODY, github(BODY, "before")).status == 202
    with database_away(ours):
        answer = ours.call("POST", "/fn/patient", BODY, github(BODY, "again"))
        assert (answer.status, answer.problem) == (503, "database-unavailable")
        assert ours.call("POST", "/fn/patient", BODY, github(b"")).status == 401
    assert ours.call("POST", "/fn/patient", BODY, github(BODY, "again")).status == 202
    ids = [json.loads(job.request.event)["id"] for job in jobs(ours, "patient")]
    assert ids == ["before", "again"]


def test_a_script_that_is_at_its_limit_misses_no_delivery(ours: Running) -> None:
    ours.deploy("busy-hook", "return function() while true do end end")
    assert ours.api("PUT", "secrets/OF_BUSY_HOOK", {"value": SECRET}).status in (200, 201)
    limits = {"concurrency": 1, "wall_ms": 60_000, "cpu_ms": 60_000}
    ours.set("busy-hook", {"limits": limits})
    with ours.spinning("/fn/busy-hook", 1):
        assert ours.call("GET", "/fn/busy-hook").problem == "concurrency-limit"
        ours.deploy("busy-hook", SOURCE)  # the jobs are not to compute for ever
        ours.set("busy-hook", {"limits": limits, "webhook": {"preset": "github", "secret": "OF_BUSY_HOOK"}})
        sent = [ours.call("POST", "/fn/busy-hook", BODY, github(BODY, str(number))).status for number in range(3)]
    assert sent == [202] * 3
    assert len(jobs(ours, "busy-hook")) == 3
