"""What `/` answers as JSON, and what its forms send."""

from datetime import datetime
from typing import Annotated

import msgspec

from picloud.dashboard.page import Row
from picloud.model import Outcome


class LastRun(msgspec.Struct):
    """How a script last ran."""

    outcome: Outcome
    status: int
    started_at: datetime
    queue_ms: float
    run_ms: float


class ListedScript(msgspec.Struct):
    """A script as the front page has it."""

    name: str
    url: str
    active_version: int
    updated_at: datetime
    last: LastRun | None


_Scripts = Annotated[list[ListedScript], msgspec.Meta(description="for who is known and may read")]


class FrontShape(msgspec.Struct, omit_defaults=True):
    """What this is and where to go."""

    name: str
    version: str
    links: dict[str, str]
    scripts: _Scripts | msgspec.UnsetType = msgspec.UNSET
    more: Annotated[bool, msgspec.Meta(description="beside them: whether there are others")] | msgspec.UnsetType = (
        msgspec.UNSET
    )


class Form(msgspec.Struct, forbid_unknown_fields=True):
    """What the page's forms send."""

    token: Annotated[str, msgspec.Meta(description="sign in with this one")] = ""
    sign_out: Annotated[str, msgspec.Meta(description="anything: sign out")] = ""


def listed(row: Row) -> ListedScript:
    """A row of the page."""
    it, last = row.script, row.last
    run = LastRun(last.outcome, last.status, last.started_at, last.queue_ms, last.run_ms) if last else None
    return ListedScript(it.name, f"/fn/{it.name}", it.active_version, it.updated_at, run)
