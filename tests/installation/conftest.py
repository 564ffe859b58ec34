"""A folder that plays the root directory."""

from pathlib import Path

import pytest

from picloud.installation.machine import Machine
from picloud.installation.steps import Order
from tests.running import ROOT


class Played(Machine):
    """A machine in a folder: its files are real, and its commands answer what a test says they do."""

    def __init__(self, root: Path, *, read_only: bool = False, answers: dict[str, str] | None = None) -> None:
        super().__init__(root, read_only=read_only)
        self.is_root = False  # nobody's files are given away
        self.answers = answers or {}  # first words of a command → what it says
        self.done: list[str] = []  # commands that changed something

    def ask(self, *command: str, env: object = None) -> str:
        return next(said for words, said in self.answers.items() if " ".join(command).startswith(words))

    def says(self, *command: str) -> bool:
        return any(" ".join(command).startswith(words) for words in self.answers)

    def do(self, *command: str, env: object = None) -> str:
        self._may_change()
        self.done.append(" ".join(command))
        return ""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "etc/caddy").mkdir(parents=True)
    return folder


@pytest.fixture
def order() -> Order:
    """What this checkout brings; nobody is asked anything."""
    return Order(None, ROOT, "", None, lambda: False, lambda _: None)
