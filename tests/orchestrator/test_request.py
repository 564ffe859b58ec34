"""Whose word on a client's address is believed."""

import pytest

from picloud.orchestrator.request import Proxies


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
