"""What the trusted side does for scripts: one module a library of theirs, each a table of host calls.

A binding gets bytes from a sandbox that may be in anybody's hands, and checks every one of them; what it refuses
is an error at the script's line, in its words. It writes through the attempt's transaction and nowhere else, so that
`dispatch` can undo it.

    events    what has happened, told to who is subscribed
    http      requests to other servers
    jobs      work for later
    kv        keys and values
    schedule  when scripts run by themselves
    secrets   values that settings grant by name
    zones     what the clocks of time zones show
    granting  which scripts it may have run
    reading   what arguments must be
"""

from collections.abc import Mapping, Sequence

from picloud.orchestrator.attempt import Attempt, Binding
from picloud.orchestrator.bindings import events, http, jobs, kv, schedule, secrets, zones
from picloud.orchestrator.bindings.granting import Resolver
from picloud.orchestrator.bindings.secrets import Values
from picloud.orchestrator.metrics import Metrics
from picloud.orchestrator.outbound.fetching import Fetcher


def bindings(fetcher: Fetcher, secret_values: Values, resolver: Resolver) -> Mapping[str, Binding]:
    """All host calls but `invoke`'s, which needs sandboxes."""
    needs_nobody = {**events.TABLE, **kv.TABLE, **schedule.TABLE, **zones.TABLE}
    return {**needs_nobody, **http.table(fetcher), **secrets.table(secret_values), **jobs.table(resolver)}


def counted(bindings: Mapping[str, Binding], metrics: Metrics) -> Mapping[str, Binding]:
    """The same host calls; each that is made is counted."""

    def of(name: str, binding: Binding) -> Binding:
        def call(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
            metrics.called(name)
            return binding(attempt, arguments)

        return call

    return {name: of(name, binding) for name, binding in bindings.items()}
