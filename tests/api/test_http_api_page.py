"""docs/http-api.md says of every endpoint and of every problem what the code says, to the letter."""

import inspect
import re
from typing import Any

from picloud.api import openapi
from picloud.api.apps import EVERYWHERE, MANAGER, ORCHESTRATOR
from picloud.api.openapi_answers import DEFAULT, answers_of
from picloud.api.problems import TABLE
from picloud.api.tables import Table
from tests.declarations import ROUTES
from tests.running import ROOT

PAGE = (ROOT / "docs/http-api.md").read_text(encoding="utf-8")

# What everybody was promised, with its status.
PROMISED = {
    "script-error": 500, "timeout": 504, "cpu-limit": 504, "memory-limit": 500, "sandbox-violation": 500,
    "sandbox-crash": 500, "executor-lost": 503, "overloaded": 503, "concurrency-limit": 429, "bad-response": 502,
    "caller-gone": 499,
    "body-too-large": 413, "not-found": 404, "method-not-allowed": 405, "unsupported-media-type": 415,
    "unauthorized": 401, "forbidden": 403, "invalid-request": 422, "syntax-error": 422, "conflict": 409,
    "precondition-failed": 412, "database-unavailable": 503, "outcome-unknown": 503,
}  # fmt: skip


def rows(first_cell: str) -> list[str]:
    """The rows of the page's tables whose first cell looks like this."""
    return re.findall(rf"^\| {first_cell} \|.*\|$", PAGE, re.MULTILINE)


def row_of(it: openapi.Operation) -> str:
    path, method, resource, told = it
    summary = inspect.getdoc(getattr(resource, f"on_{method}")).splitlines()[0]  # type: ignore[union-attr]
    own = {"the script's own" if status == DEFAULT else status for status in answers_of(told)}
    named = {*told.problems, *(["not-found"] if "{" in path else [])}
    statuses = ", ".join(sorted(own | {str(TABLE[name].status) for name in named}, key=lambda it: (it[0] < "a", it)))
    return f"| `{method.upper()} {path}` | {summary} | {f'`{told.scope}`' if told.scope else 'all'} | {statuses} |"


def test_every_endpoint_has_its_row_and_no_other_is_there() -> None:
    expected = [row_of(it) for it in openapi.operations(ROUTES)]
    assert sorted(rows(r"`[A-Z]+ /[^`]*`")) == sorted(expected), "\n".join(expected)


def test_every_problem_has_its_row_and_no_other_is_there() -> None:
    expected = [f"| `{row.name}` | {row.status} | {row.when} | {row.advice} |" for row in TABLE.values()]
    assert rows(r"`[a-z-]+` \| \d{3}") == expected, "\n".join(expected)


def paths_of(service: str) -> list[str]:
    """The paths that the page says a service has, `*` for what may be anything."""
    (row,) = rows(re.escape(service))
    return re.findall(r"`(/[^`]*)`", row)


def covers(pattern: str, path: str) -> bool:
    """`*` is one segment, or at the end all that is left."""
    words = re.escape(pattern.removesuffix("*")).replace(r"\*", "[^/]+")
    return bool(re.fullmatch(words + (".+" if pattern.endswith("*") else ""), path))


def test_each_path_is_the_services_that_the_page_says_it_is() -> None:
    tables: dict[str, Table[Any]] = {
        "both": EVERYWHERE,
        "`picloud-orchestrator`": ORCHESTRATOR,
        "`picloud-manager`": MANAGER,
    }
    useless = {(service, pattern) for service in tables for pattern in paths_of(service)}
    for expected, table in tables.items():
        for path in (row.path for row in table):
            found = [(it, pattern) for it in tables for pattern in paths_of(it) if covers(pattern, path)]
            assert found, path
            assert found[0][0] == expected, path  # the manager's are those that are left
            useless -= {*found}
    assert useless == {("`picloud-orchestrator`", "/fn/*")}  # which is in no table


def test_every_promised_problem_is_there() -> None:
    assert PROMISED.items() <= {name: row.status for name, row in TABLE.items()}.items()
