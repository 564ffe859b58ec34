"""What a script's setting `webhook` may say.

Owns: the form of a change of it. The keys beside preset and secret are for the preset `custom`; when another one is set
they are forgotten, so that none of them waits there unseen.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from picloud.manager.cors import HEADER_NAME, is_header_name
from picloud.manager.secrets import NAME_RULE
from picloud.model import TOLERANCE_S_MAX, VARIABLE_NAME, Algorithm, Encoding, Preset, StoredSettings, is_variable_name

PREFIX_CHARACTERS_MAX = 64

_OF_CUSTOM = ("header", "algorithm", "encoding", "prefix", "timestamp_header", "tolerance_s", "id_header")
_HEADERS = ("header", "timestamp_header", "id_header")

_Header = Annotated[str, Meta(extra_json_schema={"pattern": f"^{HEADER_NAME.pattern}$"})]
_Prefix = Annotated[str, Meta(extra_json_schema={"pattern": f"^[ -~]{{0,{PREFIX_CHARACTERS_MAX}}}$"})]
_Secret = Annotated[str, Meta(extra_json_schema={"pattern": f"^{VARIABLE_NAME.pattern}$"})]


class WebhookPatch(msgspec.Struct, forbid_unknown_fields=True):
    """Whose webhooks a script takes; preset and secret are named each time, all else is for `custom` alone."""

    preset: Preset
    secret: _Secret
    header: _Header | UnsetType | None = UNSET
    algorithm: Algorithm | UnsetType | None = UNSET
    encoding: Encoding | UnsetType | None = UNSET
    prefix: _Prefix | UnsetType | None = UNSET
    timestamp_header: _Header | UnsetType | None = UNSET
    tolerance_s: Annotated[int, Meta(ge=1, le=TOLERANCE_S_MAX)] | UnsetType | None = UNSET
    id_header: _Header | UnsetType | None = UNSET


def wrong(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with a change: field and reason."""
    if given and not is_variable_name(given["secret"]):
        yield "webhook.secret", f"{given['secret'][:80]!a} is no name of a secret: {NAME_RULE}"
    if given:
        yield from _wrong_custom(given) if given["preset"] == Preset.CUSTOM else _not_its_own(given)


def _not_its_own(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in _OF_CUSTOM:
        if given.get(name) is not None:
            yield f"webhook.{name}", f"is for the preset '{Preset.CUSTOM}'; '{given['preset']}' has its own"


def _wrong_custom(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in _HEADERS:
        text = given.get(name)
        if text is not None and not is_header_name(text):
            yield f"webhook.{name}", f"{text[:80]!a} is no name of a header"
    prefix = given.get("prefix") or ""
    if len(prefix) > PREFIX_CHARACTERS_MAX or not (prefix.isascii() and prefix.isprintable()):
        yield "webhook.prefix", f"must be at most {PREFIX_CHARACTERS_MAX} printable ASCII characters"


def normal(given: Mapping[str, Any]) -> dict[str, Any]:
    """A change that is not wrong, as it is stored: names of headers in lower case, and nothing of another preset."""
    lower = {name: value.lower() if name in _HEADERS and value else value for name, value in given.items()}
    return lower if given["preset"] == Preset.CUSTOM else lower | dict.fromkeys(_OF_CUSTOM)


def secret_of(stored: StoredSettings) -> str | None:
    """The secret that a script's webhooks are signed with."""
    webhook: Mapping[str, Any] = stored.get("webhook") or {}
    return webhook.get("secret")
