"""Hosts have one spelling, and what is spelled otherwise is none."""

import pytest

from picloud.model import HostPattern, normal_host, private_hosts


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("example.org", "example.org"),
        ("EXAMPLE.Org.", "example.org"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_dmarc.a-b.example", "_dmarc.a-b.example"),
        ("nas", "nas"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8:0::1]", "[2001:db8::1]"),
        ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
        ("1e100.net", "1e100.net"),
    ],
)
def test_a_host_has_one_spelling(text: str, spelling: str) -> None:
    assert normal_host(text) == spelling


ODD_NUMBERS = ["2130706433", "0177.0.0.1", "0x7f.1", "127.1", "127.0.1", "0x7f000001", "0x7F.0.0.1", "127.0.0.0x1",
               "127.0.0.01", "1.2.3.4.5", "256.0.0.1", "a.1", "a.0x", "0", "1.2.3.4.."]  # fmt: skip

ODD_NAMES = ["", ".", "a..b", "-a.example", "a-.example", "a b", "a\n", "a\0b", "a%2eb", "ä.example", "１２７.0.0.1",
             "a" * 64 + ".example", "a." * 127 + "bc", "a/b", "a@b", "::1", "[::1", "[::1%25lo]", "[fe80::1%eth0]",
             "[127.0.0.1]", "[]", "[::1]x", "localhost\N{IDEOGRAPHIC FULL STOP}"]  # fmt: skip


@pytest.mark.parametrize("text", ODD_NUMBERS + ODD_NAMES)
def test_what_is_spelled_otherwise_is_no_host(text: str) -> None:
    with pytest.raises(ValueError, match=r"no host|no IPv|no name"):
        normal_host(text)


@pytest.mark.parametrize(
    ("pattern", "host", "port", "is_meant"),
    [
        ("api.example.org", "api.example.org", 443, True),
        ("api.example.org", "x.api.example.org", 443, False),
        ("API.example.org:8443", "api.example.org", 8443, True),
        ("api.example.org:8443", "api.example.org", 443, False),
        ("*.example.org", "a.example.org", 80, True),
        ("*.example.org", "a.b.example.org", 80, True),
        ("*.example.org", "example.org", 80, False),
        ("*.example.org", "badexample.org", 80, False),
        ("*.example.org:80", "a.example.org", 81, False),
        ("192.0.2.1", "192.0.2.1", 80, True),
        ("[2001:DB8::1]:80", "[2001:db8::1]", 80, True),
    ],
)
def test_a_pattern_means_hosts(pattern: str, host: str, port: int, is_meant: bool) -> None:
    assert HostPattern.parse(pattern).matches(host, port) is is_meant


@pytest.mark.parametrize(
    "text",
    ["", "*", "*.", "*.*.example.org", "a.*.org", "*.192.0.2.1", "*.[::1]", "a:", "a:0", "a:65536", "a:x", "a:1:2",
     "https://a", "a/", "*a.org", "a, b"],
)  # fmt: skip
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no|below an address"):
        HostPattern.parse(text)


def test_private_hosts_are_named_one_by_one() -> None:
    assert [str(it) for it in private_hosts("NAS.lan, 192.168.1.5:8123,,[fd00::1]:80")] == [
        "nas.lan", "192.168.1.5:8123", "[fd00::1]:80",
    ]  # fmt: skip
    assert private_hosts("") == ()
    with pytest.raises(ValueError, match="name each host"):
        private_hosts("*.lan")
