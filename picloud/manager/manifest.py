"""A bundle's own `picloud.toml`: what it declares beside its files, and applies when it is first active.

Owns: its tables. `[settings]` is what PATCH of the settings takes.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from picloud.declared import NOTHING, Declared
from picloud.errors import InvalidRequest
from picloud.manager.schedule_tables import BundleTable, of_bundle
from picloud.manager.settings import SettingsPatch, SettingsRules
from picloud.messages.forms import form
from picloud.messages.wrong import invalid
from picloud.model import SettingsChange, StoredSettings
from picloud.patterns import ANY, RouteWanted
from picloud.subscriptions import SubscriptionWanted

FILE = "picloud.toml"
BYTES_MAX = 16 * 1024

_WHERE = f"{FILE}: "
_PART = rb"""(?:[\w-]++|"[^"\n]*"|'[^'\n]*')"""
_LONG_KEY = re.compile(rb"(?<![\w-])" + _PART + rb"(?:[ \t]*+\.[ \t]*+" + _PART + rb"){50}")


class RouteTable(msgspec.Struct, forbid_unknown_fields=True):
    """A route as a `picloud.toml` has it."""

    path: Annotated[str, form("route-path", "literals, `{name}`, and as the last segment `{name*}`")]
    method: Annotated[str, form("http-method", "`ANY`, or a method")] = ANY
    host: Annotated[str, form("host", "without port; null: every host")] | None = None


class SubscriptionTable(msgspec.Struct, forbid_unknown_fields=True):
    """A subscription as a `picloud.toml` has it."""

    type: Annotated[str, form("type-pattern", "a type, `order.*`, or `*`")]
    source: Annotated[str, form("text-pattern", "a source, or what it begins with and `*`")] | None = None
    subject: Annotated[str, form("text-pattern", "a subject, or what it begins with and `*`")] | None = None


class Tables(msgspec.Struct, forbid_unknown_fields=True):
    """All that may stand in one."""

    settings: SettingsPatch | UnsetType = UNSET
    route: list[RouteTable] = []
    subscription: list[SubscriptionTable] = []
    schedule: list[BundleTable] = []


def read(files: Mapping[str, bytes], rules: SettingsRules, *, script: str, limited: bool = False) -> Declared:
    """What the bundle of a script declares, checked as far as it can be without it; InvalidRequest names line or field.

    ``limited``: who asks is limited to scripts; what adds a grant is Forbidden.
    """
    if FILE not in files:
        return NOTHING
    return declared(_tables(files[FILE]), rules, script=script, where=_WHERE, limited=limited)


def declared(tables: Tables, rules: SettingsRules, *, script: str, where: str = "", limited: bool = False) -> Declared:
    """The same of tables that were read already; ``where`` stands before what is said of a field."""
    return Declared(
        _change(tables.settings, rules, where, limited),
        _routes(tables.route, where),
        _subscriptions(tables.subscription, where),
        of_bundle(script, tables.schedule, where),
    )


def _change(patch: SettingsPatch | UnsetType, rules: SettingsRules, where: str, limited: bool) -> SettingsChange | None:
    if patch is UNSET:
        return None
    with _standing_in("settings", where):
        change = rules.change(patch, limited=limited)

    def named(stored: StoredSettings) -> StoredSettings:
        with _standing_in("settings", where):
            return change(stored)

    return named


def _routes(tables: list[RouteTable], where: str) -> tuple[RouteWanted, ...]:
    routes: dict[tuple[str, str | None, str], RouteWanted] = {}
    for at, table in enumerate(tables):
        with _standing_in(f"route[{at}]", where):
            route = RouteWanted(table.method, table.host, table.path)
        other = routes.setdefault((route.method, route.host, route.shape), route)
        if other is not route:
            message = f"'{route}' is as good as '{other}', which stands before it"
            raise InvalidRequest.of(f"route[{at}]", message, where)
    return tuple(routes.values())


def _subscriptions(tables: list[SubscriptionTable], where: str) -> tuple[SubscriptionWanted, ...]:
    wanted: dict[SubscriptionWanted, None] = {}
    for at, table in enumerate(tables):
        with _standing_in(f"subscription[{at}]", where):
            subscription = SubscriptionWanted(table.type, table.source, table.subject)
        if subscription in wanted:
            raise InvalidRequest.of(f"subscription[{at}]", f"'{subscription}' stands before it already", where)
        wanted[subscription] = None
    return tuple(wanted)


def _tables(content: bytes) -> Tables:
    document = _parsed(content)
    try:
        return msgspec.convert(document, Tables)
    except msgspec.ValidationError as error:
        raise invalid(Tables, error, _WHERE, document) from error


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
def _standing_in(table: str, where: str) -> Iterator[None]:
    """Say of what is refused that it stands in this table."""
    try:
        yield
    except InvalidRequest as error:
        errors = [{**one, "field": f"{table}.{one['field']}"} for one in error.errors]
        raise InvalidRequest(f"{where}{table}.{error}", errors) from error
