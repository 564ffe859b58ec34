"""Uploads over HTTP: bundles of every kind, what they declare, and that a refusal leaves nothing behind."""

import gzip
import io
import json
import tarfile
from base64 import b64decode

import pytest

from tests.manager.bodies import NAMES, TYPES, entry, tar, tar_of
from tests.running import Answer, Running

SITE = {
    "main.lua": b"""
        local greet = require "lib.greet"
        return function(request)
          if request.params.rest == "page" then
            return { headers = { ["content-type"] = "text/html" }, body = files.read("pages/index.html") }
          end
          return greet(request.query.name or "world")
        end
    """,
    "lib/greet.lua": b"return function(name) return 'hello ' .. name end",
    "pages/index.html": "<h1>schön</h1>".encode(),
    "pages/dot.png": b"\x89PNG\r\n\x1a\n\0\xff",
}


def as_json(files: dict[str, bytes]) -> bytes:
    return json.dumps({"files": {path: content.decode() for path, content in files.items()}}).encode()


def text_only(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: content for path, content in files.items() if not path.endswith(".png")}


def upload(picloud: Running, path: str, files: dict[str, bytes]) -> Answer:
    return picloud.api("PUT", f"scripts/{path}", tar_of(files), "application/x-tar")


def versions(picloud: Running, name: str) -> list[int]:
    page = picloud.api("GET", f"scripts/{name}/versions")
    return [it["version"] for it in page.json["items"]] if page.status == 200 else []


def main(text: str) -> dict[str, bytes]:
    return {"main.lua": f"return '{text}'".encode()}


@pytest.mark.parametrize(
    ("content_type", "encoding", "body"),
    [
        ("application/x-tar", "", tar_of(SITE)),
        ("application/x-tar", "gzip", gzip.compress(tar_of(SITE))),
        ("application/gzip", "", gzip.compress(tar_of(SITE))),
        ("application/x-tar+gzip", "", gzip.compress(tar_of(SITE))),
        ("application/json", "", as_json(text_only(SITE))),
    ],
)
def test_a_bundle_requires_its_modules_and_reads_its_files(
    picloud: Running, content_type: str, encoding: str, body: bytes
) -> None:
    picloud.api("DELETE", "scripts/site")
    headers = {"authorization": f"Bearer {picloud.token}", "content-type": content_type}
    answer = picloud.call(
        "PUT", "/api/v1/scripts/site", body, headers | ({"content-encoding": encoding} if encoding else {})
    )
    assert (answer.status, answer.json["url"]) == (201, "/fn/site")
    assert picloud.call("GET", "/fn/site?name=you").body == b"hello you"
    assert picloud.call("GET", "/fn/site/page").body == SITE["pages/index.html"]


def test_a_post_takes_bundles_too(picloud: Running) -> None:
    answer = picloud.api("POST", "scripts?name=posted", tar_of(SITE), "application/x-tar")
    assert (answer.status, answer.json["script"], answer.header("etag")) == (
        201,
        "posted",
        f'"{answer.json["version"]}"',
    )
    assert picloud.api("POST", "scripts?name=posted&activate=false", main("x")["main.lua"], "text/x-lua").status == 201
    assert picloud.call("GET", "/fn/posted").body == b"hello world"


def test_what_was_uploaded_can_be_had_again(picloud: Running) -> None:
    number = upload(picloud, "source", SITE).json["version"]
    path = f"scripts/source/versions/{number}"
    assert "files" not in picloud.api("GET", path).json
    found = picloud.api("GET", f"{path}?source=true").json
    assert found["source"] == SITE["main.lua"].decode()
    assert found["files"] == {path: content.decode() for path, content in text_only(SITE).items()}
    assert {path: b64decode(text) for path, text in found["files_base64"].items()} == {
        "pages/dot.png": SITE["pages/dot.png"]
    }
    assert found["bytes"] == sum(map(len, SITE.values()))


@pytest.mark.parametrize("query", ["", "?source=true"])
def test_what_was_uploaded_can_be_had_as_a_tar(picloud: Running, query: str) -> None:
    number = upload(picloud, "source", SITE).json["version"]
    headers = {"authorization": f"Bearer {picloud.token}", "accept": "application/x-tar"}
    answers = [picloud.call("GET", f"/api/v1/scripts/source/versions/{number}{query}", headers=headers) for _ in "ab"]
    assert answers[0].header("content-type") == "application/x-tar"
    assert answers[0].body == answers[1].body
    with tarfile.open(fileobj=io.BytesIO(answers[0].body)) as unpacked:
        assert {it.name: unpacked.extractfile(it).read() for it in unpacked} == SITE  # type: ignore[union-attr]
    again = picloud.api("PUT", "scripts/source", answers[0].body, "application/x-tar")
    assert (again.status, again.json["version"]) == (200, number)
    missing = picloud.call("GET", "/api/v1/scripts/source/versions/99999", headers=headers)
    assert missing.problem == "not-found"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html,*/*;q=0.8", "application/x-tar;q=0.1, */*"])
def test_who_takes_anything_gets_json(picloud: Running, accept: str) -> None:
    number = upload(picloud, "source", SITE).json["version"]
    headers = {"authorization": f"Bearer {picloud.token}", "accept": accept}
    answer = picloud.call("GET", f"/api/v1/scripts/source/versions/{number}", headers=headers)
    assert answer.json["version"] == number


def test_the_same_files_are_the_same_version_however_they_come(picloud: Running) -> None:
    files = text_only(SITE)
    first = upload(picloud, "same-files", files)
    assert first.status == 201
    for body, kind in ((gzip.compress(tar_of(files)), "application/gzip"), (as_json(files), "application/json")):
        again = picloud.api("PUT", "scripts/same-files", body, kind)
        assert (again.status, again.json["version"]) == (200, first.json["version"])
    assert upload(picloud, "same-files", files | {"pages/index.html": b"<h1>other</h1>"}).status == 201
    picloud.deploy("same-one", "return 1")
    assert upload(picloud, "same-one", {"main.lua": b"return 1"}).status == 200  # a bundle of one is that one


def test_an_upload_may_wait_for_its_activation(picloud: Running) -> None:
    first = upload(picloud, "waits", main("one")).json["version"]
    before = picloud.api("GET", "scripts/waits").json
    waiting = upload(picloud, "waits?activate=false", main("two"))
    assert (waiting.status, waiting.json["version"]) == (201, first + 1)
    assert waiting.header("etag") == f'"{first}"'
    assert picloud.api("GET", "scripts/waits").json == before
    assert {picloud.call("GET", "/fn/waits").body for _ in range(10)} == {b"one"}
    unchanged = upload(picloud, "waits?activate=false", main("one"))
    assert (unchanged.status, unchanged.json["version"]) == (200, first)
    assert picloud.api("PUT", "scripts/waits/active", {"version": first + 1}).status == 200
    assert {picloud.call("GET", "/fn/waits").body for _ in range(10)} == {b"two"}


def test_the_first_version_cannot_wait(picloud: Running) -> None:
    answer = upload(picloud, "never?activate=false", main("one"))
    assert (answer.status, answer.problem) == (409, "conflict")
    assert "activate" in answer.json["detail"]
    assert picloud.api("GET", "scripts/never").status == 404


def test_a_syntax_error_names_the_file_and_the_line_of_the_bundle(picloud: Running) -> None:
    before = versions(picloud, "site-broken")
    answer = upload(picloud, "site-broken", SITE | {"lib/broken.lua": b"local x\n\nx = = 1\n", "notes.txt": b"= = ="})
    assert (answer.status, answer.problem) == (422, "syntax-error")
    assert (answer.json["file"], answer.json["line"]) == ("lib/broken.lua", 3)
    assert versions(picloud, "site-broken") == before


def test_conditions_hold_for_bundles(picloud: Running) -> None:
    picloud.api("DELETE", "scripts/conditional-bundle")

    def put(files: dict[str, bytes], **condition: str) -> int:
        headers = {"authorization": f"Bearer {picloud.token}", "content-type": "application/x-tar"}
        headers |= {name.replace("_", "-"): value for name, value in condition.items()}
        return picloud.call("PUT", "/api/v1/scripts/conditional-bundle", tar_of(files), headers).status

    assert put(main("0"), if_match="*") == 412
    assert put(main("1"), if_none_match="*") == 201
    assert put(main("2"), if_none_match="*") == 412
    assert put(main("2"), if_match="*") == 201
    active = picloud.api("GET", "scripts/conditional-bundle").header("etag") or ""
    assert put(main("3"), if_match='"99999"') == 412
    assert put(main("3"), if_match=active) == 201


TOML = b"""
    [settings]
    expose_errors = false
    env.COLOUR = "blue"
    limits.wall_ms = 1234

    [[route]]
    method = "GET"
    path = "/declared/{name}"
"""


def declared_routes(picloud: Running, script: str) -> list[str]:
    rows = picloud.api("GET", "routes?limit=500").json["items"]
    return [row["path"] for row in rows if row["script"] == script]


def test_what_picloud_toml_declares_is_live_with_the_upload(picloud: Running) -> None:
    files = {
        "main.lua": b"return function(r) return env.COLOUR .. ' ' .. (r.params.name or '') end",
        "picloud.toml": TOML,
    }
    assert upload(picloud, "declares", files).status == 201
    assert {picloud.call("GET", "/fn/declares").body for _ in range(10)} == {b"blue "}
    settings = picloud.api("GET", "scripts/declares/settings").json
    assert (settings["expose_errors"], settings["limits"]["wall_ms"], settings["env"]) == (
        False,
        1234,
        {"COLOUR": "blue"},
    )
    assert {picloud.call("GET", "/declared/you").body for _ in range(10)} == {b"blue you"}

    picloud.api("PATCH", "scripts/declares/settings", {"env": {"COLOUR": "red", "SIZE": "7"}})
    assert upload(picloud, "declares", files).status == 200  # unchanged, and applied again
    assert picloud.api("GET", "scripts/declares/settings").json["env"] == {"COLOUR": "blue", "SIZE": "7"}

    assert upload(picloud, "declares", main("plain")).status == 201  # without a picloud.toml all stays
    assert picloud.call("GET", "/declared/you").body == b"plain"
    assert upload(picloud, "declares", main("none") | {"picloud.toml": b""}).status == 201
    assert picloud.call("GET", "/declared/you").status == 404
    assert picloud.api("GET", "scripts/declares/settings").json["limits"]["wall_ms"] == 1234


def test_what_waits_declares_nothing_and_is_checked_all_the_same(picloud: Running) -> None:
    upload(picloud, "declares-later", main("one"))
    before = picloud.api("GET", "scripts/declares-later/settings").json
    assert upload(picloud, "declares-later?activate=false", main("two") | {"picloud.toml": TOML}).status == 201
    assert picloud.api("GET", "scripts/declares-later/settings").json == before
    wrong = upload(
        picloud, "declares-later?activate=false", main("three") | {"picloud.toml": b"[settings]\nenvi.A = 'x'"}
    )
    assert (wrong.problem, wrong.json["errors"][0]["field"]) == ("invalid-request", "settings.envi")
    assert "did you mean 'env'?" in wrong.json["detail"]


def test_what_waits_declares_once_it_is_first_active(picloud: Running) -> None:
    def activate(version: int) -> tuple[int, object]:
        answer = picloud.api("PUT", "scripts/waits-for-it/active", {"version": version})
        return answer.status, answer.json["settings"]["env"] if answer.status == 200 else answer.problem

    toml = b"settings.env.COLOUR = 'blue'\n[[route]]\npath = '/waits/for/it'"
    upload(picloud, "waits-for-it", main("one"))
    upload(picloud, "waits-for-it?activate=false", main("two") | {"picloud.toml": toml})
    assert picloud.call("GET", "/waits/for/it").status == 404

    picloud.deploy("owner-for-now", "return 'owner'")
    other = picloud.api("POST", "routes", {"path": "/waits/for/it", "script": "owner-for-now"})
    assert activate(2) == (409, "conflict")
    assert picloud.call("GET", "/fn/waits-for-it").body == b"one"
    picloud.api("DELETE", f"routes/{other.json['id']}")

    assert activate(2) == (200, {"COLOUR": "blue"})
    assert {picloud.call("GET", "/waits/for/it").body for _ in range(10)} == {b"two"}
    picloud.api("PATCH", "scripts/waits-for-it/settings", {"env": {"COLOUR": "red"}})
    assert activate(1) == (200, {"COLOUR": "red"})
    assert activate(2) == (200, {"COLOUR": "red"})  # a rollback declares nothing


def test_a_picloud_toml_is_applied_as_a_whole_or_not_at_all(picloud: Running) -> None:
    picloud.deploy("owner", "return 'owner'")
    assert upload(picloud, "owner", main("owner") | {"picloud.toml": b"[[route]]\npath = '/owned'"}).status == 201
    upload(picloud, "whole", main("one"))
    before, count = picloud.api("GET", "scripts/whole").json, len(versions(picloud, "whole"))
    for toml, problem in (
        (TOML + b"[[route]]\npath = '/owned'\n", "conflict"),
        (TOML + b"[[route]]\npath = '/api/x'\n", "invalid-request"),
        (TOML + b"[[schedule]]\nevery = '5m'\n", "invalid-request"),
        (b"[settings]\nlimits.wall_ms = 300001", "invalid-request"),
        (b"[settings.cors]\norigins = ['*']\ncredentials = true", "invalid-request"),
    ):
        answer = upload(picloud, "whole", main("two") | {"picloud.toml": toml})
        assert answer.problem == problem
    assert picloud.api("GET", "scripts/whole").json == before
    assert len(versions(picloud, "whole")) == count
    assert picloud.call("GET", "/fn/whole").body == b"one"
    assert picloud.call("GET", "/owned").body == b"owner"


HOSTILE: list[tuple[str, bytes]] = [
    *(("application/x-tar", tar(entry("main.lua", b"return 'evil'"), entry(name, b"x"))) for name, _ in NAMES if name),
    *(
        ("application/x-tar", tar(entry("main.lua", b"return 'evil'"), entry("l", type=kind, linkname="/etc/passwd")))
        for kind, _ in TYPES
    ),
    ("application/x-tar", tar_of(main("evil"))[:700]),
    ("application/x-tar", tar_of(main("evil")) + b"x" * 512),
    ("application/x-tar", tar(entry("main.lua"), entry("main.lua"))),
    ("application/x-tar", tar(entry("site/main.lua"))),
    ("application/x-tar", b""),
    ("application/gzip", gzip.compress(tar(entry("main.lua", bytes(64 * 1024 * 1024))))),
    ("application/gzip", gzip.compress(tar_of(main("evil")))[:-3]),
    ("application/x-tar", tar(entry("main.lua", b"-" * (1024 * 1024 + 1)))),
    ("application/x-tar", tar(entry("main.lua"), *(entry(f"{number}") for number in range(100)))),
    ("application/json", b'{"files": {"main.lua": "return 1", "main.lua": "return 2"}}'),
    ("application/json", b'{"files": {"main.lua": "\\ud800"}}'),
    ("application/json", b'{"files": {"../main.lua": ""}}'),
    ("text/x-lua", tar_of(main("evil"))),
    ("text/x-lua", gzip.compress(tar_of(main("evil")))),
    ("application/octet-stream", gzip.compress(tar_of(main("evil")))),
]


def test_what_is_hostile_is_refused_with_a_reason_and_stores_nothing(picloud: Running) -> None:
    assert len(HOSTILE) > 30
    upload(picloud, "target", main("good"))
    count = len(versions(picloud, "target"))
    for content_type, body in HOSTILE:
        for name in ("target", "target-new"):
            answer = picloud.api("PUT", f"scripts/{name}", body, content_type)
            assert answer.problem in ("invalid-request", "body-too-large"), (content_type, body[:200])
            assert answer.status in (422, 413)
            assert len(answer.json["detail"]) > 10
    assert len(versions(picloud, "target")) == count
    assert picloud.call("GET", "/fn/target").body == b"good"
    assert picloud.api("GET", "scripts/target-new").status == 404


def test_a_bundle_of_a_hundred_files_runs(picloud: Running) -> None:
    files = {f"m{number:02}.lua": f"return {number} --".encode() + b"x" * 10_000 for number in range(99)}
    files["main.lua"] = b"local sum = 0 for n = 0, 98 do sum = sum + require(('m%02d'):format(n)) end return sum"
    assert upload(picloud, "hundred", files).status == 201
    assert picloud.call("GET", "/fn/hundred").body == b"4851"


def test_another_type_lists_those_that_are_taken(picloud: Running) -> None:
    answer = picloud.api("PUT", "scripts/typed", b"PK", "application/zip")
    assert (answer.status, answer.problem) == (415, "unsupported-media-type")
    assert "application/x-tar" in answer.json["detail"]
