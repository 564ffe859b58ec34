"""One reader of URLs, and it takes few forms."""

import pytest

from picloud.errors import InvalidRequest
from picloud.orchestrator.outbound.urls import joined, parse


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("http://example.org", "example.org", 80, "/"),
        ("HTTPS://Example.ORG:8443/a?b=c#d", "example.org", 8443, "/a?b=c"),
        ("https://example.org?x=http://other/", "example.org", 443, "/?x=http://other/"),
        ("http://[2001:DB8::1]:8080/", "[2001:db8::1]", 8080, "/"),
        ("http://example.org/@a:b//c/../d", "example.org", 80, "/@a:b//c/../d"),
        ("http://example.org/%0d%0a", "example.org", 80, "/%0d%0a"),
    ],
)
def test_a_url_is_read(text: str, host: str, port: int, target: str) -> None:
    url = parse(text)
    assert (url.host, url.port, url.target) == (host, port, target)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "begins with http"), ("example.org", "begins with http"), ("//example.org/", "begins with http"),
        ("http:/example.org", "begins with http"), ("http:example.org", "begins with http"),
        ("http:///x", "is no host"), ("http://", "is no host"), ("http://?x", "is no host"),
        ("file:///etc/passwd", "not spoken"), ("ftp://example.org/", "not spoken"), ("gopher://x:6379/_", "not spoken"),
        ("unix:///run/x.sock", "not spoken"), ("javascript://x", "not spoken"),
        ("http://user@example.org/", "carry a user"), ("http://a:b@127.0.0.1/", "carry a user"),
        ("http://example.org@127.0.0.1/", "carry a user"), ("http://@example.org/", "carry a user"),
        ("http://example.org:/", "no port"), ("http://example.org:0/", "no port"),
        ("http://example.org:99999/", "no port"),
        ("http://example.org:80:90/", "no port"), ("http://example.org:+80/", "no port"),
        ("http://127.1/", "no IPv4"), ("http://2130706433/", "no IPv4"), ("http://0x7f.1/", "no IPv4"),
        ("http://0177.0.0.1/", "no IPv4"), ("http://[fe80::1%25eth0]/", "zone"), ("http://[::1/", "is no host"),
        ("http://ex%61mple.org/", "is no host"), ("http://example.org\\@127.0.0.1/", "printable ASCII"),
        ("http://example.org/\r\nX: y", "printable ASCII"), ("http://example.org/ x", "printable ASCII"),
        ("http://example.org/\0", "printable ASCII"), ("http://exämple.org/", "printable ASCII"),
        ("\thttp://example.org/", "printable ASCII"), ("http://example.org/" + "x" * 8192, "8192 bytes"),
    ],
)  # fmt: skip
def test_what_is_unusual_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        parse(text)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b", "https://example.org:444/b"),
        ("b?c", "https://example.org:444/a/b?c"),
        ("//other.example/x", "https://other.example/x"),
        ("http://other.example", "http://other.example/"),
        ("?q=ä b", "https://example.org:444/a/x?q=%E4%20b"),
        ("#there", "https://example.org:444/a/x"),
    ],
)
def test_a_location_is_seen_from_where_it_was_given(location: str, url: str) -> None:
    assert str(joined(parse("https://example.org:444/a/x"), location)) == url


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "http://u@other.example/", "\\\\other.example/", "http://[x"]
)
def test_a_location_that_is_unusual_is_refused(location: str) -> None:
    with pytest.raises((InvalidRequest, ValueError)):
        joined(parse("http://example.org/"), location)
