"""Secrets of the platform, as they are listed: a value is in none of these."""

from dataclasses import dataclass
from datetime import datetime

SECRET_CHARACTERS_MAX = 64 * 1024  # of a value


@dataclass(frozen=True, slots=True)
class Secret:
    """A named value that scripts may be granted."""

    name: str  # as a variable's
    created_at: datetime  # UTC
    updated_at: datetime  # UTC: when its value was set last
    scripts: tuple[str, ...]  # those whose settings name it, as a grant or for their webhooks
