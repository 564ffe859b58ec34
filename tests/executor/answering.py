"""What only looks like an executor: a socket that a test answers on."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

from picloud.executor.client import NO_HOST_CALLS, HostCalls, OnLog, SandboxClient
from picloud.model import Run
from sandbox.protocol import pack
from tests.executor.conftest import PATIENCE_S, program, request

ANSWER = b"R\0" + pack(b"response", b"200", b"", b"done", b"1", b"2")


class Server:
    """Accepts and does what a test says, connection by connection."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(path))
        self.listener.listen(4)
        self.client = SandboxClient(path, queue_ms=int(PATIENCE_S * 1000))
        self.impatient = SandboxClient(path, queue_ms=200)
        self.kept: list[socket.socket] = []

    def run(
        self,
        *acts: Callable[[socket.socket], None],
        body: bytes = b"",
        wall_ms: int = 60_000,
        on_log: OnLog = lambda _: None,
        host_calls: HostCalls = NO_HOST_CALLS,
        hear_out: Callable[[Run], Run] = lambda run: run,
    ) -> Run:
        """One run, whose connections are handled by ``acts`` in turn; ``hear_out`` does what is to be done with it."""

        def serve() -> None:
            for act in acts:
                connection = self.listener.accept()[0]
                self.kept.append(connection)
                connection.settimeout(PATIENCE_S)
                act(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        run = hear_out(self.client.run(program("return 1", wall_ms=wall_ms), request(body), on_log, host_calls))
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        return run
