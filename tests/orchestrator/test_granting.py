"""What a token or a signature guards is run for nobody who has not been allowed to."""

import pytest

from picloud.errors import Forbidden
from picloud.model import Access, Preset, Program, Settings, Webhook
from picloud.orchestrator.bindings.granting import check

HOOK = Settings(webhook=Webhook(Preset.GITHUB, "HOOKS"))
GUARDED = {"a token": Settings(access=Access.TOKEN), "signed deliveries": HOOK}


def program(name: str, settings: Settings | None = None) -> Program:
    return Program(name, 1, {}, settings or Settings())


@pytest.mark.parametrize("wanted", GUARDED)
def test_who_is_not_named_may_not_have_it_run(wanted: str) -> None:
    guarded = program("guarded", GUARDED[wanted])
    with pytest.raises(Forbidden, match=f"'guarded' wants {wanted}: to invoke it, this script's setting `invoke`"):
        check(guarded, program("other", Settings(invoke=("another",))))


@pytest.mark.parametrize("wanted", GUARDED)
def test_itself_and_who_is_named_may(wanted: str) -> None:
    guarded = program("guarded", GUARDED[wanted])
    check(guarded, guarded)
    check(guarded, program("other", Settings(invoke=("guarded",))))


def test_what_is_public_is_everybodys() -> None:
    check(program("open"), program("other"))
