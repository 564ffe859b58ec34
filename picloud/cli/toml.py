"""TOML, written: one text for one value, which `tomllib` reads as the same.

Owns: how it is written. The standard library has a reader alone.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def document(tables: Mapping[str, Any]) -> str:
    """A whole document: what are no tables first, then each table and each list of tables under its heading."""
    lines = _pairs({name: value for name, value in tables.items() if not _is_tables(value)})
    for name, value in tables.items():
        if isinstance(value, Mapping):
            lines += _table(_key(name), value)
        elif _is_tables(value):
            for one in value:
                lines += ["", f"[[{_key(name)}]]", *(f"{_key(key)} = {inline(inner)}" for key, inner in one.items())]
    return "\n".join(lines).strip("\n") + "\n"


def inline(value: Any) -> str:
    """A value on one line; ValueError for what TOML has no word for: null."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {inline(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(inline, value)) + "]"
    raise ValueError(f"TOML has no {value!r}")


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(name)} = {inline(value)}" for name, value in table.items() if not isinstance(value, Mapping)]


def _table(name: str, table: Mapping[str, Any]) -> list[str]:
    lines = ["", f"[{name}]", *_pairs(table)]
    for inner, value in table.items():
        if isinstance(value, Mapping):
            lines += _table(f"{name}.{_key(inner)}", value)
    return lines


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(it, Mapping) for it in value)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _text(text: str) -> str:
    """As JSON writes it; TOML wants the one control character more to be escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
