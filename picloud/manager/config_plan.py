"""What is to be changed so that what stands becomes what is wanted.

Owns: that decision, and its words. Pure. What is wanted is made so, whosever it was: a route or schedule that another
script has is moved. What is not wanted stays, unless it is to be pruned; a script's settings are one thing, and wanted
as a whole.
"""

import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from picloud.configuration import (
    OwnRoute,
    OwnSchedule,
    OwnSubscription,
    Plan,
    RouteKey,
    ScriptState,
    Snapshot,
    route_key,
    same_schedule,
    value_of,
)
from picloud.errors import InvalidRequest
from picloud.manager.config_document import Wanted
from picloud.model import NewSchedule, Upload
from picloud.patterns import RouteWanted


class Action(enum.StrEnum):
    """What is done."""

    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"


class Thing(enum.StrEnum):
    """What it is done to."""

    SCRIPT = "script"
    FILE = "file"
    SETTING = "setting"
    ROUTE = "route"
    SUBSCRIPTION = "subscription"
    SCHEDULE = "schedule"


class ConfigChange(msgspec.Struct, frozen=True):
    """One thing that is added, changed or removed."""

    action: Action
    thing: Thing
    script: str
    name: Annotated[str, Meta(description="a path, a setting such as `limits.wall_ms`, a route, a schedule's name")]
    before: Annotated[Any, Meta(description="what stood there; null: nothing, or a file")] = None
    after: Annotated[Any, Meta(description="what stands there now; null: nothing, or a file")] = None


Decision = tuple[Plan, tuple[ConfigChange, ...]]


def decided(now: Snapshot, wanted: Sequence[Wanted], created_by: str, *, prune: bool) -> Decision:
    """What is to be done, and the same for people. InvalidRequest: two scripts want the same.

    Where a script has new files, what they declare is noted as such, changed or not.
    """
    gone = tuple(sorted(now.scripts.keys() - {it.state.name for it in wanted})) if prune else ()
    fresh = {it.state.name for it in wanted if _has_new_files(it, now)}
    routes, routes_gone, of_routes = _routes(now, wanted, gone, fresh, prune)
    heard, heard_gone, of_heard = _subscriptions(now, wanted, fresh, prune)
    times, times_gone, of_times = _schedules(now, wanted, gone, fresh, prune)
    settings = [it.state for it in wanted if it.state.settings != _settings_now(now, it.state.name)]
    plan = Plan(
        gone,
        routes_gone,
        heard_gone,
        times_gone,
        tuple(
            (it.state.name, Upload(it.files, it.state.sha256, created_by)) for it in wanted if it.state.name in fresh
        ),
        tuple((it.name, it.settings) for it in settings),
        routes,
        heard,
        times,
    )
    changes = [
        *(ConfigChange(Action.REMOVE, Thing.SCRIPT, name, name) for name in gone),
        *(ConfigChange(Action.ADD, Thing.SCRIPT, it.state.name, it.state.name) for it in wanted if _is_new(it, now)),
        *(change for it in wanted if it.state.name in fresh for change in _of_files(it, now)),
        *(change for it in settings for change in _of_settings(it, now)),
        *of_routes,
        *of_heard,
        *of_times,
    ]
    return plan, tuple(sorted(changes, key=lambda it: it.script))  # stable: a script's own stay in this order


def _is_new(it: Wanted, now: Snapshot) -> bool:
    return it.state.name not in now.scripts


def _has_new_files(it: Wanted, now: Snapshot) -> bool:
    return _is_new(it, now) or now.scripts[it.state.name].sha256 != it.state.sha256


def _settings_now(now: Snapshot, name: str) -> Mapping[str, Any]:
    return now.scripts[name].settings if name in now.scripts else {}


def _of_files(it: Wanted, now: Snapshot) -> Iterator[ConfigChange]:
    before = now.files.get(it.state.name, {})
    for path in sorted(before.keys() | it.files.keys()):
        if path not in before:
            yield ConfigChange(Action.ADD, Thing.FILE, it.state.name, path)
        elif path not in it.files:
            yield ConfigChange(Action.REMOVE, Thing.FILE, it.state.name, path)
        elif before[path] != it.files[path]:
            yield ConfigChange(Action.CHANGE, Thing.FILE, it.state.name, path)


def _of_settings(it: ScriptState, now: Snapshot) -> Iterator[ConfigChange]:
    before, after = _flat(_settings_now(now, it.name)), _flat(it.settings)
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old != new:
            yield ConfigChange(_action(old, new), Thing.SETTING, it.name, name, old, new)


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """`{"limits": {"wall_ms": 1}}` → `{"limits.wall_ms": 1}`."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{above}{name}.") if isinstance(value, Mapping) and value else {above + name: value}
    return found


def _action(before: object, after: object) -> Action:
    if before is None:
        return Action.ADD
    return Action.REMOVE if after is None else Action.CHANGE


def _routes(
    now: Snapshot, wanted: Sequence[Wanted], gone: Sequence[str], fresh: set[str], prune: bool
) -> tuple[tuple[OwnRoute, ...], tuple[RouteKey, ...], list[ConfigChange]]:
    there = {route_key(route): (it.name, route) for it in now.scripts.values() for route in it.routes}
    sought: dict[RouteKey, tuple[str, RouteWanted]] = {}
    put, changes = [], []
    for it in wanted:
        declared = {route_key(route) for route in it.own.routes or ()}
        for route in it.state.routes:
            key, mine = route_key(route), (it.state.name, route)
            _first(sought, key, mine, "route", str(route))
            if there.get(key) != mine:
                changes.append(_of_route(there.get(key), mine))
            if there.get(key) != mine or (it.state.name in fresh and key in declared):
                put.append(OwnRoute(it.state.name, route, key in declared))
    left = {key: it for key, it in there.items() if prune and key not in sought and it[0] not in gone}
    changes += [_of_route(it, None) for it in left.values()]
    return tuple(put), tuple(left), changes


def _of_route(before: tuple[str, RouteWanted] | None, after: tuple[str, RouteWanted] | None) -> ConfigChange:
    shown = [f"{it[1]} → {it[0]}" if it else None for it in (before, after)]
    script, route = after or before or ("", None)
    return ConfigChange(_action(before, after), Thing.ROUTE, script, str(route), *shown)


def _subscriptions(
    now: Snapshot, wanted: Sequence[Wanted], fresh: set[str], prune: bool
) -> tuple[tuple[OwnSubscription, ...], tuple[OwnSubscription, ...], list[ConfigChange]]:
    put: list[OwnSubscription] = []
    left: list[OwnSubscription] = []
    changes: list[ConfigChange] = []
    for it in wanted:
        name = it.state.name
        there = now.scripts[name].subscriptions if name in now.scripts else ()
        for one in it.state.subscriptions:
            declared = one in (it.own.subscriptions or ())
            if one not in there:
                changes.append(ConfigChange(Action.ADD, Thing.SUBSCRIPTION, name, str(one), None, str(one)))
            if one not in there or (name in fresh and declared):
                put.append(OwnSubscription(name, one, declared))
        for one in there if prune else ():
            if one not in it.state.subscriptions:
                changes.append(ConfigChange(Action.REMOVE, Thing.SUBSCRIPTION, name, str(one), str(one)))
                left.append(OwnSubscription(name, one))
    return tuple(put), tuple(left), changes


def _schedules(
    now: Snapshot, wanted: Sequence[Wanted], gone: Sequence[str], fresh: set[str], prune: bool
) -> tuple[tuple[OwnSchedule, ...], tuple[str, ...], list[ConfigChange]]:
    there = {one.name: one for it in now.scripts.values() for one in it.schedules}
    sought: dict[str, tuple[str, NewSchedule]] = {}
    put, changes = [], []
    for it in wanted:
        declared = {one.name for one in it.own.schedules or ()}
        for one in it.state.schedules:
            _first(sought, one.name, (it.state.name, one), "schedule", one.name)
            before = there.get(one.name)
            is_same = before is not None and same_schedule(before, one)
            if not is_same:
                changes.append(_of_schedule(before, one))
            if not is_same or (it.state.name in fresh and one.name in declared):
                put.append(OwnSchedule(one, one.name in declared))
    left = [one for name, one in there.items() if prune and name not in sought and one.script not in gone]
    changes += [_of_schedule(one, None) for one in left]
    return tuple(put), tuple(one.name for one in left), changes


def _of_schedule(before: NewSchedule | None, after: NewSchedule | None) -> ConfigChange:
    shown = [_shown(it) if it else None for it in (before, after)]
    it = after or before
    assert it
    return ConfigChange(_action(before, after), Thing.SCHEDULE, it.script, it.name, *shown)


def _shown(it: NewSchedule) -> dict[str, Any]:
    """What is not as it is by default."""
    default = NewSchedule(it.name, "")
    fields = {name: getattr(it, name) for name in NewSchedule.__dataclass_fields__ if name != "name"}
    shown = {name: value for name, value in fields.items() if value != getattr(default, name)}
    return shown | ({"payload": value_of(it.payload)} if "payload" in shown else {})


def _first(sought: dict[Any, tuple[str, Any]], key: object, mine: tuple[str, Any], kind: str, name: str) -> None:
    """InvalidRequest if another script wants it, too."""
    script, _ = sought.setdefault(key, mine)
    if script != mine[0]:
        message = f"script '{script}' has a {kind} of the same, '{name}'"
        raise InvalidRequest.of(f"scripts.{mine[0]}.{kind}", message)
