"""What the trusted side does for scripts: one module a library of theirs, each a table of host calls.

A binding gets bytes from a sandbox that may be in anybody's hands, and checks every one of them; what it refuses
is an error at the script's line, in its words. It writes through the attempt's transaction and nowhere else, so that
`dispatch` can undo it.

    http      requests to other servers
    kv        keys and values
    secrets   values that settings grant by name
    zones     what the clocks of time zones show
    reading   what arguments must be
"""

from collections.abc import Mapping

from picloud.orchestrator.attempt import Binding
from picloud.orchestrator.bindings import http, kv, secrets, zones
from picloud.orchestrator.bindings.secrets import Values
from picloud.orchestrator.outbound.fetching import Fetcher


def bindings(fetcher: Fetcher, secret_values: Values) -> Mapping[str, Binding]:
    """All host calls."""
    return {**kv.TABLE, **zones.TABLE, **http.table(fetcher), **secrets.table(secret_values)}
