"""The document at /openapi.json is true: schemathesis finds nothing, and it tells of every path."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from picloud.api.problems import TABLE, Problem
from picloud.model import LIMITS_MOST
from tests.running import ROOT, Running, running

ASKED = ROOT / "tests/acceptance/openapi"
CASES_MIN = 2_000


# The document says what no operator can go beyond: this one goes as far.
MAXIMA = {f"PICLOUD_{name}_MAX".upper(): str(most) for name, most in asdict(LIMITS_MOST).items()}


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Running]:
    """A PiCloud that may be left as nobody would want to find it."""
    with running(tmp_path / "data", **MAXIMA) as ours:
        for name in ("hello", "world"):
            ours.deploy(name, "return function(request) log.info('asked', request.path) return request.body end")
        yield ours


def schemathesis(picloud: Running, folder: Path, *arguments: str) -> tuple[int, str]:
    """Run it against a server → exit status, what it printed."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(ASKED / "schemathesis.toml"),
        "run", f"{picloud.url}/openapi.json", "--checks", "all", "--phases", "examples,coverage,fuzzing,stateful",
        "--header", f"Authorization: Bearer {picloud.token}", "--no-color", *arguments,
    ]  # fmt: skip
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(ASKED / "hooks.py"), "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return run.returncode, run.stdout.decode()


def test_schemathesis_finds_nothing(theirs: Running, tmp_path: Path) -> None:
    status, output = schemathesis(theirs, tmp_path, "--max-examples", "50")
    assert status == 0, output
    cases = re.search(r"(\d+) generated", output)
    assert cases, output
    print(f"{cases[1]} cases")
    assert int(cases[1]) >= CASES_MIN
    assert theirs.api("GET", "scripts").status == 200, "its token was revoked: it saw nothing but 401"


def test_anyone_may_read_the_document_and_keep_it(picloud: Running) -> None:
    answer = picloud.call("GET", "/openapi.json")
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    assert answer.json["openapi"] == "3.1.0"
    tag = answer.header("etag") or ""
    assert picloud.call("HEAD", "/openapi.json").header("etag") == tag
    again = picloud.call("GET", "/openapi.json", headers={"if-none-match": f'"other", W/{tag}'})
    assert (again.status, again.body, again.header("etag")) == (304, b"", tag)
    assert picloud.call("GET", "/openapi.json", headers={"if-none-match": '"other"'}).status == 200


def test_every_worker_says_the_same(picloud: Running) -> None:
    assert len({answer.body for answer in picloud.at_once(20, "GET", "/openapi.json")}) == 1


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_every_problem_has_a_page_for_people_and_one_for_programs(picloud: Running, row: Problem) -> None:
    page = picloud.call("GET", f"/problems/{row.name}", headers={"accept": "text/html"})
    assert (page.status, page.header("content-type")) == (200, "text/html; charset=utf-8")
    assert page.header("vary") == "Accept"
    assert "`" not in page.body.decode()
    told = picloud.call("GET", f"/problems/{row.name}", headers={"accept": "application/json"})
    assert (told.status, told.json["status"], told.json["when"]) == (200, row.status, row.when)


def test_all_problems_are_on_one_page(picloud: Running) -> None:
    listed = picloud.call("GET", "/problems", headers={"accept": "application/json"}).json["items"]
    assert [it["type"] for it in listed] == [f"/problems/{name}" for name in TABLE]
    assert picloud.call("GET", "/problems").header("vary") == "Accept"
    page = picloud.call("GET", "/problems").body.decode()
    assert [name for name in TABLE if f"'/problems/{name}'" not in page] == []


UPLOAD, ACTIVATE, LIST = "PUT /api/v1/scripts/odd", "PUT /api/v1/scripts/odd/active", "GET /api/v1/scripts"


@pytest.mark.parametrize(
    ("line", "headers", "body", "status"),
    [
        (UPLOAD, ["Content-Type: \xff\xfe", "Content-Length: 8"], b"return 1", 415),
        (UPLOAD, ["Content-Type: text/plain", "Content-Type: image/png", "Content-Length: 8"], b"return 1", 400),
        (UPLOAD, ["Transfer-Encoding: gzip"], b"", 400),
        (UPLOAD, ["Transfer-Encoding: chunked", "Content-Length: 3"], b"0\r\n\r\n", 400),
        (UPLOAD, ["Content-Length: 99999999999999999999999"], b"", 400),
        (UPLOAD, ["Expect: 200-ok", "Content-Length: 8"], b"return 1", 417),
        (UPLOAD, ["If-Match: \xff", "Content-Length: 8"], b"return 1", 412),
        (ACTIVATE, ["Content-Length: 999999"], b"", 413),
        (ACTIVATE, [], b"", 422),
        (ACTIVATE, ["Content-Length: 20"], b'{"version":"\\ud800"}', 422),
        (ACTIVATE, ["Content-Length: 13"], b'{"\\u0000": 1}', 422),
        (ACTIVATE, ["Content-Length: 60000"], b"[" * 60_000, 422),
        (ACTIVATE, ["Content-Length: 5012"], b'{"version":' + b"9" * 5000 + b"}", 422),
        (ACTIVATE, ["Content-Length: 17"], b'{"version":1e400}', 422),
        (LIST + "?after=%ff", [], b"", 422),
        (LIST + "?after=\xff", [], b"", 400),
        (LIST + "?limit=%D9%A1", [], b"", 422),
        (LIST + "?limit=" + "9" * 5000, [], b"", 422),
        (LIST + "?limit=1&limit=2", [], b"", 422),
        (LIST + "?=1", [], b"", 422),
        (LIST + "?after=" + "x" * 9000, [], b"", 414),
        (LIST, ["X: " + "x" * 9000], b"", 431),
        (LIST + "/%00", [], b"", 404),
        (LIST + "/%ff", [], b"", 404),
        (LIST + "/odd/versions/%D9%A1", [], b"", 404),
        ("NONSENSE /api/v1/scripts", [], b"", 405),
    ],
)
def test_odd_bytes_end_in_a_documented_answer(
    picloud: Running, line: str, headers: list[str], body: bytes, status: int
) -> None:
    head = [f"{line} HTTP/1.1", "Host: h", "Connection: close", f"Authorization: Bearer {picloud.token}", *headers]
    answer = picloud.raw("\r\n".join([*head, "", ""]).encode("latin-1") + body)
    assert int(answer.split(b" ")[1]) == status
    assert b"\r\ncontent-type: application/problem+json\r\n" in answer.lower()
