"""Texts with rules that a schema cannot say. Knows nothing of HTTP: what reads a file has them, too."""

import msgspec


def form(name: str, meaning: str) -> msgspec.Meta:
    """Of such a text: its rules have a name in the schema, and are checked elsewhere."""
    return msgspec.Meta(description=meaning, extra_json_schema={"format": name})
