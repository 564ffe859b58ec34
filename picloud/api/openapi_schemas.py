"""Types as JSON Schema, and the named ones once under `components`."""

import re
from typing import Any

import msgspec

from picloud.errors import PlatformError

Json = dict[str, Any]

_REF = "#/components/schemas/"


class Schemas:
    """The schemas of one document; `components` grows with what is asked for."""

    def __init__(self) -> None:
        self.components: Json = {}

    def of(self, kind: Any) -> Json:
        """The schema of a type: of one with a name, a reference to it. What may be null may be left out instead."""
        (schema,), components = msgspec.json.schema_components([kind], ref_template=_REF + "{name}")
        for name, component in components.items():
            self._keep(_public(name), {key: part for key, part in _shown(component).items() if key != "title"})
        found: Json = _shown(schema)
        return found

    def optional(self, kind: Any) -> Json:
        """The schema of a parameter: what may be null is left out instead."""
        schema = self.of(kind)
        if "anyOf" not in schema:
            return schema
        choices = [choice for choice in schema.pop("anyOf") if choice != {"type": "null"}]
        return {**schema, **(choices[0] if len(choices) == 1 else {"anyOf": choices})}

    def _keep(self, name: str, component: Json) -> None:
        if self.components.setdefault(name, component) != component:
            raise PlatformError(f"two types are shown as '{name}': give one another name")


def _public(name: str) -> str:
    """A class's name as the document has it: `ScriptShape` → `Script`, `Page[ScriptShape]` → `ScriptPage`."""
    return re.sub(r"^(\w+?)_(\w+)_$", r"\2\1", name).replace("Shape", "")


def _shown(schema: Any) -> Any:
    """A schema as the document has it: public names, and times that say so, which msgspec cannot know to be UTC."""
    if isinstance(schema, list):
        return [_shown(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    shown = {key: _shown(value) for key, value in schema.items()}
    if isinstance(ref := schema.get("$ref"), str):
        shown["$ref"] = _REF + _public(ref.removeprefix(_REF))
    for name, value in shown.get("properties", {}).items():
        if name == "at" or name.endswith("_at"):
            _mark_time(value)
    return shown


def _mark_time(schema: Json) -> None:
    for choice in schema.get("anyOf", [schema]):
        if choice.get("type") == "string":
            choice.setdefault("format", "date-time")
