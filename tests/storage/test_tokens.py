"""Tokens in a real PostgreSQL."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from picloud.auth import Principal, Scope, digest, new_secret
from picloud.errors import Conflict, NotFound
from picloud.storage.changes import CHANNEL
from picloud.storage.pool import Pool
from picloud.storage.tokens import TokenTable
from tests.fixtures_postgres import execute
from tests.running import eventually

SOON = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture
def tokens(pool: Pool) -> TokenTable:
    return TokenTable(pool)


def test_a_token_comes_back_as_it_was_made(tokens: TokenTable) -> None:
    made = tokens.add("ci", new_secret(), [Scope.DEPLOY, Scope.READ], ["a", "b"], SOON)
    assert (made.name, made.scopes, made.scripts) == ("ci", (Scope.DEPLOY, Scope.READ), ("a", "b"))
    assert (made.expires_at, made.last_used_at) == (SOON, None)
    assert tokens.get(made.id) == made
    assert tokens.page(10, 0) == [made]


def test_its_principal_has_its_limits(tokens: TokenTable) -> None:
    secret = new_secret()
    made = tokens.add("ci", secret, [Scope.READ], ["a"], SOON)
    expected = Principal(made.id, "ci", frozenset({Scope.READ}), frozenset({"a"}), SOON)
    assert tokens.find(secret) == expected
    credential = tokens.credential(made.id)
    assert credential
    assert (credential.principal, credential.secret_hash) == (expected, digest(secret))


def test_a_name_is_given_once(tokens: TokenTable) -> None:
    first = new_secret()
    tokens.add("ci", first, [Scope.READ])
    with pytest.raises(Conflict, match="a token named 'ci' already"):
        tokens.add("ci", new_secret(), [Scope.ADMIN])
    found = tokens.find(first)
    assert found
    assert found.scopes == {Scope.READ}


def test_a_token_that_is_put_in_anothers_place_has_none_of_its_limits(tokens: TokenTable) -> None:
    secret = new_secret()
    tokens.touch({tokens.add("admin", new_secret(), [Scope.READ], ["a"], SOON).id: datetime.now(UTC)})
    tokens.put("admin", secret, [Scope.ADMIN])
    (token,) = tokens.page(10, 0)
    assert (token.scopes, token.scripts, token.expires_at, token.last_used_at) == ((Scope.ADMIN,), None, None, None)


def test_pages_go_from_old_to_new(tokens: TokenTable) -> None:
    made = [tokens.add(name, new_secret(), [Scope.READ]).id for name in "cab"]
    assert [it.id for it in tokens.page(2, 0)] == made[:2]
    assert [it.id for it in tokens.page(2, made[1])] == made[2:]


def test_a_revoked_token_is_nobodys(tokens: TokenTable) -> None:
    secret = new_secret()
    made = tokens.add("ci", secret, [Scope.READ])
    tokens.revoke(made.id)
    assert tokens.find(secret) is None
    assert tokens.credential(made.id) is None
    for ask in (tokens.get, tokens.revoke):
        with pytest.raises(NotFound, match=f"there is no token {made.id}"):
            ask(made.id)


def test_the_last_lasting_admin_token_stays(tokens: TokenTable) -> None:
    tokens.add("for a day", new_secret(), [Scope.ADMIN], None, SOON)
    tokens.add("reader", new_secret(), [Scope.READ])
    first, second = (tokens.add(name, new_secret(), [Scope.ADMIN]).id for name in ("first", "second"))
    tokens.revoke(first)
    with pytest.raises(Conflict, match="the last token with the scope 'admin' that does not expire"):
        tokens.revoke(second)
    assert tokens.get(second).name == "second"


def test_of_the_last_two_admin_tokens_one_stays_though_both_are_revoked_at_once(
    tokens: TokenTable, pool: Pool, database: str
) -> None:
    first, second = (tokens.add(name, new_secret(), [Scope.ADMIN]).id for name in ("first", "second"))
    ends: list[str] = []

    def revoke_second() -> None:
        try:
            tokens.revoke(second)
            ends.append("revoked")
        except Conflict:
            ends.append("refused")

    def is_decided() -> bool:
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'tokens'::regclass"
        return bool(ends) or execute(database, waiting) != []

    other = threading.Thread(target=revoke_second)
    with pool.transaction() as cursor:
        cursor.execute("DELETE FROM tokens WHERE id = %s", (first,))
        other.start()
        eventually(is_decided, bool)
    other.join()
    assert ends == ["refused"]
    assert [it.name for it in tokens.page(10, 0)] == ["second"]


def test_what_makes_a_known_token_wrong_is_announced(tokens: TokenTable, pool: Pool) -> None:
    with pool.transaction() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")
    tokens.put("admin", new_secret(), [Scope.ADMIN])
    made = tokens.add("ci", new_secret(), [Scope.READ])
    tokens.touch({made.id: datetime.now(UTC)})
    tokens.revoke(made.id)
    with pool.transaction() as cursor:
        cursor.execute("SELECT 1")
        heard = [notification.payload for notification in cursor.connection.notifies]
    assert heard == ["tokens ", "tokens "]  # the put and the revocation


def test_a_use_is_noted_and_never_back(tokens: TokenTable) -> None:
    made, other = (tokens.add(name, new_secret(), [Scope.READ]).id for name in "ab")
    moment = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
    tokens.touch({made: moment, 999: moment})
    tokens.touch({made: moment - timedelta(minutes=5)})
    assert tokens.get(made).last_used_at == moment
    assert tokens.get(other).last_used_at is None


def test_a_token_is_not_used_before_it_is_there(tokens: TokenTable) -> None:
    made = tokens.add("ci", new_secret(), [Scope.READ])
    tokens.touch({made.id: datetime.now(UTC)})
    used_at = tokens.get(made.id).last_used_at
    assert used_at
    assert used_at >= made.created_at
