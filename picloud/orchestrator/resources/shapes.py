"""How parts of a run are shown as JSON, where several resources show them."""

from base64 import b64encode

from picloud.model import HeaderList

Headers = dict[str, str | list[str]]
"""Name → value, or a list of them if there are several."""


def headers_shape(fields: HeaderList) -> Headers:
    """Header fields in the order of their names' coming."""
    found: dict[str, list[str]] = {}
    for name, value in fields:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def body_shape(body: bytes) -> tuple[str, bool]:
    """A body as text, and whether that is in base64: it is no UTF-8."""
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        return b64encode(body).decode(), True
