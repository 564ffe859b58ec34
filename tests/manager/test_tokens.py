"""What a token must be, and when what is known of it is wrong."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from picloud.auth import Credential, Principal, Scope, Token, digest, is_secret, new_secret
from picloud.cache import Generation
from picloud.errors import DatabaseUnavailable, InvalidRequest
from picloud.manager.tokens import KnownTokens, Tokens
from tests.running import eventually

NOW = datetime.now(UTC)


class Shelf:
    """Keeps tokens and counts how often it was asked whose they are."""

    def __init__(self) -> None:
        self.secrets: dict[str, Principal] = {}
        self.reads = 0
        self.away = False
        self.announced = 0

    def add(
        self,
        name: str,
        secret: str,
        scopes: Iterable[Scope],
        scripts: Iterable[str] | None,
        expires_at: datetime | None,
    ) -> Token:
        limited = None if scripts is None else frozenset(scripts)
        self.secrets[secret] = Principal(len(self.secrets) + 1, name, frozenset(scopes), limited, expires_at)
        listed = None if scripts is None else tuple(scripts)
        return Token(len(self.secrets), name, tuple(scopes), listed, NOW, expires_at, None)

    def page(self, limit: int, after: int) -> list[Token]:
        return []

    def get(self, identifier: int) -> Token:
        raise NotImplementedError

    def revoke(self, identifier: int) -> None:
        self.secrets = {secret: it for secret, it in self.secrets.items() if it.id != identifier}

    def find(self, secret: str) -> Principal | None:
        self.reads += 1
        if self.away:
            raise DatabaseUnavailable
        return self.secrets.get(secret)

    def credential(self, identifier: int) -> Credential | None:
        found = [(secret, it) for secret, it in self.secrets.items() if it.id == identifier]
        return Credential(found[0][1], digest(found[0][0])) if found else None

    def announce(self) -> None:
        self.announced += 1


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def tokens(shelf: Shelf) -> Tokens:
    return Tokens(shelf, shelf.announce)


@pytest.fixture
def generation(tmp_path: Path) -> Generation:
    return Generation(tmp_path / "generation")


@pytest.fixture
def used() -> list[int]:
    return []


@pytest.fixture
def known(shelf: Shelf, generation: Generation, used: list[int]) -> KnownTokens:
    return KnownTokens(shelf, generation, used.append)


def test_a_new_token_has_a_secret_of_its_own(tokens: Tokens, shelf: Shelf) -> None:
    made, secret = tokens.create("Jörg’s laptop", [Scope.READ, Scope.DEPLOY, Scope.READ], ["b", "a", "b"])
    assert (made.scopes, made.scripts) == ((Scope.DEPLOY, Scope.READ), ("a", "b"))
    assert is_secret(secret)
    assert secret != tokens.create("other", [Scope.READ])[1]
    assert shelf.announced == 0


@pytest.mark.parametrize(
    ("name", "scopes", "scripts", "expires_at", "field"),
    [
        ("", [Scope.READ], None, None, "name"),
        ("x" * 101, [Scope.READ], None, None, "name"),
        ("   ", [Scope.READ], None, None, "name"),
        ("a\nb", [Scope.READ], None, None, "name"),
        ("a\N{RIGHT-TO-LEFT OVERRIDE}b", [Scope.READ], None, None, "name"),
        ("a", [], None, None, "scopes"),
        ("a", [Scope.READ], [], None, "scripts"),
        ("a", [Scope.READ], ["ok", "Not-Ok"], None, "scripts[1]"),
        ("a", [Scope.READ], ["a\n"], None, "scripts[0]"),
        ("a", [Scope.ADMIN, Scope.READ], ["a"], None, "scripts"),
        ("a", [Scope.READ], None, NOW, "expires_at"),
    ],
)
def test_what_cannot_be_a_token_is_refused_with_the_field(
    tokens: Tokens,
    shelf: Shelf,
    name: str,
    scopes: list[Scope],
    scripts: list[str] | None,
    expires_at: datetime | None,
    field: str,
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        tokens.create(name, scopes, scripts, expires_at)
    assert [error["field"] for error in caught.value.errors] == [field]
    assert not shelf.secrets


def test_everything_that_is_wrong_is_said_at_once(tokens: Tokens) -> None:
    with pytest.raises(InvalidRequest) as caught:
        tokens.create("", [Scope.ADMIN], ["a"], NOW)
    assert [error["field"] for error in caught.value.errors] == ["name", "scripts", "expires_at"]


def test_a_revocation_is_announced(tokens: Tokens, shelf: Shelf) -> None:
    tokens.revoke(1)
    assert shelf.announced == 1


def test_a_known_token_is_not_read_again(known: KnownTokens, tokens: Tokens, shelf: Shelf, used: list[int]) -> None:
    made, secret = tokens.create("a", [Scope.READ])
    assert known.find(secret) is known.find(secret)
    assert shelf.reads == 1
    assert used == [made.id, made.id]


@pytest.mark.parametrize("how", ["announced", "by this node"])
def test_a_revoked_token_is_not_known_any_more(
    known: KnownTokens, tokens: Tokens, shelf: Shelf, generation: Generation, how: str
) -> None:
    made, secret = tokens.create("a", [Scope.READ])
    known.find(secret)
    shelf.revoke(made.id)
    known.principals.clear() if how == "announced" else generation.bump()
    assert known.find(secret) is None


def test_a_wrong_token_costs_one_look_up_and_is_not_remembered(known: KnownTokens, shelf: Shelf) -> None:
    secret = new_secret()
    assert known.find(secret) is None
    assert shelf.reads == 1
    shelf.add("late", secret, [Scope.READ], None, None)
    assert known.find(secret)


@pytest.mark.parametrize(
    "text",
    ["", "pc_", "pc_wrong", "x" * 46, "pc_" + "é" * 43, "pc_" + "a" * 42, "pc_" + "a" * 44, "pc_" + "a" * 42 + "\n"],
)
def test_what_cannot_be_a_secret_costs_no_look_up(known: KnownTokens, shelf: Shelf, text: str) -> None:
    assert known.find(text) is None
    assert shelf.reads == 0


def test_a_token_ends_at_its_time_though_it_is_known(known: KnownTokens, tokens: Tokens, shelf: Shelf) -> None:
    _, secret = tokens.create("a", [Scope.READ], None, datetime.now(UTC) + timedelta(seconds=0.3))
    eventually(lambda: known.find(secret), lambda found: found is None)
    assert shelf.reads == 1


def test_an_expired_token_is_not_used(known: KnownTokens, shelf: Shelf, used: list[int]) -> None:
    secret = new_secret()
    made = shelf.add("old", secret, [Scope.READ], None, NOW)
    assert known.find(secret) is None
    assert known.credential(made.id) is None
    assert used == []


def test_while_the_database_is_away_known_tokens_work_and_others_are_not_refused(
    known: KnownTokens, tokens: Tokens, shelf: Shelf
) -> None:
    _, secret = tokens.create("a", [Scope.READ])
    known.find(secret)
    shelf.away = True
    assert known.find(secret)
    with pytest.raises(DatabaseUnavailable):
        known.find(new_secret())


def test_no_secret_is_remembered(known: KnownTokens, tokens: Tokens) -> None:
    _, secret = tokens.create("a", [Scope.READ])
    known.find(secret)
    assert secret not in repr(vars(known.principals))
