"""The table of series: each with its type, its labels and what it means. The documentation has the same rows."""

import enum
from dataclasses import dataclass
from typing import Final


class Kind(enum.StrEnum):
    """Prometheus's word for how a series behaves."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Series:
    """One row of the table."""

    name: str
    kind: Kind
    about: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()  # upper bounds, in the series' unit, without infinity


_MIB = 1024 * 1024

REQUESTS: Final = Series(
    "picloud_requests_total",
    Kind.COUNTER,
    "invocations that have ended: requests, jobs, and what scripts invoke",
    ("script", "outcome", "trigger"),
)
DURATION: Final = Series(
    "picloud_request_duration_seconds",
    Kind.HISTOGRAM,
    "how long one took, from asking for a sandbox to the last byte of its answer",
    ("script",),
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
QUEUE: Final = Series(
    "picloud_queue_seconds",
    Kind.HISTOGRAM,
    "how long it waited for a sandbox",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)
CPU: Final = Series(
    "picloud_sandbox_cpu_seconds_total", Kind.COUNTER, "processor time that sandboxes have used", ("script",)
)
MEMORY: Final = Series(
    "picloud_sandbox_memory_bytes",
    Kind.HISTOGRAM,
    "Lua's heap at the end of a run; of one that died, the most that its process held",
    ("script",),
    tuple(float(_MIB << step) for step in range(9)),
)
CALLS: Final = Series(
    "picloud_host_calls_total", Kind.COUNTER, "host calls by name, those of dry runs and refused ones too", ("call",)
)
REFUSALS: Final = Series(
    "picloud_refusals_total",
    Kind.COUNTER,
    "refused for want of a place in the node or of the script; in a flood most of them are no invocations",
    ("reason",),
)
LATENESS: Final = Series(
    "picloud_schedule_lateness_seconds",
    Kind.HISTOGRAM,
    "from a schedule's due time to the making of its job",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 3600),
)
CONNECTIONS: Final = Series(
    "picloud_database_connections_in_use", Kind.GAUGE, "connections to the database that are in use now", ("pool",)
)
CONNECTIONS_MAX: Final = Series(
    "picloud_database_connections_max", Kind.GAUGE, "how many there may be, of all processes together", ("pool",)
)
CONNECTION_WAITS: Final = Series(
    "picloud_database_waits_total", Kind.COUNTER, "how often somebody had to wait for one", ("pool",)
)
PROCESSES: Final = Series(
    "picloud_processes", Kind.GAUGE, "processes of the node that live: worker, dispatcher, manager", ("role",)
)

JOBS: Final = Series(
    "picloud_jobs", Kind.GAUGE, "jobs of all nodes: queued, running, dead; counted to 100,000", ("state",)
)
OLDEST_JOB: Final = Series(
    "picloud_oldest_due_job_seconds",
    Kind.GAUGE,
    "for how long the oldest job that is due and does not run has been due",
)
SANDBOXES: Final = Series(
    "picloud_sandboxes",
    Kind.GAUGE,
    "sandboxes alive: they wait for work (idle), compute (busy), wait for the network (parked), are invoked (lent)",
    ("state",),
)
SANDBOXES_MAX: Final = Series("picloud_sandboxes_max", Kind.GAUGE, "how many may be idle or busy: PICLOUD_POOL_MAX")
DATABASE_UP: Final = Series(
    "picloud_database_up", Kind.GAUGE, "whether the database has answered; if not, there is nothing of jobs here"
)
EXECUTOR_UP: Final = Series(
    "picloud_executor_up", Kind.GAUGE, "whether the executor has answered; if not, there is nothing of sandboxes here"
)
BUILD: Final = Series("picloud_build_info", Kind.GAUGE, "always 1; which PiCloud this is", ("version", "python"))

TABLE: Final = (
    REQUESTS, DURATION, QUEUE, CPU, MEMORY, CALLS, REFUSALS, SANDBOXES, SANDBOXES_MAX, EXECUTOR_UP, JOBS, OLDEST_JOB,
    LATENESS, CONNECTIONS, CONNECTIONS_MAX, CONNECTION_WAITS, DATABASE_UP, PROCESSES, BUILD,
)  # fmt: skip
