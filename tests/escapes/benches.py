"""The PiClouds on which a corpus is tried: one as it is, and one whose scripts can make host calls by any name."""

from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType

from tests.escapes.case import Case
from tests.escapes.trial import Bench
from tests.probing import probing
from tests.running import running


class Benches:
    """Each is started for the first case that wants it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: dict[str, Bench] = {}
        self._end = ExitStack()

    def __enter__(self) -> "Benches":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.close()

    def of(self, case: Case) -> Bench:
        """Where a case is tried."""
        return self.with_binding(case.binding)

    def with_binding(self, name: str) -> Bench:
        """``probe``, or no name for a PiCloud as everybody has it."""
        if name not in self._started:
            folder = self._folder / (name or "plain")
            picloud = self._end.enter_context(probing(folder) if name else running(folder))
            self._started[name] = self._end.enter_context(closing(Bench(picloud)))
        return self._started[name]
