"""`NAME.toml` of a configuration's folder, as tables: what it says of a script, and how it says what TOML cannot.

Owns: these tables. Pure; `config_folder` has the files.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from picloud.manager.config_document import UNSAID, ScriptDocument

HIDDEN = "hidden_files"

_AS_JSON = "payload_json"
_DEPTH_MAX = 16  # of a payload that TOML shows; beyond, JSON does
_DEFAULTS = msgspec.to_builtins(UNSAID)


def shown(script: ScriptDocument, files: Mapping[str, bytes]) -> dict[str, Any]:
    """What NAME.toml says."""
    said = msgspec.to_builtins(script)
    if "settings" in said:
        said["settings"] = msgspec.to_builtins(script.settings, order="sorted")
    if "route" in said:
        said["route"] = [_given(it, ("method", "host", "path")) for it in said["route"]]
    if "subscription" in said:
        said["subscription"] = [_given(it, ("type", "source", "subject")) for it in said["subscription"]]
    if "schedule" in said:
        said["schedule"] = [_schedule(it) for it in said["schedule"]]
    hidden = sorted(path for path in files if is_hidden(path))
    kinds = ("settings", "route", "subscription", "schedule")
    return ({HIDDEN: hidden} if hidden else {}) | {kind: said[kind] for kind in kinds if kind in said}


def _given(table: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: table[name] for name in names if table[name] is not None}


def _schedule(table: Mapping[str, Any]) -> dict[str, Any]:
    names = ("name", *(name for name in _DEFAULTS if name != "name"))
    shown = {name: table[name] for name in names if table[name] != _DEFAULTS[name]}
    if "payload" in shown and not _has_words_for(shown["payload"], _DEPTH_MAX):
        shown[_AS_JSON] = msgspec.json.encode(shown.pop("payload")).decode()
    return shown


def _has_words_for(value: object, depth: int) -> bool:
    """Whether TOML can say it."""
    if isinstance(value, Mapping | list):
        inner = value.values() if isinstance(value, Mapping) else value
        return depth > 0 and all(_has_words_for(it, depth - 1) for it in inner)
    return value is not None


def read_payloads(tables: Mapping[str, Any]) -> None:
    """Put in place what schedules say as JSON; ValueError."""
    schedules = tables.get("schedule")
    for table in schedules if isinstance(schedules, list) else ():
        if isinstance(table, dict) and _AS_JSON in table:
            text = table.pop(_AS_JSON)
            try:
                table["payload"] = msgspec.json.decode(text if isinstance(text, str) else "")
            except msgspec.DecodeError as error:
                raise ValueError(f"{_AS_JSON} is no text with JSON in it: {error}") from error


def is_hidden(path: str) -> bool:
    """Whether `picloud deploy` would leave it out."""
    return any(part.startswith(".") for part in path.split("/"))
