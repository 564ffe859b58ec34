"""How many sandboxes wait, which are busy, and what to do when something happens: decisions only.

Owns: the state of the pool. Touches no process, descriptor or clock: `sandbox.zygote` does what this decides.
A child is *idle* (waiting in accept), *busy* (serving the connection whose duplicate the zygote holds) or *doomed*
(killed because its caller hung up). Some of the busy are *parked*: their scripts wait for the world outside, and do not
count. Others are *lent*: scripts invoke theirs and wait for them, so they have a share of their own, which is forked
from when somebody comes. Descriptor numbers are reused, so the order in which a batch of events is handled matters:
hang-ups, notifications, deaths, refill (see `sandbox.zygote`).
"""


class Pool:
    """State of the pool: ``spare`` sandboxes wait for work, at most ``most`` are alive beside those that are parked.

    Beside all of these there are up to ``reserve`` that are lent.
    """

    def __init__(self, spare: int, most: int, reserve: int = 0) -> None:
        self.spare = min(spare, most)
        self.most = most
        self.reserve = reserve
        self.called = 0  # pid of one that was lent and has not accepted yet; its caller waits
        self.lent: set[int] = set()  # of those that are called, busy or doomed
        self.parked = 0  # of the busy; their callers say so, and may have stopped waiting already
        self.idle: set[int] = set()
        self.busy: dict[int, int] = {}  # pid → the duplicate of its connection
        self.by_connection: dict[int, int] = {}
        self.doomed: set[int] = set()
        self.deaths_in_a_row = 0  # of idle children: never one since a child last accepted

    @property
    def alive(self) -> int:
        """Children that are not reaped yet."""
        return len(self.idle) + len(self.busy) + len(self.doomed) + bool(self.called)

    def counts(self) -> tuple[int, int, int, int]:
        """How many are idle, computing, parked and lent: each child that is alive is one of these."""
        taken = self.alive - len(self.idle)
        parked = min(self.parked, len(self.busy))
        lent = min(len(self.lent), taken - parked)
        return len(self.idle), taken - parked - lent, parked, lent

    @property
    def serves(self) -> bool:
        """Whether any of the busy is not lent: only such a one, or one that is lent for it, can want another."""
        return any(pid not in self.lent for pid in self.busy)

    @property
    def failing(self) -> bool:
        """Whether children die before they can accept, again and again: forking more would help nobody."""
        return self.deaths_in_a_row > 2 * self.most

    def forked(self, pid: int) -> None:
        """A new child waits."""
        self.idle.add(pid)

    def lends(self) -> bool:
        """Whether to fork one child for a caller who comes to the reserve: one at a time, so that none is too many."""
        return not self.called and len(self.lent) < self.reserve

    def forked_to_lend(self, pid: int) -> None:
        """A new child waits, for the caller who came."""
        self.called = pid
        self.lent.add(pid)

    def waits(self, pid: int) -> bool:
        """Whether a child has no caller yet."""
        return pid in self.idle or (pid != 0 and pid == self.called)

    def accepted(self, pid: int, connection: int) -> bool:
        """An idle child has a caller now; False if ``pid`` is no idle child of ours, and ``connection`` not kept."""
        if not self.waits(pid):
            return False
        self._no_longer_waits(pid)
        self.busy[pid] = connection
        self.by_connection[connection] = pid
        self.deaths_in_a_row = 0
        return True

    def hung_up(self, connection: int) -> int | None:
        """A caller left: the pid to kill; None if that connection is not known any more. Close the duplicate."""
        pid = self.by_connection.pop(connection, None)
        if pid is not None:
            del self.busy[pid]
            self.doomed.add(pid)
        return pid

    def knows(self, pid: int) -> bool:
        """Whether the end of ``pid`` needs no look at notifications that are still unread."""
        return pid in self.busy or pid in self.doomed

    def retire(self) -> list[int]:
        """From now on no child is forked to wait → those that do."""
        self.spare = 0
        return [*self.idle]

    def dismissed(self, pid: int) -> bool:
        """Whether a child that seemed to wait does, and is to be killed: False if it has a caller by now, or died."""
        if not self.waits(pid):
            return False
        self._no_longer_waits(pid)
        self.doomed.add(pid)
        return True

    def died(self, pid: int) -> int | None:
        """A child was reaped: the duplicate of its connection, on which last words may be due, or None."""
        self.lent.discard(pid)
        connection = self.busy.pop(pid, None)
        if connection is not None:
            del self.by_connection[connection]
            return connection
        if self.waits(pid):
            self._no_longer_waits(pid)
            self.deaths_in_a_row += 1
        self.doomed.discard(pid)
        return None

    def wants(self) -> bool:
        """Whether to fork one child now.

        Quiet: up to ``spare``. While any child computes: only below half of it, since a fork slows who is running
        (measured: 0.27 ms became 1.4 to 2.5); half a pool is what the callers of the next milliseconds need.
        """
        if self.alive - len(self.lent) >= self.most + self.parked:
            return False
        computing = len(self.busy) + len(self.doomed) > self.parked
        enough = (self.spare + 1) // 2 if computing else self.spare
        return len(self.idle) < enough

    def _no_longer_waits(self, pid: int) -> None:
        self.idle.discard(pid)
        if pid == self.called:
            self.called = 0
