"""What a route may be, and when two are the same."""

import pytest

from picloud.errors import InvalidRequest
from picloud.patterns import RESERVED, Kind, RouteWanted, Segment, host_of, is_reserved, parse, shape


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/a", [Segment(Kind.LITERAL, "a")]),
        ("/a/", [Segment(Kind.LITERAL, "a"), Segment(Kind.LITERAL, "")]),
        ("/a%2Fb", [Segment(Kind.LITERAL, "a/b")]),
        ("/%7Bx%7D", [Segment(Kind.LITERAL, "{x}")]),
        ("/é", [Segment(Kind.LITERAL, "Ã©")]),  # as HTTP carries it
        ("/%C3%A9", [Segment(Kind.LITERAL, "Ã©")]),
        ("/{x}", [Segment(Kind.PARAMETER, "x")]),
        ("/{_a1}/{rest*}", [Segment(Kind.PARAMETER, "_a1"), Segment(Kind.REST, "rest")]),
        ("/a*", [Segment(Kind.LITERAL, "a*")]),
    ],
)
def test_a_pattern_is_read_segment_by_segment(path: str, segments: list[Segment]) -> None:
    assert parse(path) == tuple(segments)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "must start with '/'"),
        ("a", "must start with '/'"),
        ("https://h/a", "must start with '/'"),
        ("//", "empty segment"),
        ("/a//b", "empty segment"),
        ("/a//", "empty segment"),
        ("/a/./b", r"'\.'"),
        ("/a/%2E%2e", "'%2E%2e'"),
        ("/a?b=1", "'\\?'"),
        ("/a#b", "'#'"),
        ("/100%", "write %25"),
        ("/%zz", "write %25"),
        ("/%FF", "not UTF-8"),
        ("/\ud800", "surrogate"),
        ("/a\n", "control characters"),
        ("/%00", "control characters"),
        ("/\x85", "control characters"),
        ("/a{b}", "neither a literal nor"),
        ("/{a}{b}", "neither a literal nor"),
        ("/{}", "neither a literal nor"),
        ("/{A}", "neither a literal nor"),
        ("/{1a}", "neither a literal nor"),
        ("/{a", "neither a literal nor"),
        ("/{a}/{a}", "the parameter 'a' twice"),
        ("/{a}/{a*}", "the parameter 'a' twice"),
        ("/{rest*}/a", "must be last"),
        ("/{rest*}/", "must be last"),
        ("/" + "a" * 1024, "has 1025 bytes"),
        ("/" + "é" * 512, "has 1025 bytes"),
        ("/a" * 33, "has 33 segments"),
        ("/", "needs a host"),
        ("/%61pi/v1", "the platform's own"),
        ("/fn%2Fhello", "the platform's own"),
        *((f"/{word}", "the platform's own") for word in sorted(RESERVED)),
        *((f"/{word}/x", "the platform's own") for word in sorted(RESERVED)),
    ],
)
def test_what_is_no_pattern_is_refused_with_a_reason(path: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as caught:
        RouteWanted("GET", None, path)
    assert [error["field"] for error in caught.value.errors] == ["path"]


@pytest.mark.parametrize("path", ["/a" * 32, "/" + "a" * 1023, "/{rest*}", "/API", "/apis", "/{fn}", "/a/api", "/..."])
def test_what_is_nearly_refused_is_taken(path: str) -> None:
    assert RouteWanted("GET", None, path).path == path


@pytest.mark.parametrize("reserved", [["api"], ["fn/x"], ["", "api"], ["/api", "x"], ["", "", "/fn"]])
def test_reserved_paths_are_known_however_they_are_written(reserved: list[str]) -> None:
    assert is_reserved(reserved)


@pytest.mark.parametrize("free", [[""], ["a", "api"], ["", ""], ["apis"]])
def test_other_paths_are_free(free: list[str]) -> None:
    assert not is_reserved(free)


def test_the_root_is_a_route_of_a_host_only() -> None:
    assert RouteWanted("GET", "a.example", "/").path == "/"


@pytest.mark.parametrize(
    ("one", "other"),
    [("/a/{x}", "/a/{y}"), ("/{x*}", "/{rest*}"), ("/é", "/%C3%A9"), ("/a%2fb", "/a%2Fb"), ("/%61", "/a")],
)
def test_patterns_that_match_the_same_have_one_shape(one: str, other: str) -> None:
    assert shape(one) == shape(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("/a", "/a/"), ("/{x}", "/{x*}"), ("/{x}", "/%7B%7D"), ("/a%2Fb", "/a/b"), ("/a%252Fb", "/a%2Fb"), ("/a", "/A")],
)
def test_patterns_that_match_otherwise_have_another_shape(one: str, other: str) -> None:
    assert shape(one) != shape(other)


def test_no_shape_is_longer_than_an_index_takes() -> None:
    assert len(shape("/" + "%2F" * 341).encode()) <= 1024
    assert len(shape("/" + "é" * 511).encode()) <= 1024


@pytest.mark.parametrize(
    ("given", "method"), [("GET", "GET"), ("any", "ANY"), ("patch", "PATCH"), ("M-SEARCH", "M-SEARCH")]
)
def test_methods_are_upper_case(given: str, method: str) -> None:
    assert RouteWanted(given, None, "/a").method == method


@pytest.mark.parametrize("given", ["", "*", "GET POST", "G\n", "ß", "CONNECT", "trace", "A" * 33, "-"])
def test_what_is_no_method_for_a_script_is_refused(given: str) -> None:
    with pytest.raises(InvalidRequest, match="method: "):
        RouteWanted(given, None, "/a")


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("Example.ORG", "example.org"),
        ("example.org.", "example.org"),
        ("localhost", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("192.168.1.1", "192.168.1.1"),
        ("[2001:DB8:0::1]", "[2001:db8::1]"),
        ("2001:db8::1", "[2001:db8::1]"),
    ],
)
def test_hosts_are_lower_case_in_one_form(given: str, host: str) -> None:
    assert RouteWanted("GET", given, "/a").host == host


@pytest.mark.parametrize(
    "given",
    ["", ".", "a:80", "*.example", "-a.b", "a..b", "a_b", "http://a", "a/b", "1.2.3", "1.2.3.999", "[1.2.3.4]", "[::1",
     "fe80::1%eth0", "[::1]:80", "bücher.example", "\u212a.example", "a" * 64, "a." * 127 + "b", "a\n"],
)  # fmt: skip
def test_what_is_no_host_is_refused(given: str) -> None:
    with pytest.raises(InvalidRequest, match="host: "):
        RouteWanted("GET", given, "/a")


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("Example.org:8080", "example.org"),
        ("example.org.", "example.org"),
        ("example.org.:80", "example.org"),
        ("[2001:DB8:0::1]:80", "[2001:db8::1]"),
        ("[nonsense]", "[nonsense]"),
        ("", ""),
    ],
)
def test_the_host_of_a_request_is_compared_without_its_port(authority: str, host: str) -> None:
    assert host_of(authority) == host


def test_a_wanted_route_reads_as_it_would_be_asked_for() -> None:
    assert str(RouteWanted("get", "A.example", "/x")) == "GET a.example/x"
    assert str(RouteWanted("ANY", None, "/x")) == "ANY /x"


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("/a", "/a", True), ("/a", "/b", False), ("/a", "/a/", False), ("/a/{x}", "/a/b", True),
        ("/a/{x}", "/a/", False), ("/a/{x}", "/{y}/b", True), ("/a/{x}", "/a/b/c", False),
        ("/a/{r*}", "/a/b/c", True), ("/a/{r*}", "/a/", True), ("/a/{r*}", "/a", False), ("/{r*}", "/b/{x}/c", True),
        ("/a/b/{r*}", "/a/{x}", False), ("/a/{x}/c", "/a/b/{y}", True), ("/a/{x}/c", "/a/b/d", False),
    ],
)  # fmt: skip
def test_two_patterns_meet_where_a_path_may_be_both(one: str, other: str, meet: bool) -> None:
    first, second = RouteWanted("GET", None, one), RouteWanted("ANY", "h", other)
    assert (first.meets(second), second.meets(first)) == (meet, meet)
    assert not RouteWanted("GET", "g", one).meets(second)


@pytest.mark.parametrize(
    ("path", "modest"),
    [("/a", True), ("/a/{x*}", True), ("/{x}", False), ("/{x*}", False), ("/", False), ("/.well-known/a", False)],
)
def test_a_modest_route_has_a_first_word_of_its_own(path: str, modest: bool) -> None:
    assert RouteWanted("GET", "h", path).is_modest is modest
