"""`/healthz` and `/readyz`: what anyone may ask."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

import falcon
import msgspec

from picloud.errors import PicloudError
from picloud.messages.endpoint import Answer, endpoint
from picloud.messages.writing import send_json

_RETRY: dict[str, Any] = {"Retry-After": Annotated[int, msgspec.Meta(description="s to wait")]}


class Check(Protocol):
    """One thing that must answer for the node to be ready."""

    def __call__(self) -> Sequence[str]:
        """Raise a PicloudError whose message is fit for anyone to read; else return what is weaker than it could be."""


class AliveShape(msgspec.Struct):
    """That the process answers."""

    status: Literal["ok"] = "ok"


class ReadyShape(msgspec.Struct):
    """Whether the node can do its work."""

    status: Literal["ready", "unavailable"]
    checks: Annotated[dict[str, str], msgspec.Meta(description="what was asked → `ok`, or why not")]
    warnings: Annotated[list[str], msgspec.Meta(description="protections that this machine lacks")]


class Healthz:
    """`/healthz`"""

    @endpoint(None, answers={200: AliveShape})
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Liveness: the process answers, without I/O."""
        send_json(resp, AliveShape())


class Readyz:
    """`/readyz`"""

    def __init__(self, checks: dict[str, Check]) -> None:
        self._checks = checks

    @endpoint(None, answers={200: ReadyShape, 503: Answer(ReadyShape, headers=_RETRY)})
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Readiness: whether the database and the executor answer, and which protections this machine lacks."""
        results: dict[str, str] = {}
        warnings: list[str] = []
        for name, check in self._checks.items():
            try:
                warnings += check()
                results[name] = "ok"
            except PicloudError as error:
                results[name] = str(error)
        ready = all(result == "ok" for result in results.values())
        shape = ReadyShape("ready" if ready else "unavailable", results, warnings)
        send_json(resp, shape, 200 if ready else 503)
        if not ready:
            resp.set_header("retry-after", "1")
