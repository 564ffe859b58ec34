"""Settings of scripts over HTTP: what is set holds at once, on every worker, and for nobody else."""

import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.running import Answer, Running, eventually, running

DEFAULTS: dict[str, Any] = {
    "access": "public",
    "limits": {
        "wall_ms": 10_000,
        "cpu_ms": 5_000,
        "memory_bytes": 67_108_864,
        "request_bytes": 1_048_576,
        "response_bytes": 6_291_456,
        "log_bytes": 65_536,
        "host_calls": 1_000,
        "concurrency": 16,
    },
    "env": {},
    "cors": None,
    "allow_hosts": None,
    "expose_errors": True,
    "idempotency": False,
    "kv": [],
    "secrets": [],
    "invoke": [],
    "record": "none",
    "retry": {"max_attempts": 3, "backoff_ms": 1_000, "backoff_max_ms": 3_600_000},
    "webhook": None,
}


def fresh(picloud: Running, name: str, source: str = "return 1") -> str:
    picloud.api("DELETE", f"scripts/{name}")
    picloud.deploy(name, source)
    return f"scripts/{name}/settings"


def test_a_new_script_has_the_defaults(picloud: Running) -> None:
    answer = picloud.api("GET", fresh(picloud, "defaults"))
    assert (answer.status, answer.json) == (200, DEFAULTS)
    assert picloud.api("GET", "scripts/defaults").json["settings"] == DEFAULTS


def test_a_patch_answers_with_what_holds_now(picloud: Running) -> None:
    path = fresh(picloud, "patched")
    before = picloud.api("GET", "scripts/patched").json["updated_at"]
    cors = {
        "origins": ["HTTPS://Example.org"],
        "methods": ["put"],
        "headers": ["X-A"],
        "credentials": True,
        "max_age": 60,
    }
    answer = picloud.api("PATCH", path, {"limits": {"wall_ms": 500}, "env": {"A": "1"}, "cors": cors})
    expected = DEFAULTS | {
        "limits": {**DEFAULTS["limits"], "wall_ms": 500},
        "env": {"A": "1"},
        "cors": {
            "origins": ["https://example.org"],
            "headers": ["x-a"],
            "methods": ["PUT"],
            "credentials": True,
            "max_age": 60,
        },
    }
    assert (answer.status, answer.json) == (200, expected)
    assert picloud.api("GET", path).json == expected
    assert picloud.api("GET", "scripts/patched").json["updated_at"] > before
    assert picloud.api("PATCH", path, {"limits": None, "env": {"A": None}, "cors": None}).json == DEFAULTS


def test_an_upload_and_a_rollback_leave_them_alone(picloud: Running) -> None:
    path = fresh(picloud, "kept")
    picloud.deploy("kept", "return 2")
    settings = picloud.api("PATCH", path, {"env": {"A": "1"}, "expose_errors": False}).json
    first = picloud.api("GET", "scripts/kept").json["active_version"] - 1
    picloud.api("PUT", "scripts/kept/active", {"version": first})
    picloud.deploy("kept", "return 3")
    assert picloud.api("GET", path).json == settings
    fresh(picloud, "kept")  # and a script that is deleted takes them along
    assert picloud.api("GET", path).json == DEFAULTS


@pytest.mark.parametrize(
    ("patch", "field", "said"),
    [
        ({"acess": "token"}, "acess", "did you mean 'access'?"),
        ({"limits": {"wall": 1}}, "limits.wall", "did you mean 'wall_ms'?"),
        ({"wall_ms": 1}, "wall_ms", "did you mean 'limits.wall_ms'?"),
        ({"cors": {"origin": ["*"]}}, "cors.origin", "did you mean 'origins'?"),
        ({"access": "nobody"}, "access", "nobody"),
        ({"limits": {"wall_ms": 0}}, "limits.wall_ms", "at least 1"),
        ({"limits": {"wall_ms": 1.5}}, "limits.wall_ms", "not a number"),
        ({"limits": {"wall_ms": "5"}}, "limits.wall_ms", "not text"),
        ({"limits": {"memory_bytes": 1000}}, "limits.memory_bytes", "at least 524288"),
        ({"limits": {"wall_ms": 300_001}}, "limits.wall_ms", "wall_ms_max"),
        ({"limits": {"request_bytes": -1}}, "limits.request_bytes", "at least 0"),
        ({"limits": {"request_bytes": 67_108_865}}, "limits.request_bytes", "at most 67108864"),
        ({"limits": []}, "limits", "not a list"),
        ({"env": {"A": 5}}, "env.A", "must be text or null, not a whole number"),
        ({"env": {"1A": "x"}}, "env.1A", "no name of a variable"),
        ({"env": {"A": "a\0"}}, "env.A", "zero byte"),
        ({"env": {f"V{number}": "" for number in range(65)}}, "env", "65 variables"),
        ({"env": {"A": "x" * 70_000}}, "env", "at most 65536"),
        ({"cors": {"origins": ["https://a.example/"]}}, "cors.origins[0]", "no origin"),
        ({"cors": {"origins": ["*"], "credentials": True}}, "cors.credentials", "cannot be true"),
        ({"cors": {"max_age": 86_401}}, "cors.max_age", "at most 86400"),
        ({"expose_errors": "yes"}, "expose_errors", "not text"),
        ({"allow_hosts": ["a.example", "https://b.example"]}, "allow_hosts[1]", "expected a host, or *.host"),
        ({"retry": {"max_attempts": 0}}, "retry.max_attempts", "at least 1"),
        ({"retry": {"max_attempts": 101}}, "retry.max_attempts", "at most 100"),
        ({"retry": {"backoff_ms": -1}}, "retry.backoff_ms", "at least 0"),
        ({"retry": {"backoff_max_ms": 86_400_001}}, "retry.backoff_max_ms", "at most 86400000"),
        ({"retry": {"attempts": 1}}, "retry.attempts", "did you mean 'max_attempts'?"),
        ({"retry": 3}, "retry", "not a whole number"),
        ({"allow_hosts": ["x"] * 65}, "allow_hosts", "at most 64"),
        ({"webhook": {"preset": "github"}}, "webhook.secret", "is missing"),
        ({"webhook": {"secret": "S"}}, "webhook.preset", "is missing"),
        ({"webhook": {"preset": "gitlab", "secret": "S"}}, "webhook.preset", "did you mean 'github'?"),
        ({"webhook": {"preset": "github", "secret": "a-b"}}, "webhook.secret", "is no name of a secret"),
        ({"webhook": {"preset": "github", "secret": "S", "heder": "x"}}, "webhook.heder", "did you mean 'header'?"),
        ({"webhook": {"preset": "slack", "secret": "S", "prefix": ""}}, "webhook.prefix", "is for the preset 'custom'"),
        ({"webhook": {"preset": "custom", "secret": "S", "header": "a b"}}, "webhook.header", "no name of a header"),
        ({"webhook": {"preset": "custom", "secret": "S", "prefix": "é"}}, "webhook.prefix", "printable ASCII"),
        ({"webhook": {"preset": "custom", "secret": "S", "tolerance_s": 0}}, "webhook.tolerance_s", "at least 1"),
        ({"webhook": {"preset": "custom", "secret": "S", "algorithm": "md5"}}, "webhook.algorithm", "not known"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_field_and_changes_nothing(
    picloud: Running, patch: dict[str, Any], field: str, said: str
) -> None:
    path = fresh(picloud, "wrong")
    answer = picloud.api("PATCH", path, {"env": {"GOOD": "x"}} | patch)
    assert (answer.status, answer.problem) == (422, "invalid-request")
    assert [one["field"] for one in answer.json["errors"]] == [field]
    assert said in answer.json["errors"][0]["message"]
    assert picloud.api("GET", path).json == DEFAULTS


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b'"x"', b'{"env": {"A": "\\ud800"}}', b"\xff"])
def test_a_body_that_is_no_object_is_refused(picloud: Running, body: bytes) -> None:
    assert picloud.api("PATCH", fresh(picloud, "wrong"), body).problem == "invalid-request"


def test_the_content_type_is_jsons_or_the_merge_patchs(picloud: Running) -> None:
    path = fresh(picloud, "typed-settings")
    for content_type in (
        "application/json; charset=utf-8",
        "application/merge-patch+json",
        "application/x-www-form-urlencoded",
    ):
        assert picloud.api("PATCH", path, b"{}", content_type).status == 200
    for content_type in ("text/plain", "application/json-patch+json"):
        answer = picloud.api("PATCH", path, b"{}", content_type)
        assert (answer.status, answer.problem) == (415, "unsupported-media-type")
        assert "application/merge-patch+json" in answer.json["detail"]


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_a_script_that_is_none_has_no_settings(picloud: Running, method: str) -> None:
    assert picloud.api(method, "scripts/nobody/settings", {} if method == "PATCH" else None).problem == "not-found"


def test_patches_at_once_lose_nothing(picloud: Running) -> None:
    path = fresh(picloud, "crowded", "return function() return env end")
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda n=number: answers.append(picloud.api("PATCH", path, {"env": {f"V{n}": str(n)}})))
        for number in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200] * 16
    assert picloud.call("GET", "/fn/crowded").json == {f"V{number}": str(number) for number in range(16)}


def test_a_change_is_live_at_once_on_every_worker(picloud: Running) -> None:
    path = fresh(picloud, "live", "return function() return env.N or 'none' end")
    for number in range(5):
        assert {answer.body for answer in picloud.at_once(8, "GET", "/fn/live")} == {
            str(number - 1).encode() if number else b"none"
        }
        picloud.api("PATCH", path, {"env": {"N": str(number)}})


LIMITED: list[tuple[str, int, str, bytes, str]] = [
    ("wall_ms", 300, "return function() while true do end end", b"", "timeout"),
    ("cpu_ms", 100, "return function() while true do end end", b"", "cpu-limit"),
    ("memory_bytes", 1_048_576, "return function() return #('x'):rep(2000000) end", b"", "memory-limit"),
    ("request_bytes", 10, "return function(r) return #r.body end", b"x" * 11, "body-too-large"),
    ("response_bytes", 10, "return function() return ('x'):rep(11) end", b"", "bad-response"),
]


@pytest.mark.parametrize(("name", "limit", "source", "body", "problem"), LIMITED)
def test_each_limit_takes_effect_and_goes_away_again(
    picloud: Running, name: str, limit: int, source: str, body: bytes, problem: str
) -> None:
    path = fresh(picloud, "limited", source)
    picloud.api("PATCH", path, {"limits": {name: limit}})
    assert picloud.call("POST", "/fn/limited", body).problem == problem
    if name not in ("wall_ms", "cpu_ms"):
        picloud.api("PATCH", path, {"limits": {name: None}})
        assert picloud.call("POST", "/fn/limited", body).status == 200


def test_the_limit_of_the_log_takes_effect(picloud: Running) -> None:
    path = fresh(picloud, "talkative", "return function() for n = 1, 100 do log.info('line ' .. n) end end")
    picloud.api("PATCH", path, {"limits": {"log_bytes": 300}})
    record = picloud.record_of(picloud.call("GET", "/fn/talkative"))
    assert 0 < len(picloud.api("GET", f"logs?invocation={record['id']}").json["items"]) < 10


def test_the_limit_of_runs_at_once_takes_effect(picloud: Running) -> None:
    path = fresh(picloud, "single", "return function(r) while r.query.spin do end return 1 end")
    picloud.api("PATCH", path, {"limits": {"concurrency": 1, "wall_ms": 60_000, "cpu_ms": 60_000}})
    with picloud.spinning("/fn/single?spin=1", 1):
        assert picloud.call("GET", "/fn/single").status == 429
    eventually(lambda: picloud.call("GET", "/fn/single").status, lambda status: status == 200)


def test_hidden_errors_are_hidden(picloud: Running) -> None:
    path = fresh(picloud, "discreet", "return function() error('secret') end")
    assert "secret" in picloud.call("GET", "/fn/discreet").json["detail"]
    picloud.api("PATCH", path, {"expose_errors": False})
    assert "secret" not in picloud.call("GET", "/fn/discreet").body.decode()


def test_the_operator_bounds_every_script_also_those_that_are_there(fresh_data: Path) -> None:
    spin = "return function() while true do end end"
    with running(fresh_data) as ours:
        ours.deploy("greedy", spin)
        settings = ours.api(
            "PATCH", "scripts/greedy/settings", {"limits": {"wall_ms": 200_000, "cpu_ms": 100_000}}
        ).json
        assert settings["limits"]["wall_ms"] == 200_000
    with running(
        fresh_data, PICLOUD_WALL_MS_MAX="300", PICLOUD_MEMORY_BYTES_MAX="2097152", PICLOUD_DEFAULT_ACCESS="token"
    ) as ours:
        settings = ours.api("GET", "scripts/greedy/settings").json
        assert (settings["access"], settings["limits"]["wall_ms"]) == ("token", 300)
        assert settings["limits"]["memory_bytes"] == 2_097_152
        assert ours.api("POST", "scripts/greedy/invoke", {}).problem == "timeout"
        assert ours.call("GET", "/fn/greedy").problem in ("timeout", "unauthorized")
        over = ours.api("PATCH", "scripts/greedy/settings", {"limits": {"wall_ms": 301}})
        assert over.json["errors"] == [
            {"field": "limits.wall_ms", "message": "at most 300, which is this server's wall_ms_max"}
        ]
        ours.api("PATCH", "scripts/greedy/settings", {"access": "public", "env": {"A": json.dumps([1])}})
        assert ours.call("GET", "/fn/greedy").problem == "timeout"


def test_sandboxes_get_no_more_cpu_than_the_operator_allows(fresh_data: Path) -> None:
    with running(fresh_data, PICLOUD_CPU_MS_MAX="1500", PICLOUD_MEMORY_BYTES_MAX="16777216") as ours:
        ours.deploy("any", "return 1")
        assert ours.call("GET", "/fn/any").status == 200
        eventually(lambda: cpu_limits(ours), lambda limits: limits == {("4", "5")})  # the exact clock is at 2


def cpu_limits(ours: Running) -> set[tuple[str, ...]]:
    """Soft and hard, of the sandboxes that wait; they have them a moment after their name."""
    found = set()
    for pid in ours.named("picloud-sandbox"):
        with contextlib.suppress(OSError):  # it has ended
            limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
            found |= {tuple(line.split()[3:5]) for line in limits if line.startswith("Max cpu time")}
    return found
