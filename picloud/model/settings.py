"""What belongs to a script and not to a version of it, and what the operator allows."""

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import msgspec

from picloud.model.webhooks import Webhook


class Access(enum.StrEnum):
    """Who may call a script over HTTP."""

    PUBLIC = "public"
    TOKEN = "token"  # noqa: S105 - no secret: who sends a token with the scope `invoke`


class Recording(enum.StrEnum):
    """Of which invocations the request is kept."""

    NONE = "none"
    FAILURES = "failures"  # those that gave no answer, or one of 500 and more
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one invocation of a script may use."""

    wall_ms: int = 10_000  # from the sandbox's accept to its answer
    cpu_ms: int = 5_000
    memory_bytes: int = 64 * 1024 * 1024  # Lua's heap
    request_bytes: int = 1024 * 1024  # body
    response_bytes: int = 6 * 1024 * 1024  # body
    log_bytes: int = 64 * 1024  # all lines of one invocation
    host_calls: int = 1_000  # of one invocation: kv, http, …
    concurrency: int = 16  # invocations at once on a node

    def within(self, maxima: "Limits") -> "Limits":
        """These, and none above the other's."""
        return Limits(*(min(getattr(self, it.name), getattr(maxima, it.name)) for it in fields(self)))


LIMITS_MOST = Limits(
    wall_ms=24 * 60 * 60 * 1000,
    cpu_ms=24 * 60 * 60 * 1000,
    memory_bytes=64 * 1024**3,
    request_bytes=1024**3,
    response_bytes=1024**3,
    log_bytes=1024**3,
    host_calls=1_000_000,
    concurrency=100_000,
)
"""What no operator can go beyond."""


@dataclass(frozen=True, slots=True)
class Cors:
    """Which pages of other origins may call a script (the CORS protocol of the Fetch standard)."""

    origins: tuple[str, ...] = ()  # `https://example.org`, or `*`
    headers: tuple[str, ...] = ()  # that a page may send, lower-case, or `*`
    methods: tuple[str, ...] = ()  # beside GET, HEAD and POST, or `*`
    credentials: bool = False  # whether cookies and Authorization may come along; never with `*`
    max_age: int = 0  # s that a browser may remember the answer


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a script's job runs that fails, and when it runs again."""

    max_attempts: int = 3  # in all; a job may have a number of its own
    backoff_ms: int = 1_000  # after the first that failed; twice as long after each one more
    backoff_max_ms: int = 3_600_000


def backoff_ms(retry: Retry, failed: int, chance: Callable[[], float]) -> int:
    """How long a job waits of which so many attempts have failed (1 or more), before the next one.

    ``chance`` gives 0 to 1, such as `random.random`: what failed together does not come again together.
    """
    steady = min(retry.backoff_ms << max(failed - 1, 0), retry.backoff_max_ms)
    return int(steady * (0.5 + chance()))


BACKOFF_MS_MOST = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Settings:
    """What belongs to a script and not to a version of it; a rollback leaves it alone."""

    access: Access = Access.PUBLIC
    limits: Limits = Limits()
    env: Mapping[str, str] = field(default_factory=dict)
    cors: Cors | None = None  # None: the script answers for itself
    allow_hosts: tuple[str, ...] | None = (
        None  # patterns (model.HostPattern) of what it may call; None: all that is public
    )
    expose_errors: bool = True  # whether a caller sees the script's error message
    idempotency: bool = False  # whether it runs once for an Idempotency-Key
    kv: tuple[str, ...] = ()  # names of the shared spaces that it may use
    secrets: tuple[str, ...] = ()  # names of those that it may get
    invoke: tuple[str, ...] = ()  # names of scripts that want a token over HTTP, and that it may invoke without
    record: Recording = Recording.NONE
    retry: Retry = Retry()  # of its jobs
    webhook: Webhook | None = None  # it takes signed deliveries, and nothing else, as jobs


StoredSettings = Mapping[str, Any]
"""What was set of a script's settings, as JSON has it; what was not follows the server."""


SettingsChange = Callable[[StoredSettings], StoredSettings]
"""What is stored of a script's settings → what is to be; InvalidRequest, and nothing is."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator allows every script, and what one gets that does not say."""

    maxima: Limits = Limits(
        wall_ms=300_000,
        cpu_ms=300_000,
        memory_bytes=512 * 1024 * 1024,
        request_bytes=64 * 1024 * 1024,
        response_bytes=64 * 1024 * 1024,
        log_bytes=1024 * 1024,
        host_calls=10_000,
        concurrency=256,
    )
    access: Access = Access.PUBLIC

    def hold(self, stored: StoredSettings) -> Settings:
        """What holds for a script: what was set, else the default, and no limit above the operator's."""
        settings = msgspec.convert({"access": self.access, **stored}, Settings)
        webhook = settings.webhook and settings.webhook.held()
        return replace(settings, limits=settings.limits.within(self.maxima), webhook=webhook)


DEFAULT_POLICY = Policy()


VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def is_variable_name(text: str) -> bool:
    """Whether a variable of `env`, or a secret, may have this name."""
    return VARIABLE_NAME.fullmatch(text) is not None
