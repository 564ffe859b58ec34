"""`secrets`: values that a script is granted by name, as its host calls.

| call        | arguments | values                                     |
|-------------|-----------|--------------------------------------------|
| secrets.get | name      | the value; nothing if there is no such one |

What a script gets is masked from then on in what is written of the invocation.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from picloud.errors import ConfigurationError, Forbidden, InvalidRequest
from picloud.model import is_variable_name
from picloud.orchestrator.attempt import Attempt, Binding
from picloud.orchestrator.bindings.reading import fields, text
from picloud.sealing import CannotOpen

_log = logging.getLogger(__name__)


class Values(Protocol):
    """What knows values by name."""

    def get(self, name: str) -> str | None:
        """None if there is no such secret; DatabaseUnavailable, CannotOpen, ConfigurationError."""


def table(values: Values) -> Mapping[str, Binding]:
    """Its host calls."""

    def get(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
        name = _granted(attempt, *fields(arguments, 1))
        try:
            value = values.get(name)
        except (CannotOpen, ConfigurationError) as error:  # the operator's to mend, and to see
            _log.error("secrets.get('%s') of '%s' failed: %s", name, attempt.program.script, error)
            raise InvalidRequest(f"'{name}' cannot be opened with the key that this server has; set it anew") from None
        if value is None:
            return []
        attempt.shared.mask.add(value)
        return [value.encode()]

    return {"secrets.get": get}


def _granted(attempt: Attempt, field: bytes) -> str:
    name = text(field, "a name")
    if not is_variable_name(name):
        raise InvalidRequest("a secret's name has letters, digits and '_', at most 64, no digit first")
    if name not in attempt.program.settings.secrets:
        raise Forbidden(f"'{name}' is not granted to this script: add it to the list in its setting `secrets`")
    return name
