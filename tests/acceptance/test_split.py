"""The services apart: each serves its own and goes on without the other; what one changes, the other sees at once."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from picloud.api import openapi
from picloud.api.apps import EVERYWHERE, MANAGER, ORCHESTRATOR, every_path
from picloud.api.tables import Role
from picloud.dashboard.front import Front
from picloud.messages.endpoint import declared
from tests.acceptance.following import following
from tests.acceptance.test_idle import seen, settled
from tests.documents import blocks
from tests.running import PATIENCE_S, ROOT, Answer, Running, eventually
from tests.split import Split, split

IDLE_S = 10


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    with split(tmp_path_factory.mktemp("split") / "data") as it:
        it.manager.deploy("hello", "return 'hello'")
        yield it


def text(ours: Split, path: str) -> str:
    """What a script answers."""
    answer = ours.orchestrator.call("GET", path)
    assert answer.status == 200, answer
    return answer.body.decode()


def is_elsewhere(answer: Answer, whose: Role) -> bool:
    """Whether it says that the path is another service's."""
    return answer.status == 404 and f"is {whose}'s to answer" in answer.body.decode()


def ask(service: Running, method: str, path: str, **headers: str) -> Answer:
    """Any method; what HEAD would say is in GET's answer."""
    return service.call(method.upper(), path, headers={"authorization": f"Bearer {service.token}", **headers})


# ── whose is what ───────────────────────────────────────────────────────────────────────────────────────────────────


def endpoints(*rows: tuple[str, object]) -> Iterator[tuple[str, str]]:
    """Each method and path that is declared."""
    for template, resource in rows:
        for method in ("get", "put", "post", "patch", "delete"):
            if declared(resource, method):
                yield method, template.replace("{key:path}", "a/b").replace("{", "").replace("}", "")


@pytest.mark.parametrize(
    ("role", "paths"),
    [
        (Role.MANAGER, [row.path for row in MANAGER]),
        (Role.ORCHESTRATOR, [row.path for row in ORCHESTRATOR]),
        (None, [row.path for row in EVERYWHERE]),
    ],
    ids=["the manager's", "the orchestrator's", "everybody's"],
)
def test_each_path_is_answered_by_whose_it_is_and_nobody_else(ours: Split, role: Role | None, paths: list[str]) -> None:
    asked = 0
    for method, path in endpoints(*(row for row in every_path(Front) if row[0] in paths)):
        for service, other in ((ours.manager, Role.ORCHESTRATOR), (ours.orchestrator, Role.MANAGER)):
            answer = ask(service, method, path)
            assert is_elsewhere(answer, other) == (role is other), (method, path, answer)
            assert answer.status != 401, (method, path, answer)
            asked += 1
    assert asked >= 2 * len(paths)


def test_whose_a_path_is_needs_no_token(ours: Split) -> None:
    assert is_elsewhere(ours.manager.call("GET", "/api/v1/logs"), Role.ORCHESTRATOR)
    assert is_elsewhere(ours.orchestrator.call("GET", "/api/v1/tokens"), Role.MANAGER)
    assert ours.manager.call("GET", "/api/v1/tokens").problem == "unauthorized"
    assert ours.orchestrator.call("GET", "/api/v1/logs").problem == "unauthorized"
    assert ours.manager.call("GET", "/api/v1/nothing").problem == "unauthorized"
    for service in (ours.manager, ours.orchestrator):
        assert ask(service, "GET", "/api/v1/nothing").json["detail"] == "There is nothing here."


def test_what_is_the_scripts_is_the_orchestrators(ours: Split) -> None:
    for path in ("/fn/hello", "/fn/nobody", "/a/route/perhaps"):
        answer = ours.manager.call("POST", path, b"x")
        assert is_elsewhere(answer, Role.ORCHESTRATOR)
        assert answer.problem == "not-found"
    assert text(ours, "/fn/hello") == "hello"
    assert "picloud" not in ours.orchestrator.call("GET", "/a/route/perhaps").json["detail"]


def test_the_manager_tells_of_the_whole_api(ours: Split) -> None:
    told = ours.manager.call("GET", "/openapi.json").json
    assert told == openapi.document(every_path(Front)) | {"components": told["components"]}
    assert {"/api/v1/scripts/{script}", "/api/v1/scripts/{script}/invoke", "/api/v1/logs"} <= told["paths"].keys()


def test_both_are_alive_and_ready_and_the_manager_has_the_page(ours: Split) -> None:
    for service in (ours.manager, ours.orchestrator):
        assert service.call("GET", "/healthz").json == {"status": "ok"}
        assert service.call("GET", "/readyz").json["checks"] == {"database": "ok", "executor": "ok"}
    page = ask(ours.manager, "GET", "/", accept="text/html")
    assert (page.status, page.header("content-type")) == (200, "text/html; charset=utf-8")
    assert "hello" in page.body.decode()


# ── what one changes ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_next_call_sees_what_was_deployed(ours: Split) -> None:
    for number in range(20):
        ours.manager.deploy("live", f"return 'version {number}'")
        assert text(ours, "/fn/live") == f"version {number}"
    assert ours.manager.api("PUT", "scripts/live/active", {"version": 1}).status == 200
    assert text(ours, "/fn/live") == "version 0"
    assert ours.manager.api("DELETE", "scripts/live").status == 204
    assert ours.orchestrator.call("GET", "/fn/live").status == 404


def test_each_worker_sees_it(ours: Split) -> None:
    ours.manager.deploy("each", "return 'before'")
    for _ in ours.orchestrator.by_each_worker():
        assert text(ours, "/fn/each") == "before"
    ours.manager.deploy("each", "return 'after'")
    for _ in ours.orchestrator.by_each_worker():
        assert text(ours, "/fn/each") == "after"


def test_the_next_call_sees_a_route_come_and_go(ours: Split) -> None:
    added = ours.manager.api("POST", "routes", {"path": "/hi/{name}", "script": "hello"})
    assert added.status == 201
    assert text(ours, "/hi/you") == "hello"
    assert ours.manager.api("DELETE", f"routes/{added.json['id']}").status == 204
    assert ours.orchestrator.call("GET", "/hi/you").status == 404


def test_a_host_of_its_own_has_its_first_page(ours: Split) -> None:
    route = {"path": "/", "host": "inn.example", "script": "hello"}
    assert ours.manager.api("POST", "routes", route).status == 201
    assert ours.orchestrator.call("GET", "/", headers={"host": "inn.example"}).body == b"hello"
    assert is_elsewhere(ours.orchestrator.call("GET", "/"), Role.MANAGER)


def test_the_next_call_sees_settings_and_a_token_that_is_gone(ours: Split) -> None:
    ours.manager.deploy("closed", "return 'open to few'")
    ours.manager.set("closed", {"access": "token"})
    assert ours.orchestrator.call("GET", "/fn/closed").status == 401
    made = ours.manager.api("POST", "tokens", {"name": "caller", "scopes": ["invoke"]}).json
    bearer = {"authorization": f"Bearer {made['token']}"}
    for _ in range(4):
        assert ours.orchestrator.call("GET", "/fn/closed", headers=bearer).status == 200
    used = eventually(
        lambda: ours.manager.api("GET", f"tokens/{made['id']}").json["last_used_at"], lambda at: at is not None
    )
    assert used >= made["created_at"]
    assert ours.manager.api("DELETE", f"tokens/{made['id']}").status == 204
    for _ in range(4):
        assert ours.orchestrator.call("GET", "/fn/closed", headers=bearer).status == 401


def test_a_secret_reaches_the_script_and_so_does_another_value(ours: Split) -> None:
    ours.manager.deploy("sealed", "return tostring((secrets.get('KEY')))")
    ours.manager.set("sealed", {"secrets": ["KEY"]})
    for value in ("one of them", "another"):
        assert ours.manager.api("PUT", "secrets/KEY", {"value": value}).status in (200, 201)
        assert text(ours, "/fn/sealed") == value


def test_values_are_seen_by_both(ours: Split) -> None:
    ours.manager.deploy("counts", "return tostring(kv.incr('hits'))")
    assert text(ours, "/fn/counts") == "1"
    assert ours.manager.api("PUT", "scripts/counts/kv/hits", 41).status == 200
    assert text(ours, "/fn/counts") == "42"


def test_a_follower_of_the_log_hears_and_ends_with_its_token(ours: Split) -> None:
    ours.manager.deploy("heard", "log.info('asked')")
    made = ours.manager.api("POST", "tokens", {"name": "follower", "scopes": ["read"]}).json
    with following(ours.orchestrator, "&script=heard", token=made["token"]) as follower:
        record = ours.orchestrator.record_of(ours.orchestrator.call("GET", "/fn/heard"))
        assert record["script"] == "heard"
        assert follower.messages(1) == ["asked"]
        assert ours.manager.api("DELETE", f"tokens/{made['id']}").status == 204
        assert follower.rest() == b""


# ── jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_that_was_asked_for_is_run_by_the_dispatcher(ours: Split) -> None:
    answer = ours.orchestrator.call("POST", "/fn/hello", b"x", {"prefer": "respond-async"})
    assert answer.status == 202
    path = f"jobs/{answer.json['job']}"
    assert (
        eventually(lambda: ours.orchestrator.api("GET", path).json["state"], lambda it: it not in ("queued", "running"))
        == "done"
    )


def test_an_event_that_the_manager_takes_is_heard_at_once(ours: Split) -> None:
    assert ours.manager.api("POST", "subscriptions", {"type": "till.*", "script": "hello"}).status == 201
    event = b'{"specversion": "1.0", "id": "1", "source": "/till", "type": "till.opened"}'
    published = ours.manager.api("POST", "events", event, "application/cloudevents+json")
    assert published.json["items"][0]["jobs"] == 1
    eventually(
        lambda: ours.orchestrator.api("GET", "invocations?script=hello&trigger=event").json["items"],
        lambda items: [it["outcome"] for it in items] == ["ok"],
    )


# ── behind a proxy ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def proxied(ours: Split, tmp_path: Path) -> Iterator[Running]:
    """Both behind Caddy, as the documentation has it."""
    proxy = Running(ours.manager.data, {})
    (told,) = [it.text for it in blocks(ROOT / "docs" / "http-api.md", "text") if "reverse_proxy" in it.text]
    text = "{\n\tadmin off\n}\n" + told
    for theirs, here in {
        "picloud.example, shop.example": f"http://:{proxy.port}",
        "host picloud.example": "host 127.0.0.1",
        "unix//run/picloud/manager.sock": f"127.0.0.1:{ours.manager.port}",
        "unix//run/picloud/orchestrator.sock": f"127.0.0.1:{ours.orchestrator.port}",
    }.items():
        assert theirs in text
        text = text.replace(theirs, here)
    (tmp_path / "Caddyfile").write_text(text)
    with (tmp_path / "log").open("wb") as log:
        caddy = subprocess.Popen(
            ["caddy", "run", "--adapter", "caddyfile", "--config", tmp_path / "Caddyfile"],
            env={**os.environ, "HOME": str(tmp_path)}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        eventually(lambda: listens(proxy.port) or caddy.poll() is not None, bool)
        assert caddy.poll() is None, (tmp_path / "log").read_text()
        yield proxy
    finally:
        caddy.terminate()
        caddy.wait(PATIENCE_S)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_clients_see_one_picloud(ours: Split, proxied: Running) -> None:
    for method, path in endpoints(*every_path(Front)):
        answer = ask(proxied, method, path)
        assert not is_elsewhere(answer, Role.MANAGER), (method, path)
        assert not is_elsewhere(answer, Role.ORCHESTRATOR), (method, path)
    proxied.deploy("seen", "return function(r) log.info('asked') return r.host end")
    with following(proxied, "&script=seen") as follower:
        assert proxied.call("GET", "/fn/seen").body.decode() == f"127.0.0.1:{proxied.port}"
        assert follower.messages(1) == ["asked"]
    assert proxied.api("POST", "routes", {"path": "/", "host": "shop.example", "script": "seen"}).status == 201
    assert proxied.call("GET", "/", headers={"host": "shop.example"}).body == b"shop.example"
    assert b"PiCloud" in ask(proxied, "GET", "/", accept="text/html").body


# ── the one without the other ───────────────────────────────────────────────────────────────────────────────────────


def test_the_orchestrator_goes_on_without_the_manager(ours: Split) -> None:
    ours.manager.deploy("hello", "return 'hello'")
    assert ours.manager.stop(signal.SIGKILL) == -signal.SIGKILL
    try:
        for _ in range(10):
            assert text(ours, "/fn/hello") == "hello"
        assert ours.orchestrator.api("GET", "logs").status == 200
        assert ours.orchestrator.call("GET", "/readyz").status == 200
    finally:
        ours.manager.start()
    ours.manager.deploy("hello", "return 'hello again'")
    assert text(ours, "/fn/hello") == "hello again"


def test_the_manager_goes_on_without_the_orchestrator(ours: Split) -> None:
    assert ours.orchestrator.stop(signal.SIGKILL) == -signal.SIGKILL
    try:
        ours.manager.deploy("hello", "return 'deployed meanwhile'")
        assert ours.manager.api("GET", "scripts/hello").status == 200
        assert ours.manager.call("GET", "/readyz").status == 200
    finally:
        ours.orchestrator.start()
    assert text(ours, "/fn/hello") == "deployed meanwhile"


def test_the_manager_needs_the_executor_for_uploads_alone(ours: Split) -> None:
    ours.executor.stop(signal.SIGKILL)
    try:
        assert ours.manager.api("PUT", "scripts/new", b"return 1", "text/x-lua").problem == "executor-lost"
        assert ours.manager.api("PATCH", "scripts/hello/settings", {"env": {"A": "b"}}).status == 200
        assert ours.manager.api("GET", "scripts").status == 200
        ready = ours.manager.call("GET", "/readyz")
        assert (ready.status, ready.json["checks"]["database"]) == (503, "ok")
    finally:
        ours.executor.start()
    ours.manager.deploy("new", "return 1")


def test_each_stops_when_it_is_told_to_and_is_there_again(ours: Split) -> None:
    for service in ours.all:
        assert service.stop() == 0, service.module
        service.start()
    ours.manager.deploy("hello", "return 'hello'")
    assert text(ours, "/fn/hello") == "hello"


def test_at_rest_neither_wakes_up(ours: Split) -> None:
    for path in ("/readyz", "/fn/hello"):
        ours.manager.call("GET", path)
        ours.orchestrator.call("GET", path)
    both = (ours.manager, ours.orchestrator)
    before = [settled(it) for it in both]
    time.sleep(IDLE_S)  # not in hope: the length of the measurement
    assert [seen(it) for it in both] == before
