"""Grants: settings by which a script reaches what is not its own, such as a space that several share.

Owns: what they must look like, and who may add one. A token that is limited to scripts may take grants away and keep
those that are there, and adds none: by a script of its own it would reach what it was kept from. The secret that a
script's webhooks are signed with is one, too, though the script does not get it.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from picloud.errors import Forbidden
from picloud.manager import webhooks
from picloud.manager.secrets import NAME_RULE
from picloud.model import StoredSettings, is_script_name, is_space_name, is_variable_name

NAMES_MAX = 64

_RULES = {
    "kv": (is_space_name, "is no name of a space: 1 to 63 letters a to z, digits and '-', no '-' first"),
    "secrets": (is_variable_name, f"is no name of a secret: {NAME_RULE}"),
    "invoke": (is_script_name, "is no name of a script: 1 to 63 letters a to z, digits and '-', no '-' first"),
}
"""Setting → which of its names are right, and what to say of one that is not."""


def wrong(given: StoredSettings) -> Iterator[tuple[str, str]]:
    """What is not right in settings that are to be set: field, message."""
    for setting, (is_right, rule) in _RULES.items():
        names = given.get(setting) or ()
        if len(names) > NAMES_MAX:
            yield setting, f"{len(names)} names are more than the {NAMES_MAX} that a script may have"
        for name in names:
            if not is_right(name):
                yield setting, f"{name[:80]!r} {rule}"


def normal(given: dict[str, Any]) -> dict[str, Any]:
    """The same settings with each name once, in order."""
    return given | {setting: sorted(set(given[setting])) for setting in _RULES if given.get(setting)}


def check(before: StoredSettings, after: StoredSettings) -> None:
    """Forbidden if a limited token would add a grant."""
    for setting in _RULES:
        if added := set(after.get(setting) or ()) - set(before.get(setting) or ()):
            raise _forbidden(added, setting)
    secret = webhooks.secret_of(after)
    if secret not in (None, webhooks.secret_of(before)):
        raise _forbidden([secret], "webhook")


def _forbidden(added: Iterable[object], setting: str) -> Forbidden:
    names = ", ".join(sorted(f"'{name}'" for name in added))
    return Forbidden(f"this token is limited to scripts, and may not add {names} to the setting '{setting}'")
