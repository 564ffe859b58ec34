"""The node's routes as a tree in memory: one for each change, asked without SQL.

Owns: when it is built anew. `picloud.cache` has the rules of that, `picloud.orchestrator.tree` those of a look-up.
"""

import threading
from typing import Protocol

from picloud.cache import Cache, Generation
from picloud.errors import DatabaseUnavailable
from picloud.model import Route
from picloud.orchestrator.tree import RouteTree


class RouteSource(Protocol):
    """Where routes come from."""

    def all(self) -> list[Route]:
        """Every route, always in the same order, so that lists can be compared; DatabaseUnavailable."""


class Routes:
    """The present tree. Safe for threads."""

    def __init__(self, source: RouteSource, generation: Generation) -> None:
        self._source = source
        self._trees: Cache[str, RouteTree] = Cache(generation, entries_max=1)
        self._turn = threading.Lock()  # over what follows: one thread reads, the others wait for what it read
        self._routes: list[Route] = []
        self._latest: RouteTree | None = None
        self._failures = 0

    def tree(self) -> RouteTree:
        """Of all routes; while the database is away the latest there was, DatabaseUnavailable if there was none."""
        try:
            tree = self._trees.get("", self._read_in_turn)
        except DatabaseUnavailable:
            tree = self._latest
            if tree is None:
                raise
        assert tree
        return tree

    def known(self) -> RouteTree | None:
        """The same if it is cached; never asks its source."""
        return self._trees.get("", lambda: None)

    def has_host(self, host: str) -> bool:
        """Whether a route names a host, one of `patterns.host_of`; DatabaseUnavailable as `tree`."""
        return self.tree().has_host(host)

    def clear(self) -> None:
        """Routes changed, or may have."""
        self._trees.clear()

    def _read_in_turn(self) -> RouteTree | None:
        failures = self._failures
        with self._turn:
            if self._failures != failures:  # whoever was first waited for the database long enough for all
                raise DatabaseUnavailable
            try:
                return self._trees.get("", self._read)
            except DatabaseUnavailable:
                self._failures += 1
                raise

    def _read(self) -> RouteTree:
        routes = self._source.all()
        if self._latest is None or routes != self._routes:  # any change of anything on this node comes here
            self._routes, self._latest = routes, RouteTree(routes)
        return self._latest
