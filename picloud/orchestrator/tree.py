"""All routes as one tree: which of several that match a request wins.

Owns: precedence. A host beats none; then segment by segment a literal, a parameter, the rest; then a method beats ANY.
Pure: knows nothing of HTTP servers or tables.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from picloud.model import HeaderList, Route
from picloud.patterns import ANY, Kind, Segment, is_reserved, parse


@dataclass(frozen=True, slots=True)
class Match:
    """The route that answers a request."""

    route: Route
    params: HeaderList  # its parameters, decoded, as HTTP carries them


class RouteTree:
    """All routes, ready to be asked. Never changes: a change makes a new one, and readers need no lock.

    A look-up visits each node at most once, so its time is bounded by the number of routes, whatever the path.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._hosts: dict[str, _Node] = {}
        for route in routes:
            segments = parse(route.path)
            node = self._hosts.setdefault(route.host or "", _Node())
            for segment in segments:
                node = node.below(segment)
            node.methods[route.method] = _Leaf(route, segments)

    def find(self, host: str, method: str, segments: Sequence[str]) -> Match | None:
        """The best route for a request; `allow` says what else there is if this is None.

        `host` is one of `host_of`; `segments` are decoded. HEAD is served by HEAD, else GET, else ANY.
        """
        wanted = (method, "GET", ANY) if method == "HEAD" else (method, ANY)
        for methods in self._matching(host, segments):
            for name in wanted:
                if name in methods:
                    return methods[name].match(segments)
        return None

    def allow(self, host: str, segments: Sequence[str]) -> tuple[str, ...]:
        """For Allow: the methods of every route that matches host and path, sorted; empty if there is none."""
        names = {name for methods in self._matching(host, segments) for name in methods}
        if "GET" in names:
            names.add("HEAD")
        return tuple(sorted(names | {"OPTIONS"})) if names else ()

    def has_host(self, host: str) -> bool:
        """Whether a route names this host, one of `host_of`."""
        return bool(host) and host in self._hosts

    def _matching(self, host: str, segments: Sequence[str]) -> Iterator["dict[str, _Leaf]"]:
        """The ends of all patterns that match, the best first."""
        if is_reserved(segments):
            return
        if host and host in self._hosts:
            yield from _ends(self._hosts[host], segments)
        if "" in self._hosts and list(segments) != [""]:  # `/` is a script's on its own host only
            yield from _ends(self._hosts[""], segments)


class _Leaf:
    """One route, with the places of its parameters."""

    __slots__ = ("_parameters", "_rest", "_route")

    def __init__(self, route: Route, segments: Sequence[Segment]) -> None:
        places = list(enumerate(segments))
        self._route = route
        self._parameters = [(at, segment.text) for at, segment in places if segment.kind is Kind.PARAMETER]
        self._rest = [(at, segment.text) for at, segment in places if segment.kind is Kind.REST]

    def match(self, segments: Sequence[str]) -> Match:
        params = [(name, segments[at]) for at, name in self._parameters]
        params += [(name, "/".join(segments[at:])) for at, name in self._rest]
        return Match(self._route, tuple(params))


class _Node:
    """What may follow a beginning that many patterns share."""

    __slots__ = ("literals", "methods", "parameter", "rest")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.rest: _Node | None = None
        self.methods: dict[str, _Leaf] = {}  # of the patterns that end here

    def below(self, segment: Segment) -> "_Node":
        """The node behind a segment, made if there is none."""
        if segment.kind is Kind.LITERAL:
            return self.literals.setdefault(segment.text, _Node())
        if segment.kind is Kind.PARAMETER:
            self.parameter = self.parameter or _Node()
            return self.parameter
        self.rest = self.rest or _Node()
        return self.rest


def _ends(root: _Node, segments: Sequence[str]) -> Iterator[dict[str, _Leaf]]:
    """Depth first with a stack of our own; what is better is put on it last."""
    count = len(segments)
    stack: list[tuple[_Node, int]] = [(root, 0)]
    while stack:
        node, at = stack.pop()
        if at == count:
            if node.methods:
                yield node.methods
            continue
        segment = segments[at]
        if node.rest is not None:
            stack.append((node.rest, count))
        if node.parameter is not None and segment:
            stack.append((node.parameter, at + 1))
        literal = node.literals.get(segment)
        if literal is not None:
            stack.append((literal, at + 1))
