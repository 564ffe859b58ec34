"""Which route wins: the tree against an obvious matcher, and against sets that are made to slow it down."""

from itertools import count, product
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picloud.model import Route
from picloud.orchestrator.request import segments
from picloud.orchestrator.tree import RouteTree
from picloud.patterns import RouteWanted

HOST = "a.example"


def routes(*wanted: str) -> list[Route]:
    """From `METHOD [HOST]PATH`; the script's name is the same text."""
    split_up = [(*text.split(" ", 1), text) for text in wanted]
    return [
        Route(at, method, place.partition("/")[0] or None, place[place.index("/") :], text)
        for at, (method, place, text) in enumerate(split_up)
    ]


def split(path: str) -> list[str]:
    return segments({"RAW_URI": path})


def found(tree: RouteTree, request: str, host: str = HOST) -> str | None:
    method, _, path = request.partition(" ")
    match = tree.find(host, method, split(path))
    return match.route.script if match else None


MANY = (
    "GET /a", "ANY /a", "GET /{x}", "ANY /b/{rest*}", "GET /b/{x}/d", "GET /{x}/d", "GET /c/{y}",
    "PUT a.example/{all*}",
)  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "winner"),
    [
        ("GET /a", "GET /a"),
        ("POST /a", "ANY /a"),
        ("HEAD /a", "GET /a"),
        ("GET /b", "GET /{x}"),
        ("POST /b", None),
        ("GET /b/", "ANY /b/{rest*}"),
        ("GET /b/c/d", "GET /b/{x}/d"),
        ("GET /b/c/e", "ANY /b/{rest*}"),
        ("GET /c/d", "GET /c/{y}"),
        ("GET /d/d", "GET /{x}/d"),
        ("GET /d/e", None),
        ("PUT /a", "PUT a.example/{all*}"),
        ("PUT /", "PUT a.example/{all*}"),
        ("GET /", None),
    ],
)
def test_the_most_specific_route_wins(request_: str, winner: str | None) -> None:
    assert found(RouteTree(routes(*MANY)), request_) == winner


def test_a_host_beats_a_better_path_without_one() -> None:
    tree = RouteTree(routes("GET a.example/{rest*}", "GET /a"))
    assert found(tree, "GET /a") == "GET a.example/{rest*}"
    assert found(tree, "GET /a", "b.example") == "GET /a"


def test_a_host_is_known_if_a_route_names_it() -> None:
    tree = RouteTree(routes("POST a.example/deep/{x}", "GET /a"))
    assert [tree.has_host(host) for host in ("a.example", "b.example", "example", "")] == [True, False, False, False]
    assert not RouteTree([]).has_host("")


def test_a_better_path_of_another_method_stands_in_nobodys_way() -> None:
    tree = RouteTree(routes("POST /a", "GET /{x}"))
    assert found(tree, "GET /a") == "GET /{x}"
    assert tree.allow(HOST, split("/a")) == ("GET", "HEAD", "OPTIONS", "POST")


def test_head_prefers_its_own_route_but_a_better_path_more() -> None:
    tree = RouteTree(routes("HEAD /{x}", "GET /{x}", "GET /a", "ANY /b"))
    assert found(tree, "HEAD /c") == "HEAD /{x}"
    assert found(tree, "HEAD /a") == "GET /a"
    assert found(tree, "HEAD /b") == "ANY /b"


def test_parameters_are_decoded_segments() -> None:
    tree = RouteTree(routes("GET /u/{user}/{rest*}", "GET /n/{name}"))
    match = tree.find("", "GET", split("/u/a%2Fb/c%20d//%C3%A9/"))
    assert match
    assert match.params == (("user", "a/b"), ("rest", "c d//Ã©/"))
    assert tree.find("", "GET", split("/u/x/")) == type(match)(match.route, (("user", "x"), ("rest", "")))
    assert tree.find("", "GET", split("/u/x")) is None
    assert tree.find("", "GET", split("/n/")) is None


def test_the_root_and_reserved_paths_are_nobodys_without_a_host() -> None:
    tree = RouteTree(routes("ANY /{rest*}", "ANY /{a}/{rest*}", "GET a.example/", "ANY b.example/{rest*}"))
    assert found(tree, "GET /", "") is None
    assert found(tree, "GET /") == "GET a.example/"
    assert found(tree, "GET /", "b.example") == "ANY b.example/{rest*}"
    for path in ("/api/v1", "/fn/x", "/%66n/x", "/fn%2Fx", "//api", "/%2Fapi", "/metrics", "/problems/"):
        assert found(tree, f"GET {path}", "b.example") is None


def test_allow_lists_the_methods_of_all_that_match() -> None:
    tree = RouteTree(routes("POST /a", "PUT /{x}", "DELETE a.example/{rest*}", "GET /b"))
    assert tree.allow(HOST, split("/a")) == ("DELETE", "OPTIONS", "POST", "PUT")
    assert tree.allow("", split("/b")) == ("GET", "HEAD", "OPTIONS", "PUT")
    assert tree.allow("", split("/a/b")) == ()


# ── against an obvious matcher ──────────────────────────────────────────────────────────────────────────────────────


def slow_rank(route: Route, host: str, method: str, path: list[str]) -> tuple[object, ...] | None:
    """How good a route is for a request, the less the better; None if it does not match."""
    if route.host not in (None, host) or (route.host is None and path == [""]):
        return None
    kinds: list[int] = []
    pattern = route.path[1:].split("/")
    for at, part in enumerate(pattern):
        if part.endswith("*}"):
            kinds.append(2)
            break
        if at >= len(path) or (part.startswith("{") and not path[at]):
            return None
        if not part.startswith("{") and unquote_to_bytes(part) != path[at].encode("latin-1"):
            return None
        kinds.append(1 if part.startswith("{") else 0)
    if len(path) != len(pattern) and not (kinds[-1] == 2 and len(path) > len(pattern)):
        return None
    methods = {"HEAD": ["HEAD", "GET", "ANY"]}.get(method, [method, "ANY"])
    if route.method not in methods:
        return None
    return route.host is None, kinds, methods.index(route.method)


def slow_params(route: Route, path: list[str]) -> tuple[tuple[str, str], ...]:
    params = []
    for at, part in enumerate(route.path[1:].split("/")):
        if part.endswith("*}"):
            params.append((part[1:-2], "/".join(path[at:])))
        elif part.startswith("{"):
            params.append((part[1:-1], path[at]))
    return tuple(params)


LITERALS = st.sampled_from(["a", "b", "a%2Fb", "é", "%C3%A9", "%7Bx%7D", "a b"])
COMMON = st.sampled_from(["a", "{}"])  # of which many match at once
METHODS = ["ANY", "GET", "HEAD", "POST", "OPTIONS"]


@st.composite
def patterns(draw: st.DrawFn) -> str:
    names = (f"p{number}" for number in count())
    parts = draw(st.lists(COMMON | COMMON | LITERALS, min_size=1, max_size=4))
    last = draw(st.sampled_from(["", "/", "/{*}"]))
    return "".join("/" + part.replace("{}", f"{{{next(names)}}}") for part in parts) + last.replace(
        "*", f"{next(names)}*"
    )


@st.composite
def route_sets(draw: st.DrawFn) -> list[Route]:
    hosts = st.sampled_from([None, "h", "g"])
    one = st.builds(RouteWanted, st.sampled_from(METHODS), hosts, patterns() | st.just("/{all*}"))
    wanted = draw(st.lists(one, max_size=20))
    own = {(one.host, one.method, one.shape): one for one in wanted}  # as the table's key has it
    return [Route(at, one.method, one.host, one.path, "s") for at, one in enumerate(own.values())]


PARTS = st.just("a") | st.sampled_from(
    ["b", "", "a%2Fb", "%C3%A9", "\u00c3\u00a9", "%7Bx%7D", "c", "%zz", "a%20b", ".."]
)


@st.composite
def paths(draw: st.DrawFn, every: list[Route]) -> str:
    """One that a route may well match: its literals, mostly, and something for its parameters."""
    pattern = draw(st.sampled_from([route.path for route in every] or ["/a/{x}"]))
    parts = [part.encode().decode("latin-1") for part in pattern[1:].split("/")]
    tail = draw(st.lists(PARTS, max_size=3)) if parts[-1].endswith("*}") else draw(st.lists(PARTS, max_size=1))
    asked = [draw(PARTS) if part.startswith("{") or draw(st.integers(0, 9)) == 0 else part for part in parts]
    return "/" + "/".join(asked + tail)


@settings(max_examples=600, deadline=None)
@given(st.data(), route_sets(), st.sampled_from(["h", "g", "x", ""]), st.sampled_from([*METHODS[1:], "PUT"]))
def test_the_tree_finds_what_an_obvious_matcher_finds(
    data: st.DataObject, every: list[Route], host: str, method: str
) -> None:
    path_text = data.draw(paths(every))
    path, tree = split(path_text), RouteTree(every)
    ranked = [(rank, route) for route in every if (rank := slow_rank(route, host, method, path)) is not None]
    match = tree.find(host, method, path)
    if not ranked:
        assert match is None
    else:
        best = min(ranked, key=lambda pair: pair[0])[1]
        assert match
        assert (match.route, match.params) == (best, slow_params(best, path))
    other = {route.method for route in every if slow_rank(route, host, route.method, path) is not None}
    expected = other | {"OPTIONS"} | ({"HEAD"} if "GET" in other else set()) if other else set()
    assert tree.allow(host, path) == tuple(sorted(expected))


# ── bounded ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Counted(str):
    """A segment that counts how often it is looked for."""

    __slots__ = ()
    looks = 0

    def __hash__(self) -> int:
        Counted.looks += 1
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)


def looks(tree: RouteTree, path: list[str]) -> int:
    Counted.looks = 0
    assert tree.find("", "GET", [Counted(part) for part in path]) is None
    return Counted.looks


def test_a_path_that_matches_every_beginning_visits_each_node_once() -> None:
    every = [
        Route(at, "GET", None, "".join(f"/{part.format(place)}" for place, part in enumerate(parts)) + "/end", "s")
        for at, parts in enumerate(product(["a", "{{p{}}}"], repeat=13))
    ]
    tree = RouteTree(every)
    assert len(every) == 8192
    assert looks(tree, ["a"] * 13 + ["other"]) <= 2**14
    assert looks(tree, ["a"] * 4000) <= 2**14 + 2**13  # no deeper than the patterns are


def test_a_path_is_looked_for_in_ten_thousand_routes_as_in_ten() -> None:
    few = RouteTree(routes(*(f"POST /r{number}/{{x}}/a" for number in range(10))))
    many = RouteTree(routes(*(f"POST /r{number}/{{x}}/a" for number in range(10_000))))
    path = ["r7", "x", "a"]
    assert looks(few, path) == looks(many, path)
    assert found(many, "POST /r9999/x/a", "") == "POST /r9999/{x}/a"


@settings(max_examples=300)
@given(st.data())
def test_routes_that_one_path_finds_are_said_to_meet(data: st.DataObject) -> None:
    every = data.draw(route_sets())
    path = segments({"RAW_URI": data.draw(paths(every))})
    found = [route for route in every if RouteTree([route]).allow(route.host or "h", path)]
    wanted = [RouteWanted(route.method, route.host, route.path) for route in found if route.host in (None, "h")]
    assert all(one.meets(other) for one in wanted for other in wanted)
