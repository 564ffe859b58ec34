"""All that is configured of scripts, as it stands and as it is to be: what an export shows and an apply changes.

Owns: these nouns, and what makes two configurations the same. Pure. `manager.configuration` decides what is to be
changed, `storage.configuration` reads it and changes it, all of it or nothing.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from picloud.model import NewSchedule, StoredSettings, Upload
from picloud.patterns import RouteWanted
from picloud.subscriptions import SubscriptionWanted

FILES_BYTES_MAX = 16 * 1024 * 1024
"""Of all scripts of a configuration together: a process has them in memory at once."""

SCRIPTS_MAX = 5_000

_NOTHING_IF_EMPTY = frozenset(("limits", "env", "retry"))  # an empty `cors` allows nobody, an empty list nothing
_TAG_CHARACTERS = 32

RouteKey = tuple[str, str, str]  # host or '', method, shape: what can be there once


@dataclass(frozen=True, slots=True)
class ScriptState:
    """One script, but for what is in its files."""

    name: str
    sha256: str  # of the files of its active version
    bytes: int  # of the same
    settings: StoredSettings  # what was set, tidy
    routes: tuple[RouteWanted, ...]
    subscriptions: tuple[SubscriptionWanted, ...]
    schedules: tuple[NewSchedule, ...]  # without those of the operator's file, and those that the script's runs made


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What stands at one moment."""

    scripts: Mapping[str, ScriptState]
    files: Mapping[str, Mapping[str, bytes]]  # script → path → content: of the scripts that were asked for
    secrets: frozenset[str]  # names of those that have a value

    @property
    def tag(self) -> str:
        """The same text for two that are the same, whatever was asked for."""
        return tag_of(self.scripts.values())


@dataclass(frozen=True, slots=True)
class OwnRoute:
    """A route that is to be."""

    script: str
    route: RouteWanted
    declared: bool  # by the picloud.toml among the script's files


@dataclass(frozen=True, slots=True)
class OwnSubscription:
    """A subscription that is to be, or not to be."""

    script: str
    subscription: SubscriptionWanted
    declared: bool = False


@dataclass(frozen=True, slots=True)
class OwnSchedule:
    """A schedule that is to be."""

    schedule: NewSchedule
    declared: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be changed, what goes before what comes."""

    scripts_gone: tuple[str, ...] = ()
    routes_gone: tuple[RouteKey, ...] = ()
    subscriptions_gone: tuple[OwnSubscription, ...] = ()
    schedules_gone: tuple[str, ...] = ()
    uploads: tuple[tuple[str, Upload], ...] = ()
    settings: tuple[tuple[str, StoredSettings], ...] = ()
    routes: tuple[OwnRoute, ...] = ()
    subscriptions: tuple[OwnSubscription, ...] = ()
    schedules: tuple[OwnSchedule, ...] = ()


def tidy(settings: StoredSettings) -> dict[str, Any]:
    """The same settings, without what is as good as not set."""
    return {name: value for name, value in settings.items() if value or name not in _NOTHING_IF_EMPTY}


def route_key(route: RouteWanted) -> RouteKey:
    """What there can be one of."""
    return route.host or "", route.method, route.shape


def same_schedule(one: NewSchedule, other: NewSchedule) -> bool:
    """Whether they are the same, however the numbers in their payloads are written."""
    return one == other or replace(one, payload=plain(one.payload)) == replace(other, payload=plain(other.payload))


def plain(payload: bytes) -> bytes:
    """JSON in the one way in which it is compared: 1.0 is 1."""
    return msgspec.json.encode(value_of(payload))


def value_of(text: bytes) -> Any:
    """What this JSON says, as it is exported and applied: 1.0 is 1."""
    return _DECODER.decode(text)


def tag_of(scripts: Iterable[ScriptState]) -> str:
    """The tag of a configuration."""
    whole = [_canonical(it) for it in sorted(scripts, key=lambda it: it.name)]
    return hashlib.sha256(msgspec.json.encode(whole, order="sorted")).hexdigest()[:_TAG_CHARACTERS]


def _canonical(it: ScriptState) -> list[Any]:
    routes = sorted(map(str, it.routes))
    subscriptions = sorted([one.type, one.source or "", one.subject or ""] for one in it.subscriptions)
    schedules = sorted(it.schedules, key=lambda one: one.name)
    return [it.name, it.sha256, it.settings, routes, subscriptions, [repr(one) for one in schedules]]


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value


_DECODER = msgspec.json.Decoder(float_hook=_number)
