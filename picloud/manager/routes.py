"""Routes: which paths lead to which script.

Owns: what of them a caller may see and change. Knows nothing of HTTP or PostgreSQL; `picloud.patterns` has their rules.
"""

from collections.abc import Callable, Collection
from typing import Protocol

from picloud.model import Route
from picloud.patterns import RouteWanted


class RouteRepository(Protocol):
    """Where routes are kept. ``only``: of these scripts alone, unless it is None."""

    def page(self, limit: int, after: int, only: Collection[str] | None) -> list[Route]:
        """Routes by id, those behind `after`."""

    def get(self, identifier: int, only: Collection[str] | None) -> Route:
        """One route; NotFound."""

    def add(self, script: str, wanted: RouteWanted, only: Collection[str] | None) -> Route:
        """Store one; Conflict, which names no others; NotFound: there is no such script."""

    def delete(self, identifier: int, only: Collection[str] | None) -> None:
        """Drop one; NotFound."""


class Routes:
    """The control plane of routes. `announce` tells this node's processes that something changed.

    ``only``: the scripts that the caller's token is limited to, or None; others' routes do not exist for it.
    """

    def __init__(self, repository: RouteRepository, announce: Callable[[], None]) -> None:
        self._repository = repository
        self._announce = announce

    def page(self, limit: int, after: int, only: Collection[str] | None = None) -> list[Route]:
        """Routes by id, those behind `after`."""
        return self._repository.page(limit, after, only)

    def get(self, identifier: int, only: Collection[str] | None = None) -> Route:
        """One route; NotFound."""
        return self._repository.get(identifier, only)

    def add(self, script: str, method: str, host: str | None, path: str, only: Collection[str] | None = None) -> Route:
        """A route to a script. InvalidRequest; NotFound: there is none; Conflict names what it clashes with."""
        route = self._repository.add(script, RouteWanted(method, host, path), only)
        self._announce()
        return route

    def delete(self, identifier: int, only: Collection[str] | None = None) -> None:
        """Drop a route; NotFound."""
        self._repository.delete(identifier, only)
        self._announce()
