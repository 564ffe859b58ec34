"""What a secret may be called, who may grant one, and that a value is in no word of ours."""

from typing import Any

import msgspec
import pytest

from picloud.errors import Forbidden, InvalidRequest, NotFound
from picloud.manager.resources.secrets import SecretValue
from picloud.manager.secrets import Secrets
from picloud.manager.settings import SettingsPatch, SettingsRules
from picloud.model import DEFAULT_POLICY

RULES = SettingsRules(DEFAULT_POLICY)


class Nobody:
    """Fails whoever asks."""

    def __getattr__(self, _name: str) -> Any:
        return self

    def __call__(self, *_arguments: object) -> Any:
        raise AssertionError("nobody was to be asked")


NOBODY: Any = Nobody()


@pytest.mark.parametrize("name", ["", "a-b", "1A", "A" * 65, "A\n", "Ä", "A B", "../x"])
def test_what_cannot_be_a_name_costs_no_sql_and_no_key(name: str) -> None:
    secrets = Secrets(NOBODY, NOBODY, NOBODY)
    with pytest.raises(InvalidRequest) as caught:
        secrets.put(name, "do not repeat me")
    assert [one["field"] for one in caught.value.errors] == ["name"]
    assert "do not repeat me" not in str(caught.value)
    for method in (secrets.get, secrets.delete):
        with pytest.raises(NotFound):
            method(name)


def test_a_value_is_not_in_the_repr_of_what_carries_it() -> None:
    assert "do not repeat me" not in f"{SecretValue('do not repeat me')!r} {SecretValue('do not repeat me')}"


def changed(stored: dict[str, Any], names: object, *, limited: bool) -> object:
    patch = msgspec.convert({"secrets": names}, SettingsPatch)
    return RULES.change(patch, limited=limited)(stored).get("secrets")


@pytest.mark.parametrize(
    ("stored", "names", "now"),
    [
        ({}, [], []),
        ({"secrets": ["A", "B"]}, ["B", "A"], ["A", "B"]),
        ({"secrets": ["A", "B"]}, ["B"], ["B"]),
        ({"secrets": ["A"]}, None, None),
    ],
)
def test_a_limited_token_keeps_and_takes_away_grants(stored: dict[str, Any], names: object, now: object) -> None:
    assert changed(stored, names, limited=True) == now


@pytest.mark.parametrize("stored", [{}, {"secrets": []}, {"secrets": ["A"]}])
def test_a_limited_token_adds_no_grant(stored: dict[str, Any]) -> None:
    with pytest.raises(Forbidden, match="may not add 'B' to the setting 'secrets'"):
        changed(stored, ["A", "B"] if stored.get("secrets") else ["B"], limited=True)
    assert changed(stored, ["B", "A", "B"], limited=False) == ["A", "B"]
