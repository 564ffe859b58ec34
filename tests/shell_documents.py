"""The commands of a document, run as a reader would: one shell, one folder, one running PiCloud.

`COMMAND  # → text`: its output contains the text. `make …` is not run; a test checks that there is such a target.
The shell stands in a copy of the checkout's `config/` with `picloud` on its PATH; it stops at the first failure.
A document says http://127.0.0.1:8080, where everybody's PiCloud is: the test's own is put there, and taken for it.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.documents import Block
from tests.running import ROOT, Running

ADDRESS = "127.0.0.1:8080"
_TIMEOUT_S = 90

_EXPECTED = re.compile(r"^(.*?\S)\s+# → (.*)$", re.MULTILINE)
_NOT_RUN = re.compile(r"\s*(make\b|#|$)")


@dataclass(frozen=True)
class Command:
    """One command, with its continuation lines and here-documents."""

    place: str
    text: str
    expected: tuple[str, ...]  # what its output contains


def commands(block: Block) -> list[Command]:
    """The commands of a block, in order."""
    found, pending, first = [], "", 0
    for number, line in enumerate(block.text.splitlines(keepends=True), block.line):
        first = first if pending else number
        pending += line
        if _is_whole(pending):
            if not _NOT_RUN.match(pending):
                place = f"{block.document.relative_to(ROOT)}:{first}"
                found.append(Command(place, pending, tuple(text for _, text in _EXPECTED.findall(pending))))
            pending = ""
    assert not pending, f"{block.place}: not a whole command: {pending}"
    return found


def _is_whole(text: str) -> bool:
    if text.endswith("\\\n"):
        return False
    checked = subprocess.run(["bash", "-n"], input=text.encode(), capture_output=True, check=False)
    return checked.returncode == 0 and not checked.stderr  # it warns of a here-document without an end


class Reader:
    """Somebody who types what a document says."""

    def __init__(self, picloud: Running, folder: Path) -> None:
        self._picloud = picloud
        self._outputs = folder / "outputs"
        self._home = folder / "home"
        self._checkout = folder / "checkout"
        for made in (self._outputs, self._home / "bin", self._checkout):
            made.mkdir(parents=True)
        shutil.copytree(ROOT / "config", self._checkout / "config")
        (self._checkout / "var").symlink_to(picloud.data)
        for package in ("picloud", "sandbox"):  # `python -m` finds them here where PiCloud is not installed
            (self._checkout / package).symlink_to(ROOT / package)
        (self._home / ".curlrc").write_text(f'silent\nshow-error\nconnect-to = "{ADDRESS}:127.0.0.1:{picloud.port}"\n')
        shim = self._home / "bin" / "picloud"
        shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m picloud "$@"\n')
        shim.chmod(0o755)

    def type(self, typed: list[Command]) -> list[str]:
        """Run the commands → the output of each; fails at the first that fails, with what it said."""
        script = "set -euo pipefail\n" + "".join(
            f"{{\n{command.text}\n}} >{self._outputs}/{at} 2>{self._outputs}/{at}.errors\n"
            for at, command in enumerate(typed)
        )
        ended = subprocess.run(
            ["bash", "-c", script], cwd=self._checkout, env=self._environment(), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=_TIMEOUT_S,
        )  # fmt: skip
        started = [at for at in range(len(typed)) if (self._outputs / str(at)).exists()]
        last = max(started, default=0)
        assert ended.returncode == 0, f"{typed[last].place}: {typed[last].text}{self._said(last)}{ended.stderr}"
        return [self._said(at) for at in started]

    def _said(self, at: int) -> str:
        """Its output, then what it said of errors."""
        texts = [
            path.read_text("utf-8", "replace") for path in (self._outputs / str(at), self._outputs / f"{at}.errors")
        ]
        return "".join(texts).replace(f"127.0.0.1:{self._picloud.port}", ADDRESS)

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("PICLOUD_")}
        return own | {
            "HOME": str(self._home),
            "PATH": f"{self._home}/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PICLOUD_URL": self._picloud.url,
            "PICLOUD_TOKEN": self._picloud.token,
            "PICLOUD_DATA": str(self._picloud.data),
            "URL": f"http://{ADDRESS}",
            "TOKEN": self._picloud.token,
        }
