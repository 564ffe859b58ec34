"""Scripts, tokens and invocations in a real PostgreSQL."""

import threading
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from picloud.auth import Scope, new_secret
from picloud.errors import NotFound
from picloud.model import (
    Invocation,
    InvocationFilter,
    Level,
    LineFilter,
    LogLine,
    Outcome,
    Record,
    Trigger,
    Upload,
    new_id,
)
from picloud.storage.changes import CHANNEL
from picloud.storage.invocations import InvocationTable
from picloud.storage.logs import LogTable
from picloud.storage.pool import Pool
from picloud.storage.scripts import ScriptTable
from picloud.storage.tokens import TokenTable


def put(scripts: ScriptTable, name: str, text: bytes) -> tuple[int, bool]:
    done = scripts.put(name, Upload({"main.lua": text}, text.hex(), "me"))
    return done.version, done.created


def test_versions_count_up_and_the_last_is_active(scripts: ScriptTable) -> None:
    assert [put(scripts, "a", b"1"), put(scripts, "a", b"2")] == [(1, True), (2, True)]
    program = scripts.program("a")
    assert program
    assert (program.version, program.files) == (2, {"main.lua": b"2"})
    assert [version.version for version in scripts.versions("a", 10, 100)] == [2, 1]
    assert scripts.files("a", 1) == {"main.lua": b"1"}


def test_the_same_source_makes_no_new_version(scripts: ScriptTable) -> None:
    put(scripts, "a", b"1")
    assert put(scripts, "a", b"1") == (1, False)
    assert len(scripts.versions("a", 10, 100)) == 1


def test_an_older_source_again_is_a_new_version(scripts: ScriptTable) -> None:
    for text in (b"1", b"2", b"1"):
        put(scripts, "a", text)
    assert scripts.get("a").active_version == 3


def test_a_rollback_makes_an_older_version_active(scripts: ScriptTable) -> None:
    put(scripts, "a", b"1")
    put(scripts, "a", b"2")
    scripts.activate("a", 1)
    assert scripts.get("a").active_version == 1
    assert put(scripts, "a", b"3") == (3, True)


def test_what_is_missing_is_named(scripts: ScriptTable) -> None:
    put(scripts, "a", b"1")
    for ask_version in (scripts.activate, scripts.version):
        with pytest.raises(NotFound, match="script 'a' has no version 9"):
            ask_version("a", 9)
    for ask in (
        scripts.get,
        scripts.delete,
        lambda name: scripts.versions(name, 1, 1),
        lambda name: scripts.activate(name, 1),
    ):
        with pytest.raises(NotFound, match="there is no script 'b'"):
            ask("b")
    assert scripts.program("b") is None


def test_a_deleted_script_comes_back_with_a_new_number(scripts: ScriptTable) -> None:
    put(scripts, "a", b"1")
    scripts.delete("a")
    assert scripts.program("a") is None
    assert put(scripts, "a", b"1") == (2, True)


def test_uploads_at_once_get_a_number_each(scripts: ScriptTable) -> None:
    numbers: list[int] = []
    texts = count()
    threads = [
        threading.Thread(target=lambda: numbers.append(put(scripts, "a", str(next(texts)).encode())[0]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 9))


def test_scripts_are_listed_by_name_in_pages(scripts: ScriptTable) -> None:
    for name in ("b", "a", "c"):
        put(scripts, name, b"x")
    assert [script.name for script in scripts.page(2, "")] == ["a", "b"]
    assert [script.name for script in scripts.page(2, "b")] == ["c"]


def test_every_change_is_notified_with_its_commit(scripts: ScriptTable, pool: Pool) -> None:
    with pool.transaction() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")
    put(scripts, "a", b"1")
    put(scripts, "a", b"2")
    scripts.activate("a", 1)
    scripts.change_settings("a", lambda _: {"limits": {"wall_ms": 5}})
    scripts.delete("a")
    with pool.transaction() as cursor:
        cursor.execute("SELECT 1")
        heard = [notification.payload for notification in cursor.connection.notifies]
    assert heard == [*["script a"] * 5, "routes "]


def test_settings_reach_the_program(scripts: ScriptTable) -> None:
    put(scripts, "a", b"1")
    scripts.change_settings("a", lambda _: {"limits": {"wall_ms": 5}, "env": {"K": "v"}, "expose_errors": False})
    program = scripts.program("a")
    assert program
    assert (program.settings.limits.wall_ms, program.settings.limits.cpu_ms) == (5, 5000)
    assert (program.settings.env, program.settings.expose_errors) == ({"K": "v"}, False)


def test_a_token_is_found_by_its_secret_and_replaced_by_its_name(pool: Pool) -> None:
    tokens = TokenTable(pool)
    first, second = new_secret(), new_secret()
    tokens.put("admin", first, [Scope.ADMIN])
    found = tokens.find(first)
    assert found
    assert (found.name, found.scopes) == ("admin", frozenset({Scope.ADMIN}))
    tokens.put("admin", second, [Scope.READ])
    assert tokens.find(first) is None
    assert tokens.find(second)


def test_no_secret_is_stored(pool: Pool) -> None:
    secret = new_secret()
    TokenTable(pool).put("admin", secret, [Scope.ADMIN])
    with pool.transaction() as cursor:
        cursor.execute("SELECT row_to_json(tokens)::text FROM tokens")
        row = str(cursor.fetchone())
    assert secret not in row
    assert secret.encode().hex() not in row


def record(script: str = "a", age: timedelta = timedelta(), text: str = "hello", fields: str = '{"k": 1}') -> Record:
    now = datetime.now(UTC) - age
    stamp = int(now.timestamp() * 1000)
    identifier = new_id() if not age else f"{stamp >> 16:08x}-{stamp & 0xFFFF:04x}{new_id()[13:]}"
    invocation = Invocation(identifier, script, 1, Trigger.HTTP, Outcome.OK, 200, now, 0.5, 1.5, 1, 1000)
    return Record(invocation, (LogLine(now, Level.INFO, text, fields),))


def test_a_batch_comes_back_as_it_was(invocations: InvocationTable, lines: LogTable) -> None:
    sent = [record(), record(), record()]
    invocations.add(sent)
    assert invocations.page(InvocationFilter(script="a"), 10, "") == [one.invocation for one in reversed(sent)]
    assert invocations.get(sent[0].invocation.id) == sent[0].invocation
    line = lines.page(LineFilter(invocation=sent[1].invocation.id), 10, 0)[0]
    assert (line.message, line.level, line.fields) == ("hello", Level.INFO, '{"k": 1}')


def test_a_batch_that_was_written_already_changes_nothing(invocations: InvocationTable, lines: LogTable) -> None:
    sent = [record()]
    invocations.add(sent)
    invocations.add(sent)
    assert len(invocations.page(InvocationFilter(), 10, "")) == 1
    assert len(lines.page(LineFilter(), 10, 0)) == 1


def test_pages_go_from_new_to_old_without_a_gap(invocations: InvocationTable) -> None:
    sent = [record() for _ in range(5)]
    invocations.add(sent)
    newest = [one.invocation.id for one in reversed(sent)]
    first = [one.id for one in invocations.page(InvocationFilter(), 2, "")]
    rest = [one.id for one in invocations.page(InvocationFilter(), 9, first[-1])]
    assert first + rest == newest


def test_the_newest_of_each_script_comes_in_one_statement(invocations: InvocationTable) -> None:
    sent = [record(script) for script in ("a", "b", "a", "c", "b")]
    invocations.add(sent)
    latest = invocations.latest(["a", "b", "never"])
    assert latest == {"a": sent[2].invocation, "b": sent[4].invocation}


def test_text_that_postgresql_cannot_hold_is_kept_as_far_as_it_can(
    invocations: InvocationTable, lines: LogTable
) -> None:
    invocations.add([record(text="a\0b", fields='{"k": "\\u0000"}')])
    assert lines.page(LineFilter(script="a"), 1, 0)[0].message == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("fields", ['{"a":' + "9" * 6000 + "}", '{"a":' + "[" * 900 + "]" * 900 + "}"])
def test_fields_that_no_parser_here_could_read_are_handed_on(
    invocations: InvocationTable, lines: LogTable, fields: str
) -> None:
    invocations.add([record(fields=fields)])
    assert lines.page(LineFilter(script="a"), 1, 0)[0].fields == fields


def test_what_is_too_old_goes(invocations: InvocationTable, lines: LogTable) -> None:
    old, young = record(age=timedelta(days=8)), record()
    invocations.add([old, young])
    assert invocations.expire(7, 1000) == 2  # it and its line
    assert [one.id for one in invocations.page(InvocationFilter(), 10, "")] == [young.invocation.id]
    assert len(lines.page(LineFilter(), 10, 0)) == 1
    invocations.vacuum()


def test_what_is_too_much_goes_oldest_first(invocations: InvocationTable) -> None:
    sent = [record() for _ in range(5)]
    invocations.add(sent)
    assert invocations.expire(7, 2) == 3 * 2
    assert [one.id for one in invocations.page(InvocationFilter(), 10, "")] == [
        one.invocation.id for one in sent[:2:-1]
    ]


def test_a_missing_invocation_is_named(invocations: InvocationTable) -> None:
    with pytest.raises(NotFound, match="there is no invocation"):
        invocations.get(new_id())
