"""Routes, from the API's answer to the script's: live at once on every worker, looked up without SQL."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from picloud.auth import Scope, digest, new_secret
from tests.fixtures_postgres import execute
from tests.running import Answer, Running, eventually, running

SHOW = """
return function(request)
  return { headers = { ["x-script"] = "NAME", ["x-method"] = request.method },
    body = { method = request.method, path = request.path, params = request.params } }
end
"""

Add = Callable[[str, str], Answer]  # `add(script, "METHOD [HOST]PATH")` → what the API answers


@pytest.fixture
def add(picloud: Running) -> Iterator[Add]:
    """Adds routes to scripts that answer with what they see; all are gone afterwards."""
    names: set[str] = set()

    def add_one(script: str, text: str) -> Answer:
        if script not in names:
            picloud.deploy(script, SHOW.replace("NAME", script))
            names.add(script)
        method, _, place = text.partition(" ")
        host, slash, path = place.partition("/")
        wanted = {"method": method, "host": host or None, "path": slash + path, "script": script}
        return picloud.api("POST", "routes", wanted)

    yield add_one
    for name in names:
        picloud.api("DELETE", f"scripts/{name}")


def who(answer: Answer) -> str | None:
    return answer.header("x-script")


def with_token(picloud: Running, secret: str, method: str, path: str, body: object = None) -> Answer:
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
    return picloud.call(method, f"/api/v1/{path}", None if body is None else json.dumps(body).encode(), headers)


def limited_token(picloud: Running, *scripts: str) -> str:
    secret = new_secret()
    execute(
        picloud.database_url,
        "INSERT INTO tokens (name, secret_hash, scopes, scripts) VALUES (%s, %s, '{read,deploy}', %s)",
        secret[:12], digest(secret), list(scripts),
    )  # fmt: skip
    return secret


def wait_for_records(picloud: Running, number: int) -> None:
    url = picloud.database_url
    eventually(lambda: execute(url, "SELECT count(*) FROM invocations"), lambda rows: rows == [(number,)])


def settled(picloud: Running) -> Mapping[int, object]:
    """The same once what is done off the path is done: the token's use is noted, what is too old is gone."""

    def twice() -> tuple[Mapping[int, object], Mapping[int, object]]:
        first = statements(picloud)
        time.sleep(1)  # not in hope: two looks that are the same, this far apart
        return first, statements(picloud)

    return eventually(twice, lambda looks: looks[0] == looks[1])[1]


def statements(picloud: Running) -> Mapping[int, object]:
    """When each connection of the server sent its last statement."""
    rows = execute(
        picloud.database_url,
        "SELECT pid, query_start FROM pg_stat_activity WHERE application_name = 'picloud' AND pid <> pg_backend_pid()",
    )
    return {int(str(pid)): started for pid, started in rows}


def test_a_route_is_shown_as_it_is(picloud: Running, add: Add) -> None:
    answer = add("one", "get A.example/u/{x}")
    route = answer.json
    assert answer.status == 201
    assert answer.header("location") == f"/api/v1/routes/{route['id']}"
    assert route == {"id": route["id"], "method": "GET", "host": "a.example", "path": "/u/{x}", "script": "one"}
    assert picloud.api("GET", f"routes/{route['id']}").json == route
    assert picloud.api("GET", "routes?script=one").json == {"items": [route], "next": None}
    assert picloud.api("DELETE", f"routes/{route['id']}").status == 204
    for method in ("GET", "DELETE"):
        assert picloud.api(method, f"routes/{route['id']}").problem == "not-found"


def test_a_route_is_for_any_method_and_host_unless_it_says_so(picloud: Running, add: Add) -> None:
    picloud.deploy("one", SHOW)
    route = picloud.api("POST", "routes", {"path": "/plain", "script": "one"}).json
    assert (route["method"], route["host"]) == ("ANY", None)
    picloud.api("DELETE", "scripts/one")


def test_a_target_in_absolute_form_names_its_host_and_may_lack_a_path(picloud: Running, add: Add) -> None:
    add("one", "GET pi.example/")
    add("one", "GET pi.example/abs")
    for target, status in {
        "http://pi.example": b"200", "http://pi.example?x": b"200", "http://pi.example/abs": b"200",
        "http://other.example/abs": b"404", "http://": b"200", "http://[": b"400",
    }.items():  # fmt: skip
        answer = picloud.raw(f"GET {target} HTTP/1.1\r\nHost: pi.example\r\nConnection: close\r\n\r\n".encode())
        assert answer.split()[1] == status, (target, answer)


def test_routes_are_listed_by_script_and_in_pages(picloud: Running, add: Add) -> None:
    routes = [add(script, f"GET /{script}{number}").json for number in range(3) for script in ("one", "two")]
    assert picloud.api("GET", "routes?script=one").json["items"] == routes[::2]
    assert picloud.api("GET", "routes?script=none").json["items"] == []
    before = routes[0]["id"] - 1  # others' routes may be there already
    first = picloud.api("GET", f"routes?limit=4&after={before}").json
    second = picloud.api("GET", f"routes?limit=4&after={first['next']}").json
    assert (first["items"] + second["items"], second["next"]) == (routes, None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"path": "/api/x", "script": "one"}, "path"),
        ({"path": "/", "script": "one"}, "path"),
        ({"path": "/a", "script": "one", "method": "TRACE"}, "method"),
        ({"path": "/a", "script": "one", "host": "a:80"}, "host"),
        ({"path": 1, "script": "one"}, "path"),
        ({"path": "/a", "script": "one", "hots": "a"}, "hots"),
    ],
)
def test_what_is_no_route_is_refused_by_field(picloud: Running, add: Add, body: object, field: str) -> None:
    add("one", "GET /there")
    answer = picloud.api("POST", "routes", body)
    assert (answer.status, answer.problem) == (422, "invalid-request")
    assert [error["field"] for error in answer.json["errors"]] == [field]


def test_a_route_to_no_script_is_not_found_and_one_of_the_same_shape_is_a_conflict(picloud: Running, add: Add) -> None:
    assert picloud.api("POST", "routes", {"path": "/a", "script": "none"}).problem == "not-found"
    add("one", "GET /u/{x}")
    answer = add("two", "GET /u/{y}")
    assert (answer.status, answer.problem) == (409, "conflict")
    assert answer.json["detail"] == "'GET /u/{y}' clashes with 'GET /u/{x}' of script 'one'"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
def test_every_method_reaches_the_script_with_path_and_parameters(picloud: Running, add: Add, method: str) -> None:
    add("one", "ANY /u/{user}/{rest*}")
    answer = picloud.call(method, "/u/a%2Fb/c%20d//%C3%A9/?x=1")
    assert answer.status == 200
    assert answer.json == {
        "method": method,
        "path": "/u/a/b/c d//é/",
        "params": {"user": "a/b", "rest": "c d//é/"},
    }
    assert answer.header("picloud-invocation")


def test_the_best_route_answers(picloud: Running, add: Add) -> None:
    for script, route in (
        ("post", "POST /p/a"), ("any", "ANY /p/a"), ("param", "GET /p/{x}"), ("rest", "ANY /p/{rest*}"),
        ("host", "GET h.example/p/{rest*}"), ("deep", "GET /p/{x}/z"),
    ):  # fmt: skip
        assert add(script, route).status == 201
    for method, path, script in (
        ("POST", "/p/a", "post"), ("GET", "/p/a", "any"), ("GET", "/p/b", "param"), ("PUT", "/p/b", "rest"),
        ("GET", "/p/b/z", "deep"), ("GET", "/p/b/y", "rest"), ("GET", "/p/", "rest"),
    ):  # fmt: skip
        assert who(picloud.call(method, path)) == script
    assert picloud.call("GET", "/p").problem == "not-found"
    for host in ("h.example", "H.Example:8080", "h.example."):
        assert who(picloud.call("GET", "/p/a", headers={"host": host})) == "host"
        assert who(picloud.call("POST", "/p/a", headers={"host": host})) == "post"


def test_head_falls_to_get_and_options_is_answered_with_allow(picloud: Running, add: Add) -> None:
    add("one", "GET /h/{x}")
    add("two", "POST /h/a")
    head = picloud.call("HEAD", "/h/a")
    assert (head.status, head.body, who(head), head.header("x-method")) == (200, b"", "one", "HEAD")
    options = picloud.call("OPTIONS", "/h/a")
    assert (options.status, options.body, options.header("allow")) == (204, b"", "GET, HEAD, OPTIONS, POST")
    assert options.header("picloud-invocation") is None
    refused = picloud.call("PUT", "/h/a")
    assert (refused.status, refused.problem) == (405, "method-not-allowed")
    assert refused.header("allow") == "GET, HEAD, OPTIONS, POST"
    add("three", "OPTIONS /h/a")
    assert who(picloud.call("OPTIONS", "/h/a")) == "three"


def test_the_root_of_a_host_is_its_scripts_and_all_others_are_the_platforms(picloud: Running, add: Add) -> None:
    add("one", "GET site.example/")
    add("two", "ANY all.example/{rest*}")
    add("three", "ANY /{rest*}")
    assert who(picloud.call("GET", "/?x=1", headers={"host": "site.example"})) == "one"
    assert picloud.call("POST", "/", headers={"host": "site.example"}).header("allow") == "GET, HEAD, OPTIONS"
    root = picloud.call("GET", "/", headers={"host": "all.example"})
    assert (who(root), root.json["params"]) == ("two", {"rest": ""})
    front = picloud.call("GET", "/")
    assert (front.status, who(front)) == (200, None)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/healthz", 200), ("/healthz/", 404), ("/readyz/x", 404), ("/problems/timeout", 200), ("/problems/none", 404),
        ("/api", 404), ("/api/", 401), ("/api/v1/none", 401), ("/fn", 404), ("/fn/", 404), ("/fn%2Fx", 404),
        ("//api/v1/scripts", 404), ("/%2Fapi/v1/scripts", 404), ("/%2e/api", 200), ("/a%2F..%2Fapi", 200),
    ],
)  # fmt: skip
def test_what_is_the_platforms_never_reaches_a_script(picloud: Running, add: Add, path: str, status: int) -> None:
    add("all", "ANY /{rest*}")
    answer = picloud.call("GET", path)
    assert answer.status == status
    assert (who(answer) == "all") == (path in ("/%2e/api", "/a%2F..%2Fapi"))


def test_an_unknown_endpoint_is_not_found_for_who_is_known(picloud: Running, add: Add) -> None:
    add("all", "ANY /{rest*}")
    assert picloud.api("GET", "none").problem == "not-found"


def test_slashes_at_the_beginning_are_part_of_the_path(picloud: Running, add: Add) -> None:
    add("one", "GET /{x}/end")
    add("two", "GET /{rest*}")
    assert picloud.call("GET", "/%2Fx/end").json["params"] == {"x": "/x"}
    assert picloud.call("GET", "//x").json["params"] == {"rest": "/x"}


def test_a_route_lives_and_dies_with_the_answer_on_every_worker(picloud: Running, add: Add) -> None:
    for _ in range(5):
        route = add("one", "GET /live").json
        assert {answer.status for answer in picloud.at_once(16, "GET", "/live")} == {200}
        picloud.api("DELETE", f"routes/{route['id']}")
        assert {answer.status for answer in picloud.at_once(16, "GET", "/live")} == {404}


def test_another_nodes_route_is_live_once_it_is_announced(picloud: Running, add: Add) -> None:
    add("one", "GET /theirs")
    assert picloud.call("GET", "/theirs").status == 200
    url = picloud.database_url
    execute(url, "UPDATE routes SET path = '/ours', shape = '/ours' WHERE path = '/theirs'")
    execute(url, "SELECT pg_notify('picloud_changes', 'routes ')")
    for _ in range(8):  # whichever worker answers
        eventually(lambda: picloud.call("GET", "/ours"), lambda answer: answer.status == 200)
        eventually(lambda: picloud.call("GET", "/theirs"), lambda answer: answer.status == 404)


def test_the_routes_of_a_deleted_script_are_gone(picloud: Running, add: Add) -> None:
    route = add("one", "GET /gone").json
    picloud.api("DELETE", "scripts/one")
    assert {answer.status for answer in picloud.at_once(8, "GET", "/gone")} == {404}
    assert picloud.api("GET", f"routes/{route['id']}").problem == "not-found"


def test_a_token_limited_to_scripts_takes_and_learns_nothing_of_others(picloud: Running, add: Add) -> None:
    add("one", "GET /private/{name}"), add("two", "GET /public")
    token = limited_token(picloud, "two")
    bundle = {"main.lua": "return 2", "picloud.toml": "[[route]]\nmethod = 'GET'\npath = '/private/{it}'"}
    stored = with_token(picloud, token, "PUT", "scripts/two?activate=false", {"files": bundle})
    assert stored.status == 201
    for method, path, body in (
        ("POST", "routes", {"path": "/private/{it}", "method": "GET", "script": "two"}),
        ("PUT", "scripts/two", {"files": bundle}),
        ("PUT", "scripts/two/active", {"version": stored.json["version"]}),
    ):
        answer = with_token(picloud, token, method, path, body)
        assert (answer.status, answer.json["detail"]) == (
            403,
            "'GET /private/{it}' meets a route of a script that this token is not good for",
        )
    for path in ("/private/special", "/{any*}", "/{one}", "/.well-known/acme-challenge/{it}"):
        for host in (None, "127.0.0.1"):
            body = {"path": path, "script": "two", "host": host}
            assert with_token(picloud, token, "POST", "routes", body).problem == "forbidden", body
    front = {"path": "/", "script": "two", "host": "127.0.0.1"}
    assert with_token(picloud, token, "POST", "routes", front).problem == "forbidden"
    assert with_token(picloud, token, "POST", "routes", {"path": "/ours/{it}", "script": "two"}).status == 201


def test_a_token_limited_to_scripts_sees_and_changes_their_routes_only(picloud: Running, add: Add) -> None:
    own, other = add("one", "GET /own").json, add("two", "GET /other").json
    token = limited_token(picloud, "one")
    assert with_token(picloud, token, "GET", "routes").json["items"] == [own]
    assert with_token(picloud, token, "GET", f"routes/{own['id']}").json == own
    assert with_token(picloud, token, "GET", "routes?script=two").problem == "forbidden"
    for method in ("GET", "DELETE"):
        assert with_token(picloud, token, method, f"routes/{other['id']}").problem == "not-found"
    assert with_token(picloud, token, "POST", "routes", {"path": "/x", "script": "two"}).problem == "forbidden"
    assert with_token(picloud, token, "POST", "routes", {"path": "/x", "script": "one"}).status == 201
    assert with_token(picloud, token, "DELETE", f"routes/{own['id']}").status == 204


def test_scopes_are_walls(picloud: Running, add: Add) -> None:
    route = add("one", "GET /x").json
    read, deploy = picloud.new_token(Scope.READ), picloud.new_token(Scope.DEPLOY)
    body = {"path": "/y", "script": "one"}
    assert with_token(picloud, read, "POST", "routes", body).problem == "forbidden"
    assert with_token(picloud, read, "DELETE", f"routes/{route['id']}").problem == "forbidden"
    assert with_token(picloud, deploy, "GET", "routes").problem == "forbidden"
    assert with_token(picloud, deploy, "POST", "routes", body).status == 201


def test_a_look_up_sends_no_sql(fresh_data: Path) -> None:
    with running(fresh_data, PICLOUD_WORKERS="1") as ours:
        ours.deploy("one", "return function(request) return request.params.x end")
        assert ours.api("POST", "routes", {"method": "GET", "path": "/yes/{x}", "script": "one"}).status == 201
        assert ours.call("GET", "/yes/1").body == b"1"
        wait_for_records(ours, 1)
        before = settled(ours)
        for _ in range(20):
            assert [ours.call(method, "/yes/2").status for method in ("GET", "OPTIONS", "POST")] == [200, 204, 405]
            assert ours.call("GET", "/no").status == 404
        wait_for_records(ours, 21)
        after = statements(ours)
        asked = [pid for pid, started in before.items() if after.get(pid, started) != started]
        assert len(asked) == 1  # by the recorder, after the answers


# ── which hosts lead here ───────────────────────────────────────────────────────────────────────────────────────────


def hosts(picloud: Running, query: str) -> Answer:
    """Asked by nobody in particular."""
    return picloud.call("GET", f"/api/v1/hosts?{query}")


def test_anyone_may_ask_whether_a_host_leads_here(picloud: Running, add: Add) -> None:
    add("one", "GET Shop.Example/deep/{x}")
    add("one", "GET [2001:db8:0::1]/")
    add("one", "GET /for-every-host")
    for asked, host in {
        "shop.example": "shop.example", "SHOP.example.": "shop.example",
        "2001:db8::1": "[2001:db8::1]", "[2001:DB8::0:1]": "[2001:db8::1]",
    }.items():  # fmt: skip
        answer = hosts(picloud, f"domain={asked}")
        assert (answer.status, answer.json) == (200, {"host": host})
    for asked in ("example", "www.shop.example", "localhost", "", ".", ":", "::", "a" * 255, "%ff", "*"):
        assert hosts(picloud, f"domain={asked}").problem == "not-found", asked


@pytest.mark.parametrize(
    "query", ["", "domain=a&domain=b", "domain=" + "a" * 256, "domain=a%00b", "host=a", "domain=a&x"]
)
def test_what_is_no_question_about_a_host_is_refused(picloud: Running, query: str) -> None:
    assert hosts(picloud, query).problem == "invalid-request"


def test_a_host_is_known_while_a_route_has_it_and_no_longer(picloud: Running, add: Add) -> None:
    first, second = (add("one", f"GET pi.example/{path}").json["id"] for path in ("a", "b"))
    picloud.api("DELETE", f"routes/{first}")
    assert {answer.status for answer in picloud.at_once(8, "GET", "/api/v1/hosts?domain=pi.example")} == {200}
    picloud.api("DELETE", f"routes/{second}")
    assert {answer.status for answer in picloud.at_once(8, "GET", "/api/v1/hosts?domain=pi.example")} == {404}


def test_whether_a_host_is_known_is_asked_without_sql(fresh_data: Path) -> None:
    with running(fresh_data, PICLOUD_WORKERS="1") as ours:
        ours.deploy("one", "return 1")
        assert ours.api("POST", "routes", {"host": "a.example", "path": "/", "script": "one"}).status == 201
        assert hosts(ours, "domain=a.example").status == 200
        before = settled(ours)
        for _ in range(20):
            assert [hosts(ours, f"domain={host}").status for host in ("a.example", "b.example")] == [200, 404]
        assert statements(ours) == before
