"""Keys and values through the whole server: scripts, the API, the command line, and limited tokens."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from picloud.auth import Scope
from tests.running import Answer, Running

COUNTER = """
return function(request)
  if request.query.fail then kv.incr("n") error{ status = 409, body = "undone" } end
  if request.query.broken then kv.incr("n") error("no") end
  if request.query.bad then kv.incr("n") return { status = 99 } end
  if request.query.spin then kv.incr("n") while true do end end
  if request.query.by == "hand" then
    local n = kv.get("n") or 0
    kv.set("n", n + 1)
    return n + 1
  end
  return kv.incr("n")
end
"""


def fresh(picloud: Running, name: str, source: str = COUNTER) -> str:
    picloud.api("DELETE", f"scripts/{name}")
    picloud.deploy(name, source)
    return f"scripts/{name}/kv"


def limited(picloud: Running, *scopes: Scope, scripts: tuple[str, ...]) -> dict[str, str]:
    """The headers of somebody with a token for these scripts alone."""
    wanted = {"name": f"limited {picloud_names.pop()}", "scopes": scopes, "scripts": scripts}
    made = picloud.api("POST", "tokens", wanted)
    assert made.status == 201, made
    return {"authorization": f"Bearer {made.json['token']}"}


picloud_names = [str(number) for number in range(100)]


def test_what_a_script_writes_lasts_and_is_shown(picloud: Running) -> None:
    values = fresh(picloud, "lasting")
    assert [picloud.call("GET", "/fn/lasting").json for _ in range(3)] == [1, 2, 3]
    picloud.deploy("lasting", COUNTER + "-- another version")
    assert picloud.call("GET", "/fn/lasting").json == 4
    (item,) = picloud.api("GET", values).json["items"]
    assert (item["key"], item["value"], item["bytes"], item["expires_at"]) == ("n", 4, 8, None)
    got = picloud.api("GET", f"{values}/n")
    assert (got.json, got.header("etag"), got.header("content-type")) == (4, f'"{item["version"]}"', "application/json")


@pytest.mark.parametrize(("query", "status"), [("fail", 409), ("broken", 500), ("bad", 502), ("spin", 504)])
def test_a_run_that_gives_no_answer_leaves_nothing(picloud: Running, query: str, status: int) -> None:
    values = fresh(picloud, f"undone-{query}")
    picloud.set(f"undone-{query}", {"limits": {"cpu_ms": 200}})
    assert picloud.call("GET", f"/fn/undone-{query}?{query}=1").status == status
    assert picloud.api("GET", values).json["items"] == []
    assert picloud.call("GET", f"/fn/undone-{query}").json == 1


@pytest.mark.parametrize("query", ["", "?by=hand"])
def test_no_update_is_lost_between_many_callers(picloud: Running, query: str) -> None:
    fresh(picloud, "counter")
    answers = [answer for _ in range(5) for answer in picloud.at_once(8, "GET", f"/fn/counter{query}")]
    assert {answer.status for answer in answers} == {200}
    assert sorted(answer.json for answer in answers) == list(range(1, 41))


def test_a_deleted_script_takes_its_values_with_it(picloud: Running) -> None:
    values = fresh(picloud, "deleted")
    assert picloud.call("GET", "/fn/deleted").json == 1
    fresh(picloud, "deleted")
    assert picloud.api("GET", values).json["items"] == []
    assert picloud.call("GET", "/fn/deleted").json == 1


KEYS = [
    "plain",
    "a/b/c",
    "/",
    "//",
    "a//b/",
    "ä €",
    "?&#%",
    "a b+c",
    "..",
    "a/../b",
    "\N{GRINNING FACE}",
    '"',
    "k" * 512,
]


def test_a_key_may_be_any_text(picloud: Running) -> None:
    values = fresh(picloud, "any-key", "return kv.get(request.query.key)")
    for key in KEYS:
        path = f"{values}/{quote(key, safe='').replace('.', '%2E')}"
        assert picloud.api("PUT", path, {"of": key}).json["key"] == key
        assert picloud.api("GET", path).json == {"of": key}
        assert picloud.call("GET", f"/fn/any-key?key={quote(key, safe='')}").json == {"of": key}
    listed = [it["key"] for it in picloud.api("GET", values).json["items"]]
    assert listed == sorted(KEYS, key=str.encode)
    for key in KEYS:
        assert picloud.api("DELETE", f"{values}/{quote(key, safe='')}").status == 204
    assert picloud.api("GET", values).json["items"] == []


@pytest.mark.parametrize("key", ["k" * 513, "%00"])
def test_a_key_that_cannot_be_is_refused(picloud: Running, key: str) -> None:
    assert picloud.api("PUT", f"{fresh(picloud, 'no-key')}/{key}", 1).status in (404, 422)


def test_json_and_bytes_are_what_a_script_finds(picloud: Running) -> None:
    values = fresh(
        picloud, "finds", "local it = kv.get('k') return { body = type(it) .. ' ' .. (math.type(it) or #it) }"
    )
    for content, content_type, found, shown in (
        (b"7", "application/json", "number integer", b"7"),
        (b"7.5", "application/json", "number float", b"7.5"),
        (b'"text"', "application/json", "string 4", b'"text"'),
        (b"[1, 2]", "application/x-www-form-urlencoded", "table 2", b"[1, 2]"),
        (b"plain", "application/octet-stream", "string 5", b'"plain"'),
        (b"\xff\x00\x01", "application/octet-stream", "string 3", b"\xff\x00\x01"),
        (b"", "application/octet-stream", "string 0", b'""'),
    ):
        assert picloud.api("PUT", f"{values}/k", content, content_type).status == 200, content
        assert picloud.call("GET", "/fn/finds").body.decode() == found
        assert picloud.api("GET", f"{values}/k").body == shown
    picloud.api("PUT", f"{values}/k", b"\xff", "application/octet-stream")
    (item,) = picloud.api("GET", values).json["items"]
    assert (item["value_base64"], "value" in item) == ("/w==", False)


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 422), (b"", "application/json", 422), (b"\xff", "application/json", 422),
        (b"[" * 129 + b"]" * 129, "application/json", 422), (b"1", "text/html", 415),
        (b'"' + b"x" * 262_144 + b'"', "application/json", 200),
        (b'"' + b"x" * 262_145 + b'"', "application/json", 422),
        (b"x" * 262_143, "application/octet-stream", 200), (b"x" * 262_144, "application/octet-stream", 200),
        (b"x" * 262_145, "application/octet-stream", 422), (b"x" * 2_000_000, "application/octet-stream", 413),
    ],
)  # fmt: skip
def test_what_is_no_value_is_refused(picloud: Running, content: bytes, content_type: str, status: int) -> None:
    values = fresh(picloud, "no-value")
    assert picloud.api("PUT", f"{values}/k", content, content_type).status == status
    assert picloud.api("GET", f"{values}/k").status == (200 if status == 200 else 404)


def test_conditions_hold(picloud: Running) -> None:
    values = fresh(picloud, "conditions")

    def ask(method: str, value: bytes | None = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return picloud.call(method, f"/api/v1/{values}/k", value, {"authorization": f"Bearer {picloud.token}", **named})

    assert ask("PUT", b"1", if_match="*").status == 412
    tag = ask("PUT", b"1", if_none_match="*").header("etag") or ""
    assert ask("PUT", b"2", if_none_match="*").problem == "precondition-failed"
    assert ask("PUT", b"2", if_match='"1"').status == 412
    second = ask("PUT", b"2", if_match=tag).header("etag") or ""
    assert ask("DELETE", if_match=tag).status == 412
    assert ask("GET").json == 2
    assert ask("DELETE", if_match=second).status == 204
    assert ask("DELETE").problem == "not-found"
    assert ask("PUT", b"1", if_match=second).status == 412


def test_a_time_to_live_is_kept_and_told(picloud: Running) -> None:
    values = fresh(picloud, "living")
    stored = picloud.api("PUT", f"{values}/k?ttl=3600", 1).json
    assert stored["expires_at"].endswith("Z")
    assert picloud.api("GET", f"{values}/k").header("picloud-expires") == stored["expires_at"]
    assert picloud.api("PUT", f"{values}/k", 1).json["expires_at"] is None
    for ttl in ("0", "-1", "x", "316224001"):
        assert picloud.api("PUT", f"{values}/k?ttl={ttl}", 1).problem == "invalid-request"


def test_a_list_comes_in_pages(picloud: Running) -> None:
    values = fresh(picloud, "pages")
    for at in range(7):
        picloud.api("PUT", f"{values}/k/{at}", at)
    picloud.api("PUT", f"{values}/other", 1)
    seen, after = [], ""
    while True:
        page = picloud.api("GET", f"{values}?prefix=k/&limit=3&after={after}").json
        seen += [it["value"] for it in page["items"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert seen == list(range(7))
    assert picloud.api("GET", f"{values}?after=!").problem == "invalid-request"


def test_scripts_share_a_space_that_their_settings_name(picloud: Running) -> None:
    source = "local it = kv.open('orders') return it.incr('n')"
    for name in ("shares-a", "shares-b"):
        fresh(picloud, name, source)
    assert "its setting 'kv' does not name it" in picloud.call("GET", "/fn/shares-a").json["detail"]
    for name in ("shares-a", "shares-b"):
        picloud.set(name, {"kv": ["orders", "orders"]})
    assert picloud.api("GET", "scripts/shares-a/settings").json["kv"] == ["orders"]
    assert [picloud.call("GET", f"/fn/{name}").json for name in ("shares-a", "shares-b")] == [1, 2]
    assert picloud.api("GET", "scripts/shares-a/kv/n?space=orders").json == 2
    assert picloud.api("GET", "scripts/shares-a/kv/n").status == 404
    assert picloud.api("GET", "scripts/shares-a/kv?space=others").problem == "not-found"
    assert picloud.api("GET", "scripts/shares-a/kv?space=NO").problem == "invalid-request"
    theirs = limited(picloud, Scope.READ, scripts=("shares-a",))
    assert picloud.call("GET", "/api/v1/scripts/shares-a/kv", headers=theirs).status == 200
    for path in ("kv?space=orders", "kv/n?space=orders"):
        assert picloud.call("GET", f"/api/v1/scripts/shares-a/{path}", headers=theirs).problem == "forbidden"


@pytest.mark.parametrize("names", [["A"], [""], ["-a"], ["a" * 64], [f"a{n}" for n in range(65)], "orders", [1]])
def test_a_name_that_no_space_can_have_is_refused(picloud: Running, names: object) -> None:
    fresh(picloud, "names")
    answer = picloud.api("PATCH", "scripts/names/settings", {"kv": names})
    assert answer.problem == "invalid-request"
    assert "kv" in answer.json["errors"][0]["field"]


def test_a_token_that_is_limited_to_scripts_adds_no_grant_in_any_way(picloud: Running) -> None:
    fresh(picloud, "kept-in")
    theirs = limited(picloud, Scope.DEPLOY, scripts=("kept-in",)) | {"content-type": "application/json"}
    place = "/api/v1/scripts/kept-in"

    def patch(grants: list[str]) -> Answer:
        return picloud.call("PATCH", f"{place}/settings", json.dumps({"kv": grants}).encode(), theirs)

    def bundle(grants: list[str], text: str = "return 1") -> bytes:
        files = {"main.lua": text, "picloud.toml": f"[settings]\nkv = {json.dumps(grants)}\n"}
        return json.dumps({"files": files}).encode()

    refused = patch(["orders"])
    assert refused.problem == "forbidden"
    assert "may not add 'orders' to the setting 'kv'" in refused.json["detail"]
    assert picloud.call("PUT", place, bundle(["orders"]), theirs).problem == "forbidden"
    assert picloud.api("GET", "scripts/kept-in/versions").json["items"][0]["version"] == 1
    stored = picloud.call("PUT", f"{place}?activate=false", bundle(["orders"]), theirs)
    version = json.dumps({"version": stored.json["version"]}).encode()
    assert picloud.call("PUT", f"{place}/active", version, theirs).problem == "forbidden"
    assert picloud.api("GET", "scripts/kept-in/settings").json["kv"] == []

    picloud.set("kept-in", {"kv": ["orders", "users"]})
    assert picloud.call("PUT", place, bundle(["orders", "users"], "return 2"), theirs).status == 201
    assert patch(["orders"]).json["kv"] == ["orders"]
    assert patch(["orders", "users"]).problem == "forbidden"
    assert patch([]).json["kv"] == []


@pytest.mark.parametrize("setting", ["secrets", "invoke"])
def test_neither_does_it_add_other_grants(picloud: Running, setting: str) -> None:
    fresh(picloud, "kept-in")
    theirs = limited(picloud, Scope.DEPLOY, scripts=("kept-in",)) | {"content-type": "application/json"}
    wanted = json.dumps({setting: ["vault"]}).encode()
    refused = picloud.call("PATCH", "/api/v1/scripts/kept-in/settings", wanted, theirs)
    assert refused.problem == "forbidden"
    assert f"may not add 'vault' to the setting '{setting}'" in refused.json["detail"]
    assert picloud.api("GET", "scripts/kept-in/settings").json[setting] == []


def test_the_command_line_does_it_all(picloud: Running, tmp_path: Path) -> None:
    fresh(picloud, "by-hand", "return kv.get('a/b')")
    said = [
        picloud.cli("kv", "set", "by-hand", "a/b", '{"n": 1}'),
        picloud.cli("kv", "set", "by-hand", "note", "only text", "--ttl", "60"),
        picloud.cli("kv", "set", "by-hand", "..", "-", stdin=b"\xff\x00"),
    ]
    assert [it.returncode for it in said] == [0, 0, 0], said
    assert picloud.call("GET", "/fn/by-hand").json == {"n": 1}
    assert picloud.cli("kv", "get", "by-hand", "a/b").stdout == b'{"n": 1}\n'
    assert picloud.cli("kv", "get", "by-hand", "note").stdout == b'"only text"\n'
    assert picloud.cli("kv", "get", "by-hand", "..").stdout == b"\xff\x00"
    rows = picloud.cli("kv", "ls", "by-hand").stdout.decode().splitlines()
    assert [row.split("\t")[:2] for row in rows] == [
        ["..", "base64:/wA="], ["a/b", '{"n": 1}'], ["note", '"only text"'],
    ]  # fmt: skip
    (item,) = json.loads(picloud.cli("kv", "ls", "by-hand", "--prefix", "a", "--json").stdout)
    assert item["value"] == {"n": 1}
    assert picloud.cli("kv", "rm", "by-hand", "a/b", "..").returncode == 0
    missing = picloud.cli("kv", "get", "by-hand", "a/b")
    assert (missing.returncode, b"script 'by-hand' has no 'a/b'" in missing.stderr) == (1, True)
