"""A bundle's own `picloud.toml`: what it declares beside its files, and applies when it is first active.

Owns: its tables. `[settings]` is what PATCH of the settings takes.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from picloud.declared import NOTHING, Declared
from picloud.errors import InvalidRequest
from picloud.manager.schedule_tables import BundleTable, of_bundle
from picloud.manager.settings import SettingsPatch, SettingsRules
from picloud.messages.wrong import invalid
from picloud.model import SettingsChange, StoredSettings
from picloud.patterns import ANY, RouteWanted
from picloud.subscriptions import SubscriptionWanted

FILE = "picloud.toml"
BYTES_MAX = 16 * 1024

_WHERE = f"{FILE}: "
_PART = rb"""(?:[\w-]++|"[^"\n]*"|'[^'\n]*')"""
_LONG_KEY = re.compile(rb"(?<![\w-])" + _PART + rb"(?:[ \t]*+\.[ \t]*+" + _PART + rb"){50}")


class _Route(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    method: str = ANY
    host: str | None = None


class _Subscription(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    source: str | None = None
    subject: str | None = None


class _Tables(msgspec.Struct, forbid_unknown_fields=True):
    settings: SettingsPatch | UnsetType = UNSET
    route: list[_Route] = []
    subscription: list[_Subscription] = []
    schedule: list[BundleTable] = []


def read(files: Mapping[str, bytes], rules: SettingsRules, *, script: str, limited: bool = False) -> Declared:
    """What the bundle of a script declares, checked as far as it can be without it; InvalidRequest names line or field.

    ``limited``: who asks is limited to scripts; what adds a grant is Forbidden.
    """
    if FILE not in files:
        return NOTHING
    tables = _tables(files[FILE])
    change = _change(tables.settings, rules, limited)
    schedules = of_bundle(script, tables.schedule, _WHERE)
    return Declared(change, _routes(tables.route), _subscriptions(tables.subscription), schedules)


def _change(patch: SettingsPatch | UnsetType, rules: SettingsRules, limited: bool) -> SettingsChange | None:
    if patch is UNSET:
        return None
    with _standing_in("settings"):
        change = rules.change(patch, limited=limited)

    def named(stored: StoredSettings) -> StoredSettings:
        with _standing_in("settings"):
            return change(stored)

    return named


def _routes(tables: list[_Route]) -> tuple[RouteWanted, ...]:
    routes: dict[tuple[str, str | None, str], RouteWanted] = {}
    for at, table in enumerate(tables):
        with _standing_in(f"route[{at}]"):
            route = RouteWanted(table.method, table.host, table.path)
        other = routes.setdefault((route.method, route.host, route.shape), route)
        if other is not route:
            message = f"'{route}' is as good as '{other}', which stands before it"
            raise InvalidRequest.of(f"route[{at}]", message, _WHERE)
    return tuple(routes.values())


def _subscriptions(tables: list[_Subscription]) -> tuple[SubscriptionWanted, ...]:
    wanted: dict[SubscriptionWanted, None] = {}
    for at, table in enumerate(tables):
        with _standing_in(f"subscription[{at}]"):
            subscription = SubscriptionWanted(table.type, table.source, table.subject)
        if subscription in wanted:
            raise InvalidRequest.of(f"subscription[{at}]", f"'{subscription}' stands before it already", _WHERE)
        wanted[subscription] = None
    return tuple(wanted)


def _tables(content: bytes) -> _Tables:
    document = _parsed(content)
    try:
        return msgspec.convert(document, _Tables)
    except msgspec.ValidationError as error:
        raise invalid(_Tables, error, _WHERE, document) from error


def _parsed(content: bytes) -> dict[str, Any]:
    if len(content) > BYTES_MAX:
        raise InvalidRequest(f"{FILE} has {len(content)} bytes, at most {BYTES_MAX} are taken")
    if _LONG_KEY.search(content):  # tomllib's time and memory grow with the square of a key's parts
        raise InvalidRequest(f"{FILE} has a key, or a text that looks like one, of more than 50 parts")
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{FILE} is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise InvalidRequest(f"{FILE} is nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        raise InvalidRequest(f"{FILE}: {error}") from error


@contextmanager
def _standing_in(table: str) -> Iterator[None]:
    """Say of what is refused that it stands in this table of this file."""
    try:
        yield
    except InvalidRequest as error:
        errors = [{**one, "field": f"{table}.{one['field']}"} for one in error.errors]
        raise InvalidRequest(f"{FILE}: {table}.{error}", errors) from error
