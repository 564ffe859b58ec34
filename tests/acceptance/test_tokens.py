"""Tokens over HTTP: made, listed, seen in use, revoked; and their secrets stay secret."""

import contextlib
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from picloud.auth import digest, is_secret, new_secret
from picloud.storage.pool import Pool
from tests.processes import descendants
from tests.running import Answer, Running, eventually, running


def names(picloud: Running) -> list[str]:
    return [it["name"] for it in picloud.api("GET", "tokens?limit=500").json["items"]]


def make(picloud: Running, name: str, *scopes: str, **more: Any) -> dict[str, Any]:
    answer = picloud.api("POST", "tokens", {"name": name, "scopes": list(scopes), **more})
    assert answer.status == 201, answer
    made: dict[str, Any] = answer.json
    return made


def call(picloud: Running, secret: str, method: str, path: str, body: bytes | None = None) -> Answer:
    headers = {"authorization": f"Bearer {secret}", "content-type": "text/plain"}
    return picloud.call(method, f"/api/v1/{path}", body, headers)


def test_a_token_is_made_and_its_secret_shown_once(picloud: Running) -> None:
    answer = picloud.api("POST", "tokens", {"name": "ci", "scopes": ["read", "deploy"], "scripts": ["hello"]})
    made = answer.json
    assert answer.status == 201
    assert answer.header("location") == f"/api/v1/tokens/{made['id']}"
    assert answer.header("cache-control") == "no-store"
    secret = made.pop("token")
    assert is_secret(secret)
    assert list(made) == ["id", "name", "scopes", "scripts", "created_at", "expires_at", "last_used_at"]
    assert (made["name"], made["scopes"], made["scripts"]) == ("ci", ["deploy", "read"], ["hello"])
    assert (made["expires_at"], made["last_used_at"]) == (None, None)
    assert picloud.api("GET", f"tokens/{made['id']}").json == made
    listed = picloud.api("GET", f"tokens?after={made['id'] - 1}&limit=1")
    assert listed.json == {"items": [made], "next": str(made["id"])}
    assert secret not in listed.body.decode()


def test_tokens_come_in_pages(picloud: Running) -> None:
    names, after = [make(picloud, f"page {number}", "read")["name"] for number in range(3)], "0"
    seen: list[str] = []
    while after:
        page = picloud.api("GET", f"tokens?limit=2&after={after}").json
        seen += [it["name"] for it in page["items"]]
        after = page["next"]
    assert [name for name in seen if name.startswith("page ")] == names


def test_its_end_is_given_in_any_zone(picloud: Running) -> None:
    end = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    local = (end + timedelta(hours=2)).isoformat().replace("+00:00", "+02:00")
    assert make(picloud, "for a day", "read", expires_at=local)["expires_at"] == end.isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({}, "name", "is missing"),
        ({"name": "x"}, "scopes", "is missing"),
        ({"name": "x", "scopes": []}, "scopes", "at least 1"),
        ({"name": "x", "scopes": ["reed"]}, "scopes[0]", "did you mean 'read'?"),
        ({"name": "x", "scopes": ["read", "zzz"]}, "scopes[1]", "'zzz' is not known"),
        ({"name": "x", "scopes": "read"}, "scopes", "must be a list, not text"),
        ({"name": "", "scopes": ["read"]}, "name", "printable"),
        ({"name": "x" * 101, "scopes": ["read"]}, "name", "1 to 100"),
        ({"name": "a\u0000", "scopes": ["read"]}, "name", "printable"),
        ({"name": "x", "scopes": ["read"], "scripts": []}, "scripts", "at least 1"),
        ({"name": "x", "scopes": ["read"], "scripts": ["A"]}, "scripts[0]", "cannot be a script's name"),
        ({"name": "x", "scopes": ["read"], "scripts": ["a\n"]}, "scripts[0]", "cannot be a script's name"),
        ({"name": "x", "scopes": ["admin"], "scripts": ["a"]}, "scripts", "good for every script"),
        ({"name": "x", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}, "expires_at", "in the future"),
        ({"name": "x", "scopes": ["read"], "expires_at": "2999-01-01T00:00:00"}, "expires_at", "a time with its zone"),
        ({"name": "x", "scopes": ["read"], "expires_at": "tomorrow"}, "expires_at", "a time with its zone"),
        ({"name": "x", "scopes": ["read"], "expires_at": "9999-12-31T23:59:59-01:00"}, "expires_at", "calendar"),
        ({"name": "x", "scopes": ["read"], "scopse": 1}, "scopse", "did you mean 'scopes'?"),
    ],
)
def test_what_is_wrong_with_a_token_is_said(picloud: Running, body: Any, field: str, says: str) -> None:
    before = names(picloud)
    answer = picloud.api("POST", "tokens", body)
    assert (answer.status, answer.problem) == (422, "invalid-request")
    (error,) = answer.json["errors"]
    assert error["field"] == field
    assert says in error["message"]
    assert names(picloud) == before


def test_a_name_is_given_once(picloud: Running) -> None:
    make(picloud, "twice", "read")
    answer = picloud.api("POST", "tokens", {"name": "twice", "scopes": ["read"]})
    assert (answer.status, answer.problem) == (409, "conflict")


@pytest.mark.parametrize("identifier", ["x", "0", "999999999", "99999999999999999999", "-1", "1.0"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_token_that_is_none_is_not_found(picloud: Running, method: str, identifier: str) -> None:
    assert picloud.api(method, f"tokens/{identifier}").problem == "not-found"


def test_a_revoked_token_opens_nothing_from_the_next_request_on(picloud: Running) -> None:
    made = make(picloud, "short-lived", "read")
    assert {call(picloud, made["token"], "GET", "scripts").status for _ in range(20)} == {200}  # every worker knows it
    assert picloud.api("DELETE", f"tokens/{made['id']}").status == 204
    answers = [call(picloud, made["token"], "GET", "scripts") for _ in range(20)]
    assert {answer.problem for answer in answers} == {"unauthorized"}
    assert picloud.api("GET", f"tokens/{made['id']}").problem == "not-found"


def test_a_token_that_another_node_revokes_is_dead_here(picloud: Running) -> None:
    made = make(picloud, "of two nodes", "read")
    assert {call(picloud, made["token"], "GET", "scripts").status for _ in range(20)} == {200}
    with contextlib.closing(Pool(picloud.database_url, size=1, wait_ms=5_000)) as pool, pool.transaction() as cursor:
        cursor.execute("DELETE FROM tokens WHERE id = %s", (made["id"],))
        cursor.execute("SELECT pg_notify('picloud_changes', 'tokens ')")
    eventually(
        lambda: {call(picloud, made["token"], "GET", "scripts").status for _ in range(20)},
        lambda statuses: statuses == {401},
    )


def test_one_may_revoke_oneself_but_not_lock_all_out(picloud: Running) -> None:
    (lasting,) = [it for it in picloud.api("GET", "tokens").json["items"] if it["name"].startswith("admin@")]
    second = make(picloud, "second admin", "admin")
    assert call(picloud, second["token"], "DELETE", f"tokens/{second['id']}").status == 204
    others = [
        it
        for it in picloud.api("GET", "tokens?limit=500").json["items"]
        if "admin" in it["scopes"] and it["expires_at"] is None and it["id"] != lasting["id"]
    ]
    for it in others:  # of other tests
        assert picloud.api("DELETE", f"tokens/{it['id']}").status == 204
    answer = picloud.api("DELETE", f"tokens/{lasting['id']}")
    assert (answer.status, answer.problem) == (409, "conflict")
    assert "locked out" in answer.json["detail"]
    assert picloud.api("GET", "scripts").status == 200


def test_a_use_is_seen(picloud: Running) -> None:
    made = make(picloud, "used", "read")
    before = datetime.now(UTC)
    call(picloud, made["token"], "GET", "scripts")
    seen = eventually(lambda: picloud.api("GET", f"tokens/{made['id']}").json["last_used_at"], bool)
    assert before <= datetime.fromisoformat(seen) <= datetime.now(UTC)


def test_a_use_right_before_the_stop_is_not_lost(fresh_data: Path) -> None:
    with running(fresh_data) as ours:
        made = make(ours, "last", "read")
        call(ours, made["token"], "GET", "scripts")
        ours.stop()
        ours.start()
        assert ours.api("GET", f"tokens/{made['id']}").json["last_used_at"]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path]]:
    """A PiCloud whose log is read."""
    folder = tmp_path_factory.mktemp("watched")
    log, ours = folder / "stderr", Running(folder / "data", {})
    with log.open("w") as stderr:
        ours.stderr = stderr.fileno()
        ours.start()
    try:
        yield ours, log
    finally:
        ours.stop()


def misused(ours: Running, secret: str) -> list[Answer]:
    """A token in all the places where somebody might put it, of requests that fail."""
    bearer, as_text = {"authorization": f"Bearer {secret}"}, {"content-type": "text/plain"}
    return [
        ours.call("GET", "/api/v1/scripts", headers=bearer),
        ours.call("PUT", "/api/v1/scripts/x", b"return = 1", bearer | as_text),
        ours.call("POST", "/api/v1/tokens", b"{", bearer),
        ours.call("GET", "/api/v1/scripts?limit=x", headers=bearer),
        ours.call("GET", "/api/v1/scripts", headers={"authorization": f"Basic {secret}"}),
        ours.call("GET", "/api/v1/scripts", headers={"authorization": secret}),
        ours.call("GET", f"/api/v1/scripts?token={secret}"),
        ours.call("GET", "/readyz", headers={"cookie": f"picloud_session={secret}"}),
    ]


def test_a_secret_is_nowhere_but_where_it_was_given(watched: tuple[Running, Path]) -> None:
    ours, log = watched
    made = make(ours, "careful", "read", "deploy")
    secrets = [made["token"], ours.token, new_secret()]
    for secret in secrets:
        for answer in misused(ours, secret):
            shown = answer.body.decode() + repr(answer.headers)
            assert secret not in shown
            assert digest(secret).hex() not in shown
        ours.raw(f"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {secret}\r\nBad Header\r\n\r\n".encode())
    ours.raw(b"NONSENSE\r\n\r\n")
    listed = ours.api("GET", "tokens").body.decode() + ours.api("GET", f"tokens/{made['id']}").body.decode()
    processes = "".join(process_text(pid) for pid in descendants(os.getpid()))
    stored = database_text(ours)
    for secret in secrets:
        for text in (log.read_text(), listed, processes, stored):
            assert secret not in text
            assert secret.encode().hex() not in text
    assert digest(secrets[0]).hex() in stored  # we did look into the right tables
    assert re.search(r"postgres", processes)


def test_no_file_holds_a_secret_but_the_administrators(watched: tuple[Running, Path]) -> None:
    ours, _ = watched
    made = make(ours, "not in a file", "read")
    call(ours, made["token"], "GET", "scripts")
    files = [path for path in ours.data.rglob("*") if path.is_file()]
    holders = {
        path.name for path in files for secret in (made["token"], ours.token) if secret.encode() in path.read_bytes()
    }
    assert holders == {"admin.token"}


def process_text(pid: int) -> str:
    """What others may see of a process: its command line and environment."""
    with contextlib.suppress(OSError):
        return "".join(Path(f"/proc/{pid}/{name}").read_text(errors="replace") for name in ("cmdline", "environ"))
    return ""


def database_text(ours: Running) -> str:
    """Every row of every table of ours."""
    with contextlib.closing(Pool(ours.database_url, size=1, wait_ms=5_000)) as pool, pool.transaction() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        tables = [row[0] for row in cursor.fetchall()]
        texts = []
        for table in tables:
            cursor.execute(f'SELECT row_to_json(it)::text FROM "{table}" it')
            texts += [row[0] for row in cursor.fetchall()]
    return "\n".join(texts)
