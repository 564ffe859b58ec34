"""Who passes the door to a script."""

from datetime import UTC, datetime, timedelta

import pytest

from picloud.auth import Principal, Scope
from picloud.errors import Forbidden, Unauthorized
from picloud.model import Access, Program, Settings
from picloud.orchestrator.access import Door

PUBLIC = Program("hello", 1, {}, Settings())
GUARDED = Program("hello", 1, {}, Settings(access=Access.TOKEN))


class Tokens:
    """Knows one secret."""

    def __init__(
        self, *scopes: Scope, scripts: frozenset[str] | None = None, expires_in: timedelta | None = None
    ) -> None:
        expires_at = None if expires_in is None else datetime.now(UTC) + expires_in
        self.principal = Principal(1, "me", frozenset(scopes), scripts, expires_at)
        self.asked = 0

    def find(self, secret: str) -> Principal | None:
        self.asked += 1
        return self.principal if secret == "pc_good" else None


@pytest.mark.parametrize("authorization", [None, "Bearer pc_bad", "Basic x"])
def test_a_public_script_asks_nobody_and_sees_the_header(authorization: str | None) -> None:
    tokens = Tokens()
    assert Door(tokens).admit(PUBLIC, authorization) == ()
    assert tokens.asked == 0


@pytest.mark.parametrize(
    "tokens",
    [
        Tokens(Scope.INVOKE),
        Tokens(Scope.ADMIN),
        Tokens(Scope.INVOKE, scripts=frozenset({"hello", "other"})),
        Tokens(Scope.INVOKE, expires_in=timedelta(hours=1)),
    ],
)
def test_a_token_that_is_good_for_the_script_passes_and_is_withheld_from_it(tokens: Tokens) -> None:
    assert Door(tokens).admit(GUARDED, "bearer pc_good") == ("authorization",)


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Basic pc_good", "Bearer pc_bad", "pc_good"])
def test_nobody_passes_without_a_token_that_is_known(authorization: str | None) -> None:
    with pytest.raises(Unauthorized):
        Door(Tokens(Scope.INVOKE)).admit(GUARDED, authorization)


def test_nobody_passes_once_the_time_is_over() -> None:
    with pytest.raises(Unauthorized):
        Door(Tokens(Scope.INVOKE, expires_in=timedelta(0))).admit(GUARDED, "Bearer pc_good")


@pytest.mark.parametrize(
    "tokens", [Tokens(), Tokens(Scope.READ, Scope.DEPLOY), Tokens(Scope.INVOKE, scripts=frozenset({"other"}))]
)
def test_a_token_that_is_not_good_for_the_script_is_forbidden(tokens: Tokens) -> None:
    with pytest.raises(Forbidden):
        Door(tokens).admit(GUARDED, "Bearer pc_good")
