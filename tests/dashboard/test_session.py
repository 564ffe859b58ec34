"""A session proves one token until its end, and nothing else."""

from collections.abc import Mapping

import pytest

from picloud.auth import Credential, Principal, Scope, digest, new_secret
from picloud.dashboard.session import SESSION_S, issue, principal_of

NOW = 1_800_000_000.0


def credential(identifier: int = 7) -> Credential:
    return Credential(Principal(identifier, "me", frozenset({Scope.READ})), digest(new_secret()))


def known(*credentials: Credential) -> Mapping[int, Credential]:
    return {it.principal.id: it for it in credentials}


def test_who_signed_in_is_known_until_the_end() -> None:
    mine = credential()
    session = issue(mine, NOW)
    assert principal_of(session, known(mine).get, NOW) == mine.principal
    assert principal_of(session, known(mine).get, NOW + SESSION_S - 1) == mine.principal
    assert principal_of(session, known(mine).get, NOW + SESSION_S) is None


def test_a_session_that_is_over_is_not_looked_up() -> None:
    asked: list[int] = []
    assert principal_of(issue(credential(), NOW), asked.append, NOW + SESSION_S) is None
    assert asked == []


def test_a_session_dies_with_its_token() -> None:
    mine = credential()
    session = issue(mine, NOW)
    assert principal_of(session, known().get, NOW) is None
    renewed = Credential(mine.principal, digest(new_secret()))  # another secret under the same number
    assert principal_of(session, known(renewed).get, NOW) is None


def test_a_session_of_one_token_is_none_of_another() -> None:
    mine, theirs = credential(7), credential(8)
    _, end, signature = issue(mine, NOW).split(".")
    assert principal_of(f"8.{end}.{signature}", known(mine, theirs).get, NOW) is None


def test_any_change_of_any_character_is_noticed() -> None:
    mine = credential()
    session = issue(mine, NOW)
    everybody = dict.fromkeys(range(100), mine).get
    for at, character in enumerate(session):
        for other in {"0", "9", "A", "_", ".", ""} - {character}:
            changed = session[:at] + other + session[at + 1 :]
            assert principal_of(changed, everybody, NOW) is None, changed


@pytest.mark.parametrize(
    "value",
    [
        "", ".", "..", "7", "7.9", "7.9999999999.", "7.9999999999." + "A" * 42, "7.9999999999." + "A" * 44,
        "-7.9999999999." + "A" * 43, "٧.9999999999." + "A" * 43, "7.9999999999." + "A" * 43 + "\n",
        "1" * 400 + ".9999999999." + "A" * 43, "7.9999999999." + "é" * 43, "x" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_session_is_not_looked_up(value: str) -> None:
    asked: list[int] = []
    principal_of(value, asked.append, NOW)
    assert asked == []


def test_a_session_holds_neither_the_secret_nor_its_hash() -> None:
    secret = new_secret()
    session = issue(Credential(Principal(7, "me", frozenset()), digest(secret)), NOW)
    assert secret not in session
    assert digest(secret).hex() not in session
