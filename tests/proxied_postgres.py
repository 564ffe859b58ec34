"""A way to PostgreSQL on which the answer to a COMMIT can get lost: the server did it, and its client is not told."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

COMMIT = b"Q\0\0\0\x0bCOMMIT\0"  # the protocol's simple query
_SOCKET = ".s.PGSQL.5432"


class Proxy:
    """Listens in a folder as PostgreSQL does; each connection is one to the server."""

    def __init__(self, folder: Path, server: Path) -> None:
        self._server = str(server / _SOCKET)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / _SOCKET))
        self._listener.listen(64)
        self._threads = [threading.Thread(target=self._accept)]
        self._open: list[socket.socket] = []
        self._threads[0].start()
        self.loses_next = b""  # the answer to the COMMIT that follows a statement with these words; empty once it has

    def close(self) -> None:
        """Cut all, and wait for its threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in (self._listener, *self._open):
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                self._open += [client, server]
                server.connect(self._server)
                lost = threading.Event()
                for work in ((self._ask, client, server, lost), (self._answer, server, client, lost)):
                    self._threads.append(threading.Thread(target=work[0], args=work[1:]))
                    self._threads[-1].start()

    def _ask(self, client: socket.socket, server: socket.socket, lost: threading.Event) -> None:
        with _both_ended(client, server):
            meant = False
            while data := client.recv(65536):
                meant = meant or (bool(self.loses_next) and self.loses_next in data)
                if meant and data.endswith(COMMIT):
                    self.loses_next = b""
                    lost.set()
                server.sendall(data)

    def _answer(self, server: socket.socket, client: socket.socket, lost: threading.Event) -> None:
        with _both_ended(client, server):
            while data := server.recv(65536):
                if lost.is_set():
                    return
                client.sendall(data)


@contextlib.contextmanager
def _both_ended(*ends: socket.socket) -> Iterator[None]:
    """Whichever side ends first ends the other."""
    try:
        with contextlib.suppress(OSError):
            yield
    finally:
        for one in ends:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
