"""Processes of a PiCloud that end by force while it works, and clients that live with it.

Whom it hits follows from one seed: `PICLOUD_CHAOS_SEED`, or a new one, which a test that fails prints. How much is done
is counted and not timed: so many requests, and one kill whenever so many more were answered.
"""

import contextlib
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException

from tests.processes import children, leads_a_session
from tests.running import Answer, Running

FULL = os.environ.get("PICLOUD_CHAOS") == "full"
_HANG_S = 150.0  # a request that takes longer hangs: nothing here may wait so long for anything
_PAUSE_S = (0.02, 0.4)  # before a client tries again
_LEFT = 0.2  # of all requests
_REFUSED = 300  # and more: no 2xx
_SURVIVABLE = frozenset(
    ("conflict", "database-unavailable", "executor-lost", "outcome-unknown", "overloaded", "sandbox-crash")
)
"""What may become of a request when somebody is killed."""


def new_seed() -> int:
    """The one that is asked for, or another each time."""
    return int(os.environ.get("PICLOUD_CHAOS_SEED") or random.randrange(1 << 32))


class Progress:
    """How many requests were answered as they should be; whoever waits for more hears of it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._done = 0
        self._over = False

    def step(self) -> None:
        with self._changed:
            self._done += 1
            self._changed.notify_all()

    def end(self) -> None:
        """There will be no more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    @property
    def over(self) -> bool:
        return self._over

    def reach(self, count: int) -> bool:
        """Wait for so many → whether they came."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._done >= count)
            return not self._over


Victims = Callable[[Running], Sequence[int]]


def _zygotes(ours: Running) -> Sequence[int]:
    return [pid for pid in ours.named("picloud-zygote") if leads_a_session(pid)]


def _backends(ours: Running) -> Sequence[int]:
    return [pid for pid, command in children(ours.part("postgres")).items() if "postgres: picloud" in command]


KINDS: Mapping[str, tuple[Victims, int]] = {
    "worker": (Running.workers, signal.SIGKILL),
    "sandbox": (lambda ours: ours.named("picloud-sandbox"), signal.SIGKILL),
    "zygote": (_zygotes, signal.SIGKILL),
    "dispatcher": (lambda ours: ours.parts("picloud.dispatcher"), signal.SIGKILL),
    "backend": (_backends, signal.SIGTERM),  # which ends this one alone
    "database": (_backends, signal.SIGKILL),  # after which PostgreSQL begins anew
}
DECK = ("worker",) * 2 + ("sandbox",) * 5 + ("zygote",) + ("backend",) * 4 + ("database",)
JOB_DECK = ("dispatcher",) * 4 + ("sandbox",) * 5 + ("zygote",) + ("backend",) * 4 + ("database",)


class Killer:
    """Ends somebody whenever `every` more requests were answered."""

    def __init__(self, ours: Running, seed: int, every: int, deck: Sequence[str]) -> None:
        self._ours = ours
        self._deck = deck
        self._random = random.Random(seed)
        self._every = every
        self.killed: Counter[str] = Counter()

    def run(self, progress: Progress) -> None:
        """Until there is nothing left to wait for."""
        goal = self._every
        for kind in self._kinds():
            if not progress.reach(goal):
                return
            goal += self._every
            self._kill(kind)

    def _kinds(self) -> Iterator[str]:
        while True:
            deck = list(self._deck)
            self._random.shuffle(deck)
            yield from deck

    def _kill(self, kind: str) -> None:
        victims, number = KINDS[kind]
        with contextlib.suppress(ProcessLookupError, ValueError, IndexError):  # there is none, or it was faster
            os.kill(self._random.choice(sorted(victims(self._ours))), number)
            self.killed[kind] += 1


@contextlib.contextmanager
def chaos(ours: Running, every: int, deck: Sequence[str] = DECK) -> Iterator[Progress]:
    """A killer at work for the length of a block, which tells of each request that was answered."""
    seed, progress = new_seed(), Progress()
    killer = Killer(ours, seed, every, deck)
    thread = threading.Thread(target=killer.run, args=(progress,))
    thread.start()
    try:
        yield progress
    finally:
        progress.end()
        thread.join()
        sys.stdout.write(f"PICLOUD_CHAOS_SEED={seed}; killed: {dict(killer.killed)}\n")
    assert killer.killed.total() > 0


class Client:
    """One client with a connection of its own, opened again whenever it is lost."""

    def __init__(self, ours: Running) -> None:
        self._connection = HTTPConnection("127.0.0.1", ours.port, timeout=_HANG_S)
        self.seen: Counter[str] = Counter()  # how its requests ended: "answered", "lost", "left", or a problem's name

    def ask(self, path: str, headers: Mapping[str, str] | None = None) -> Answer | None:
        """One request, sent once; None: its connection was lost. TimeoutError: it hangs."""
        try:
            self._connection.request("POST", path, b"", dict(headers or {}))
            response = self._connection.getresponse()
            names = [(name.lower(), value) for name, value in response.getheaders()]
            answer = Answer(response.status, names, response.read())
        except TimeoutError:
            raise
        except (OSError, HTTPException):
            self._connection.close()
            self.seen["lost"] += 1
            return None
        self.seen["answered" if answer.status < _REFUSED else answer.problem] += 1
        return answer

    def leave(self, path: str, headers: Mapping[str, str] | None = None) -> None:
        """One request whose answer is not waited for: it may be done, or not."""
        with contextlib.suppress(OSError, HTTPException):
            self._connection.request("POST", path, b"", dict(headers or {}))
        self._connection.close()
        self.seen["left"] += 1

    def insist(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """The same request again until it is answered with a 2xx; some are left alone at first."""
        until = time.monotonic() + _HANG_S
        while True:
            if random.random() < _LEFT:
                self.leave(path, headers)
            answer = self.ask(path, headers)
            if answer and answer.status < _REFUSED:
                return answer
            assert answer is None or answer.problem in _SURVIVABLE, answer
            assert time.monotonic() < until, f"never answered: {answer}"
            time.sleep(random.uniform(*_PAUSE_S))

    def close(self) -> None:
        self._connection.close()
