"""The route table, as the application has it, of resources without collaborators: for what they declare."""

from dataclasses import fields
from typing import Any

from picloud.api import apps
from picloud.dashboard.front import Front

_NOBODY: dict[str, Any] = dict.fromkeys(field.name for field in fields(apps.Collaborators))
_FRONT: Any = dict.fromkeys(("tokens", "scripts", "invocations", "proxies"))

ROUTES = apps.routes(apps.Collaborators(**_NOBODY | {"front": Front(**_FRONT)}))
