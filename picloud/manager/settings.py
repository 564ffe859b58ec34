"""A script's settings: what may be set, within what the operator allows, and how a change is merged.

Owns: these rules. A change is a JSON merge patch (RFC 7396): what it does not name stays, null is back to the default.
Stored is what was set and no more, so that what was not follows the server.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import UNSET, Meta, UnsetType

from picloud.errors import InvalidRequest
from picloud.manager import cors, grants, webhooks
from picloud.manager.cors import CorsPatch
from picloud.manager.webhooks import WebhookPatch
from picloud.messages.forms import form
from picloud.model import (
    BACKOFF_MS_MOST,
    JOB_ATTEMPTS_MAX,
    LIMITS_MOST,
    SCRIPT_NAME,
    SPACE_NAME,
    VARIABLE_NAME,
    Access,
    HostPattern,
    Limits,
    Policy,
    Recording,
    Script,
    Settings,
    SettingsChange,
    StoredSettings,
    is_variable_name,
)

VARIABLES_MAX = 64
ALLOWED_HOSTS_MAX = 64
ENV_BYTES_MAX = 64 * 1024  # names and values
MEMORY_BYTES_MIN = 512 * 1024  # what a sandbox has there for every script takes half of it


def _up_to(most: int, least: int) -> Meta:
    """Of a limit. The operator's own maximum, which the rules below hold it to, is at most as large."""
    return Meta(ge=least, extra_json_schema={"maximum": most})


_Duration = Annotated[int, _up_to(LIMITS_MOST.wall_ms, 1)]
_Size = Annotated[int, _up_to(LIMITS_MOST.request_bytes, 0)]
_Memory = Annotated[int, _up_to(LIMITS_MOST.memory_bytes, MEMORY_BYTES_MIN)]
_Calls = Annotated[int, _up_to(LIMITS_MOST.host_calls, 0)]
_Concurrency = Annotated[int, _up_to(LIMITS_MOST.concurrency, 1)]
_Backoff = Annotated[int, Meta(ge=0, le=BACKOFF_MS_MOST)]

_AllowedHosts = Meta(extra_json_schema={"maxItems": ALLOWED_HOSTS_MAX})
_Hosts = Annotated[
    list[Annotated[str, form("host-pattern", "`host`, `*.host`, with `:port` or without")]], _AllowedHosts
]
_Variables = Annotated[
    dict[str, str | None],
    Meta(
        extra_json_schema={
            "maxProperties": VARIABLES_MAX,
            "propertyNames": {"pattern": f"^{VARIABLE_NAME.pattern}$", "format": "variable-name"},
            "additionalProperties": {"anyOf": [{"type": "string", "format": "text-without-nul"}, {"type": "null"}]},
        },
    ),
]
_Grants = Meta(extra_json_schema={"maxItems": grants.NAMES_MAX})
_Spaces = Annotated[list[Annotated[str, Meta(extra_json_schema={"pattern": f"^{SPACE_NAME.pattern}$"})]], _Grants]
_Secrets = Annotated[list[Annotated[str, Meta(extra_json_schema={"pattern": f"^{VARIABLE_NAME.pattern}$"})]], _Grants]

_Scripts = Annotated[list[Annotated[str, Meta(extra_json_schema={"pattern": f"^{SCRIPT_NAME.pattern}$"})]], _Grants]


class LimitsPatch(msgspec.Struct, forbid_unknown_fields=True):
    """Which limits to change; null: back to the default."""

    wall_ms: _Duration | UnsetType | None = UNSET
    cpu_ms: _Duration | UnsetType | None = UNSET
    memory_bytes: _Memory | UnsetType | None = UNSET
    request_bytes: _Size | UnsetType | None = UNSET
    response_bytes: _Size | UnsetType | None = UNSET
    log_bytes: _Size | UnsetType | None = UNSET
    host_calls: _Calls | UnsetType | None = UNSET
    concurrency: _Concurrency | UnsetType | None = UNSET


class RetryPatch(msgspec.Struct, forbid_unknown_fields=True):
    """What to change of how its jobs are retried; null: back to the default."""

    max_attempts: Annotated[int, Meta(ge=1, le=JOB_ATTEMPTS_MAX)] | UnsetType | None = UNSET
    backoff_ms: _Backoff | UnsetType | None = UNSET
    backoff_max_ms: _Backoff | UnsetType | None = UNSET


class SettingsPatch(msgspec.Struct, forbid_unknown_fields=True):
    """What to change of a script's settings; null: back to the default."""

    access: Access | UnsetType | None = UNSET
    limits: LimitsPatch | UnsetType | None = UNSET
    env: _Variables | UnsetType | None = UNSET
    cors: CorsPatch | UnsetType | None = UNSET
    allow_hosts: _Hosts | UnsetType | None = UNSET
    expose_errors: bool | UnsetType | None = UNSET
    idempotency: bool | UnsetType | None = UNSET
    kv: _Spaces | UnsetType | None = UNSET
    secrets: _Secrets | UnsetType | None = UNSET
    invoke: _Scripts | UnsetType | None = UNSET
    record: Recording | UnsetType | None = UNSET
    retry: RetryPatch | UnsetType | None = UNSET
    webhook: WebhookPatch | UnsetType | None = UNSET


class SettingsRepository(Protocol):
    """Where settings are kept."""

    def get(self, name: str) -> Script:
        """One script; NotFound."""

    def change_settings(self, name: str, change: SettingsChange) -> Settings:
        """Change what is stored, one after the other → what holds now; NotFound, and what `change` raises."""


class SettingsRules:
    """What the operator allows every script."""

    def __init__(self, policy: Policy) -> None:
        self._maxima = policy.maxima

    def change(self, patch: SettingsPatch, *, limited: bool = False) -> SettingsChange:
        """A patch as a change to make; InvalidRequest says each field that is wrong by itself.

        ``limited``: who asks is limited to scripts; the change is Forbidden if it adds a grant.
        """
        wrong = [
            *self._wrong_limits(patch),
            *_wrong_variables(patch),
            *cors.wrong(_given(patch.cors)),
            *_wrong_hosts(patch.allow_hosts or []),
            *webhooks.wrong(_given(patch.webhook)),
        ]
        wanted: dict[str, Any] = msgspec.to_builtins(patch)
        if wrong := [*wrong, *grants.wrong(wanted)]:
            raise InvalidRequest.of_all(wrong)
        wanted = grants.normal(wanted)
        if wanted.get("cors"):
            wanted["cors"] = cors.normal(wanted["cors"])
        if wanted.get("webhook"):
            wanted["webhook"] = webhooks.normal(wanted["webhook"])
        if wanted.get("allow_hosts"):
            wanted["allow_hosts"] = list(dict.fromkeys(str(HostPattern.parse(it)) for it in wanted["allow_hosts"]))

        def change(stored: StoredSettings) -> StoredSettings:
            merged = _merged(stored, wanted)
            if wrong := [*_wrong_env(merged), *cors.wrong_together(merged.get("cors") or {})]:
                raise InvalidRequest.of_all(wrong)
            if limited:
                grants.check(stored, merged)
            return merged

        return change

    def _wrong_limits(self, patch: SettingsPatch) -> list[tuple[str, str]]:
        given = _given(patch.limits)
        return [
            (f"limits.{name}", f"at most {most}, which is this server's {name}_max")
            for name in Limits.__dataclass_fields__
            if (given.get(name) or 0) > (most := getattr(self._maxima, name))
        ]


class ScriptSettings:
    """The settings of scripts. `announce` tells this node's processes that something changed."""

    def __init__(self, repository: SettingsRepository, rules: SettingsRules, announce: Callable[[], None]) -> None:
        self._repository = repository
        self._rules = rules
        self._announce = announce

    def get(self, name: str) -> Settings:
        """What holds for a script; NotFound."""
        return self._repository.get(name).settings

    def patch(self, name: str, patch: SettingsPatch, *, limited: bool = False) -> Settings:
        """Change settings → what holds now; NotFound, InvalidRequest.

        ``limited``: who asks is limited to scripts. Forbidden: it adds a grant.
        """
        now = self._repository.change_settings(name, self._rules.change(patch, limited=limited))
        self._announce()
        return now


def _merged(stored: StoredSettings, patch: StoredSettings) -> dict[str, Any]:
    """RFC 7396; what ends up empty is as good as not set, but for `cors`, which then allows nobody."""
    merged = dict(stored)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            merged[key] = _merged(merged.get(key) or {}, value)
        else:
            merged[key] = value
    return merged


def _given(part: Any) -> dict[str, Any]:
    """The fields of a part that it sets."""
    return {name: value for name, value in msgspec.to_builtins(part or {}).items() if value is not None}


def _wrong_variables(patch: SettingsPatch) -> list[tuple[str, str]]:
    given = patch.env or {}
    names = [
        (f"env.{name[:80]}", "is no name of a variable: letters, digits and '_', at most 64, no digit first")
        for name in given
        if not is_variable_name(name)
    ]
    zeros = [name for name, value in given.items() if "\0" in (value or "")]
    return names or [(f"env.{name}", "must not have a zero byte") for name in zeros]


def _wrong_hosts(patterns: list[str]) -> Iterator[tuple[str, str]]:
    if len(patterns) > ALLOWED_HOSTS_MAX:
        yield "allow_hosts", f"has {len(patterns)} entries, at most {ALLOWED_HOSTS_MAX} are taken"
        return
    for at, pattern in enumerate(patterns):
        try:
            HostPattern.parse(pattern)
        except ValueError as error:
            yield f"allow_hosts[{at}]", f"{error}: expected a host, or *.host, with :port or without"


def _wrong_env(merged: StoredSettings) -> list[tuple[str, str]]:
    env = merged.get("env") or {}
    size = sum(len(part.encode()) for pair in env.items() for part in pair)
    if len(env) > VARIABLES_MAX:
        return [("env", f"{len(env)} variables are more than the {VARIABLES_MAX} that a script may have")]
    if size > ENV_BYTES_MAX:
        return [("env", f"names and values have {size} bytes, at most {ENV_BYTES_MAX} are taken")]
    return []
