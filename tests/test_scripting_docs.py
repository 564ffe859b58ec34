"""docs/scripting.md lists what there is and nothing else: globals, fields of the request, limits, settings."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from picloud.model import DEFAULT_POLICY, Cors, Limits, Preset, Retry, Settings, Webhook
from sandbox import lua
from tests.documents import rows, section, spans
from tests.running import ROOT
from tests.sandbox.lua_support import LuaRequest, body, failure

PAGE = ROOT / "docs" / "scripting.md"
REQUEST_SOURCE = Path(lua.__file__).parent / "prelude" / "request.lua"

LUAS_OWN = "### Lua's own"
LIBRARIES = [
    f"### `{name}`"
    for name in (
        "json",
        "log",
        "env",
        "secrets",
        "crypto",
        "base64",
        "url",
        "html",
        "template",
        "time",
        "kv",
        "http",
        "invoke",
        "jobs",
        "after",
        "events",
        "schedule",
        "stream",
    )
]
OF_BUNDLES = "### `files` and `require`"

WALK = """
local found = {}
for name, value in pairs(_G) do
  found[name] = json.array{}
  if type(value) == "table" and name ~= "_G" then
    for member in next, value do found[name][#found[name] + 1] = member end
  end
end
return { body = found }
"""

WHOLE_REQUEST = LuaRequest(
    query=b"x=1", params={b"rest": b"x"}, event=b"1", body=b"a=1",
    headers={b"cookie": b"a=b", b"content-type": b"application/x-www-form-urlencoded"},
)  # fmt: skip


def real_globals() -> dict[str, set[str]]:
    """Global → its members; none for what is no table."""
    return {name: set(members) for name, members in json.loads(body(WALK)).items()}


def documented_globals() -> dict[str, set[str]]:
    """The same of the page: what the first cells of its tables of libraries name."""
    found: dict[str, set[str]] = {name: set() for name in ("request", "require")}
    for cells in rows(section(PAGE, LUAS_OWN)):
        if cells[0] == "basic":
            found |= {name: set() for name in spans(cells[1])}
        else:
            (name,) = spans(cells[0])
            found[name] = set() if name.startswith("_") else set(spans(cells[1]))
    for heading in (*LIBRARIES, OF_BUNDLES):
        for first, *_ in rows(section(PAGE, heading)):
            (signature,) = spans(first)
            name, _, member = signature.partition("(")[0].partition(".")
            found.setdefault(name, set()).update([member] if member else [])
    return found


def test_every_global_is_documented_and_no_other() -> None:
    real, documented = real_globals(), documented_globals()
    real["request"] = set()  # its fields have a test of their own
    assert {name: real.get(name) for name in real.keys() | documented.keys()} == {
        name: documented.get(name) for name in real.keys() | documented.keys()
    }


def test_every_field_of_the_request_is_documented_and_no_other() -> None:
    source = REQUEST_SOURCE.read_text()
    (made,) = re.findall(r"return setmetatable\(\{\n(.*?)\n  \}, REQUEST\)", source, re.DOTALL)
    real = set(re.findall(r"(\w+) = ", made)) | set(re.findall(r"^(?:function )?parts\.(\w+)", source, re.MULTILINE))
    methods = set(re.findall(r"^function methods\.(\w+)", source, re.MULTILINE))
    documented = [spans(cells[0])[0] for cells in rows(section(PAGE, "## The request"))]
    assert sorted(documented) == sorted(
        [f"request.{name}" for name in real] + [f"request:{name}()" for name in methods]
    )


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        (spans(cells[0])[0], cells[1])
        for cells in rows(section(PAGE, "## The request"))
        if cells[1] != "any"
    ],
)  # fmt: skip
def test_a_field_of_the_request_has_the_type_that_is_documented(field: str, kind: str) -> None:
    types = "local function types(a, b) return type(a) .. (b and ', ' .. type(b) or '') end "
    assert body(f"{types} return types({field})", request=WHOLE_REQUEST).decode() == kind


def test_the_table_of_limits_is_the_codes() -> None:
    documented = {spans(cells[0])[0]: (int(cells[1]), int(cells[2])) for cells in rows(section(PAGE, "## Limits"))}
    maxima = DEFAULT_POLICY.maxima
    assert documented == {item.name: (item.default, getattr(maxima, item.name)) for item in dataclasses.fields(Limits)}


def test_the_tables_of_settings_are_the_codes() -> None:
    documented = {spans(key)[0]: default for key, default, _ in rows(section(PAGE, "## Settings"))}
    parts = {"limits", "retry"}  # they have tables of their own
    assert {documented.pop(name) for name in parts} == {""}
    kinds: tuple[type, ...] = (Settings, Cors, Retry)
    items = [item for kind in kinds for item in dataclasses.fields(kind) if item.name not in parts]
    assert documented == {item.name: shown(default_of(item)) for item in items}


def test_the_tables_of_webhooks_are_the_codes() -> None:
    tables = list(rows(section(PAGE, "## Webhooks")))
    presets = [json.loads(spans(cells[0])[0]) for cells in tables if len(cells) == 5]
    assert presets == [str(preset) for preset in Preset]
    documented = {spans(cells[0])[0]: cells[1] for cells in tables if len(cells) == 3}
    held = dataclasses.asdict(Webhook(Preset.CUSTOM, "S").held())
    assert documented == {name: shown(value) for name, value in held.items() if name not in ("preset", "secret")}


def default_of(item: "dataclasses.Field[Any]") -> object:
    return item.default if item.default_factory is dataclasses.MISSING else item.default_factory()


def shown(value: object) -> str:
    """As the tables show it: JSON."""
    return f"`{json.dumps(value)}`"


def test_what_is_not_there_is_not_there() -> None:
    for missing, _ in rows(section(PAGE, "## What is not there, and why")):
        for name in spans(missing):
            if name != "__gc":
                assert body(f"return type({name})") == b"nil", name
    assert b"__gc is not available" in failure("setmetatable({}, { __gc = print })").message
