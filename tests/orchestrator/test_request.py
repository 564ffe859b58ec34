"""Whose word on a client's address is believed, and which cookies are for scripts."""

from io import BytesIO

import pytest

from picloud.orchestrator.request import HttpRequest, Proxies


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded_for", "client"),
    [
        ("unix", "10.0.0.1", "1.2.3.4", "10.0.0.1"),  # a stranger's word
        ("unix", "", "1.2.3.4", "1.2.3.4"),
        ("unix", "", "", ""),
        ("unix", "", "6.6.6.6, 1.2.3.4", "1.2.3.4"),  # only the last hop was seen by a proxy of ours
        ("unix,10.0.0.0/8", "", "6.6.6.6, 1.2.3.4, 10.1.1.1", "1.2.3.4"),
        ("10.0.0.1", "10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "", "1.2.3.4", ""),
        ("::1", "::1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.0/8", "10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),  # proxies all the way
        ("", "127.0.0.1", "1.2.3.4", "127.0.0.1"),
    ],
)
def test_the_client_is_the_first_hop_that_is_no_trusted_proxy(
    trusted: str, peer: str, forwarded_for: str, client: str
) -> None:
    assert Proxies(trusted).client(peer, forwarded_for) == client


def seen_headers(**environ: str) -> dict[str, str]:
    """What a script gets of an environment of WSGI."""
    whole = {"REQUEST_METHOD": "GET", "PATH_INFO": "/fn/a", "wsgi.input": BytesIO(), **environ}
    return dict(HttpRequest(whole, ["fn", "a"], (), Proxies("")).read("id", 1000).headers)


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("a=1", "a=1"),
        ("a=1; b=2", "a=1; b=2"),
        ("picloud_session=7.8.x", None),
        ("picloud_session=", None),
        ("picloud_session", None),
        ("a=1; picloud_session=7.8.x; b=2", "a=1; b=2"),
        ("picloud_session=7.8.x; a=1", "a=1"),
        ("a=1;picloud_session=7.8.x", "a=1"),
        ("a=1; picloud_session=7; picloud_session=8; b=2", "a=1; b=2"),
        ("a=1;\t picloud_session =7.8.x", "a=1"),
        ('a="x; picloud_session=7.8.x; y"', 'a="x; y"'),  # a browser has no quotes around two cookies
        ("my_picloud_session=1; picloud_session2=2", "my_picloud_session=1; picloud_session2=2"),
        ("a=picloud_session", "a=picloud_session"),
        ("a=b=picloud_session=c", "a=b=picloud_session=c"),
        (";; picloud_session=7; ;", ";; ;"),
    ],
)
def test_a_script_gets_every_cookie_but_the_session(sent: str, seen: str | None) -> None:
    assert seen_headers(HTTP_COOKIE=sent).get("cookie") == seen


@pytest.mark.parametrize(
    ("trusted", "peer", "said", "https"),
    [
        ("unix", "", "https", True),
        ("unix", "", "HTTPS", True),
        ("unix", "", "http, https", True),
        ("unix", "", "https, http", False),  # the last is the proxy's own word
        ("unix", "", "http", False),
        ("unix", "", "", False),
        ("unix", "10.0.0.1", "https", False),
    ],
)
def test_that_a_client_speaks_https_is_a_trusted_proxys_word(trusted: str, peer: str, said: str, https: bool) -> None:
    assert Proxies(trusted).is_https({"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_PROTO": said}) is https
