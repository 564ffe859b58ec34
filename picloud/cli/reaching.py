"""What a script may do beyond its sandbox in `picloud run`: call other servers, ask zones for the time, no more.

Owns: which host calls there are without a server. A request is made from here, by the rules of the server's settings.
"""

from collections.abc import Sequence
from contextlib import nullcontext

from picloud.errors import InvalidRequest, PlatformError
from picloud.executor.client import HostCalls
from picloud.model import Program, Request, private_hosts
from picloud.orchestrator.attempt import Attempt, Attempts, Surroundings
from picloud.orchestrator.bindings import http, jobs, kv, zones
from picloud.orchestrator.outbound.fetching import Fetcher
from picloud.orchestrator.outbound.lookups import system_lookup
from picloud.orchestrator.work import Work
from picloud.settings import ServerSettings

_OF_A_SERVER = (*kv.TABLE, *jobs.CALLS, "secrets.get", "script.invoke")


class _NoDatabase:
    def begin(self, deadline: float) -> Work:
        """PlatformError: none of these calls keeps anything."""
        raise PlatformError(f"there is no transaction to begin by {deadline}")


def _needs_a_server(_attempt: Attempt, _arguments: Sequence[bytes]) -> Sequence[bytes]:
    raise InvalidRequest(
        "needs a server: deploy the script, then `picloud invoke NAME --dry-run` shows what it would do"
    )


def host_calls(server: ServerSettings, program: Program, request: Request) -> HostCalls:
    """Those of one run."""
    calls = {
        **dict.fromkeys(_OF_A_SERVER, _needs_a_server),
        **zones.TABLE,
        **http.table(Fetcher(system_lookup, private_hosts(server.private_hosts))),
    }
    nobody_else = Surroundings(lambda: None, nullcontext, lambda: nullcontext(False))  # to note it for, or to make room
    return Attempts(_NoDatabase(), calls).begin(program, request, nobody_else)
