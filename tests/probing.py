"""A PiCloud whose scripts can make host calls by any name: `python -m tests.probing up`, composed here for tests alone.

Nothing in production gives a script `probe`: the sandbox's prelude is a copy with a line more, and the server is put
together here, around a client that answers `probe.…` itself. No setting and no environment of PiCloud's leads here.
"""

import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import pathsep
from pathlib import Path

import sandbox
from picloud import cli
from picloud.cli import up
from picloud.cli.parts import Part, server_part
from picloud.executor.client import NO_HOST_CALLS, HostCallRefused, HostCalls, SandboxClient
from picloud.model import LogLine, Program, Request, Run
from picloud.server.__main__ import main as serve
from picloud.settings import ServerSettings
from picloud.wiring import engine
from tests.running import Running

PROBE = (
    b"return { env = env",
    b"""
env.probe = modules.remote.invoke
function env.probe_json(name, value)
  return modules.json.public.decode((modules.remote.invoke(name, modules.json.public.encode(value))))
end
return { env = env""",
)
_PATH = [str(Path(folder).absolute()) for folder in sys.path]
_LATE_S = 0.05


def probing_path(folder: Path) -> str:
    """A path on which scripts have `probe(name, …)` and `probe_json(name, value)`."""
    package = folder / "sandbox"
    shutil.copytree(Path(sandbox.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    environment = package / "prelude" / "environment.lua"
    assert PROBE[0] in environment.read_bytes()
    environment.write_bytes(environment.read_bytes().replace(*PROBE))
    return pathsep.join([str(folder), *_PATH])


class Probe:
    """Does what the name says; what it does not know is somebody else's."""

    def __init__(self, others: HostCalls = NO_HOST_CALLS) -> None:
        self._others = others

    def call(self, name: str, arguments: Sequence[bytes], deadline: float) -> Sequence[bytes]:
        """See `picloud.executor.client.HostCalls`."""
        if name == "probe.echo":
            return list(arguments)
        if name == "probe.count":
            return [b"%d" % len(arguments)]
        if name == "probe.bytes":
            return [b"x" * int(arguments[0])]
        if name == "probe.many":
            return [b"x" * int(arguments[1])] * int(arguments[0])
        if name == "probe.refuse":
            raise HostCallRefused("not today")
        if name == "probe.late":
            time.sleep(max(0.0, deadline - time.monotonic()) + _LATE_S)
            return [b"too late"]
        return self._others.call(name, arguments, deadline)


class ProbingClient(SandboxClient):
    """The client of the executor, with the probe before whatever else does host calls."""

    def run(
        self,
        program: Program,
        request: Request,
        on_log: Callable[[LogLine], None],
        host_calls: HostCalls = NO_HOST_CALLS,
        caller: socket.socket | None = None,
    ) -> Run:
        """See `SandboxClient`."""
        return super().run(program, request, on_log, Probe(host_calls), caller)


@contextmanager
def probing(data: Path) -> Iterator[Running]:
    """A whole PiCloud with the probe for the length of a block."""
    data.mkdir(parents=True)
    ours = Running(data / "data", {"PYTHONPATH": probing_path(data)})
    ours.module, ours.server = "tests.probing", "tests.probing server"
    ours.start()
    try:
        yield ours
    finally:
        if ours.process:
            ours.stop()


def _server_part(settings: ServerSettings, listener: socket.socket) -> Part:
    part = server_part(settings, listener)
    part._argv = [*part._argv[: part._argv.index("-m")], "-m", "tests.probing", "server"]
    return part


def main() -> int:
    """`up`: what `picloud up` does, with a server of ours; `server`: that server."""
    if sys.argv[1:] == ["server"]:
        vars(engine).update(SandboxClient=ProbingClient)
        return serve()
    vars(up).update(server_part=_server_part)
    cli.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
