"""`/metrics`: what is counted of this node, and what there is at this moment.

Owns: what is asked for it, and that nothing of it fails for want of an answer.
"""

import platform
from collections.abc import Callable, Collection
from dataclasses import dataclass

import falcon

from picloud import __version__
from picloud.auth import Scope
from picloud.errors import PicloudError
from picloud.messages.endpoint import Answer, endpoint
from picloud.metrics import exposition, series
from picloud.metrics.exposition import Seen
from picloud.metrics.measuring import Measurements
from picloud.model import Backlog, SandboxCounts

_Numbers = dict[tuple[str, ...], float]

_UP: _Numbers = {(): 1.0}
_DOWN: _Numbers = {(): 0.0}


@dataclass(frozen=True, slots=True)
class Sources:
    """Where it comes from."""

    measurements: Measurements
    backlog: Callable[[Collection[str]], Backlog]  # of the names of scripts → with those that there are
    sandboxes: Callable[[], SandboxCounts]
    pool_max: int


class MetricsResource:
    """`/metrics`"""

    def __init__(self, sources: Sources) -> None:
        self._from = sources

    @endpoint(Scope.READ, answers={200: Answer(media=("text/plain",))})
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """What is counted of this node, over all its processes, in Prometheus's text format."""
        seen = {**self._seen_of_jobs(), **self._seen_of_sandboxes()}
        seen[series.BUILD] = {(__version__, platform.python_version()): 1.0}
        resp.content_type = exposition.MEDIA_TYPE
        resp.set_header("cache-control", "no-store")
        resp.data = exposition.text(self._from.measurements, seen)

    def _seen_of_jobs(self) -> Seen:
        names = self._from.measurements.names.all()
        try:
            found = self._from.backlog(names)
        except PicloudError:  # that it is away is what there is to say
            return {series.DATABASE_UP: _DOWN}
        self._from.measurements.forget(names - {*found.scripts})
        jobs: _Numbers = {("queued",): found.queued, ("running",): found.running, ("dead",): found.dead}
        oldest: _Numbers = {(): found.oldest_due_s}
        return {series.DATABASE_UP: _UP, series.JOBS: jobs, series.OLDEST_JOB: oldest}

    def _seen_of_sandboxes(self) -> Seen:
        most: _Numbers = {(): self._from.pool_max}
        try:
            found = self._from.sandboxes()
        except PicloudError:
            return {series.EXECUTOR_UP: _DOWN, series.SANDBOXES_MAX: most}
        alive: _Numbers = {
            ("idle",): found.idle,
            ("busy",): found.busy,
            ("parked",): found.parked,
            ("lent",): found.lent,
        }
        return {series.EXECUTOR_UP: _UP, series.SANDBOXES: alive, series.SANDBOXES_MAX: most}
