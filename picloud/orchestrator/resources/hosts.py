"""`/api/v1/hosts`: which names lead here, for a reverse proxy that is to have certificates for them.

Anyone may ask: what is told is what `curl -H 'Host: NAME'` tells, too. A proxy asks at each new name that it is called
by, and whoever likes can call it by any: the answer comes from memory, whatever it is.
"""

from typing import Annotated, Protocol

import falcon
import msgspec

from picloud.errors import NotFound
from picloud.messages.endpoint import endpoint
from picloud.messages.forms import form
from picloud.messages.reading import Query
from picloud.messages.writing import send_json
from picloud.patterns import host_of

_DOMAIN_CHARACTERS_MAX = 255


class KnownHosts(Protocol):
    """Where a host is looked up."""

    def has_host(self, host: str) -> bool:
        """Whether a route names it, as `patterns.host_of` spells it; DatabaseUnavailable."""


class HostsQuery(Query):
    """Which host."""

    domain: Annotated[
        str, msgspec.Meta(max_length=_DOMAIN_CHARACTERS_MAX), form("host", "a DNS name or an IP address, without port")
    ]


class HostShape(msgspec.Struct):
    """A host that a script answers at."""

    host: Annotated[str, msgspec.Meta(description="lower case, as routes have it")]


class HostsResource:
    """`/api/v1/hosts`"""

    def __init__(self, hosts: KnownHosts) -> None:
        self._hosts = hosts

    @endpoint(None, query=HostsQuery, answers={200: HostShape}, problems=("not-found", "database-unavailable"))
    def on_get(self, _req: falcon.Request, resp: falcon.Response, query: HostsQuery) -> None:
        """Whether a route of a script has this host: what Caddy's on-demand TLS asks.

        `not-found` if none has: a name that leads to every host's routes alone is not one that is served here.
        """
        bare_6 = query.domain.count(":") > 1 and not query.domain.startswith("[")
        host = host_of(f"[{query.domain}]" if bare_6 else query.domain)
        if not self._hosts.has_host(host):
            raise NotFound("no route has this host; 'picloud route ls' lists those that there are")
        send_json(resp, HostShape(host))
