"""The machine that is installed on: every look at it and every change to it goes through here.

Owns: reading and replacing files, running commands, and what is said of those that fail. A machine for `--check`
refuses every change, whoever asks for it. `root` is another folder than `/` in tests.
"""

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from grp import getgrnam
from pathlib import Path

from picloud.errors import PlatformError

_SAID_LINES = 12  # of a command that failed
_COMMAND_S = 600  # a restart waits for requests in flight, and a migration may take long
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class CommandFailed(PlatformError):
    """A command that the installation needs has failed."""


class CannotSee(PlatformError):
    """This can be looked at by root alone."""


class Machine:
    """A machine to look at and, unless it is `read_only`, to change."""

    def __init__(self, root: Path = Path("/"), *, read_only: bool = False) -> None:
        self._root = root
        self._is_read_only = read_only
        self.is_root = os.geteuid() == 0

    def path(self, name: str | Path) -> Path:
        """Where an absolute name lies."""
        return self._root / str(name).lstrip("/")

    def text(self, name: str | Path) -> str | None:
        """A file's text; None if there is none; CannotSee."""
        try:
            return self.path(name).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise CannotSee(f"{name} can be read by root alone") from error

    def has(self, name: str | Path) -> bool:
        """Whether there is such a file, folder or link, wherever it leads; CannotSee."""
        try:
            self.path(name).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except PermissionError as error:
            raise CannotSee(f"{name} can be seen by root alone") from error
        return True

    def ask(self, *command: str, env: Mapping[str, str] | None = None) -> str:
        """What a command says that changes nothing; CommandFailed."""
        return self._run(command, env)

    def says(self, *command: str) -> bool:
        """Whether a command that changes nothing ends well."""
        return _ended(command, None).returncode == 0

    # ── changes ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def do(self, *command: str, env: Mapping[str, str] | None = None) -> str:
        """Run a command that changes something → what it says; CommandFailed."""
        self._may_change()
        return self._run(command, env)

    def write(self, name: str | Path, text: str, mode: int = 0o644, group: str = "root") -> None:
        """Replace a file; whenever the power fails it has the old text or the new one. It belongs to root."""
        self._may_change()
        path = self.path(name)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor, new = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                os.fchmod(descriptor, mode)
                if self.is_root:
                    os.fchown(descriptor, 0, getgrnam(group).gr_gid)
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            Path(new).replace(path)
        except BaseException:
            Path(new).unlink(missing_ok=True)
            raise

    def edit(self, name: str | Path, text: str) -> None:
        """Replace the text of a file of somebody else's, whose owner and mode it keeps."""
        path = self.path(name)
        found = path.stat()
        self.write(name, text, stat.S_IMODE(found.st_mode))
        if self.is_root:
            os.chown(path, found.st_uid, found.st_gid)

    def make_private(self, name: str | Path) -> None:
        """Root's, and nobody else may read it."""
        self._may_change()
        self.path(name).chmod(0o600)
        if self.is_root:
            os.chown(self.path(name), 0, 0, follow_symlinks=False)

    def link(self, name: str | Path, target: str) -> None:
        """Have a symbolic link lead somewhere; there is no moment without it."""
        self._may_change()
        path = self.path(name)
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(target)
        new.replace(path)

    def move(self, name: str | Path, to: str | Path) -> None:
        """Rename a file."""
        self._may_change()
        self.path(name).replace(self.path(to))

    def make_folder(self, name: str | Path, mode: int, user: str) -> None:
        """A folder of a user's, with this mode, whatever mode it had; OSError if it is a link."""
        self._may_change()
        path = self.path(name)
        path.mkdir(mode=mode, exist_ok=True)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if self.is_root:
                known = pwd.getpwnam(user)
                os.fchown(folder, known.pw_uid, known.pw_gid)
            os.fchmod(folder, mode)
        finally:
            os.close(folder)

    def remove(self, name: str | Path) -> None:
        """Remove a file or a whole folder, if it is there."""
        self._may_change()
        path = self.path(name)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _may_change(self) -> None:
        if self._is_read_only:
            raise AssertionError("a check changes nothing")

    def _run(self, command: Sequence[str], env: Mapping[str, str] | None) -> str:
        ended = _ended(command, env)
        if ended.returncode:
            said = "\n".join(f"  {line}" for line in (ended.stderr or ended.stdout).strip().splitlines()[-_SAID_LINES:])
            raise CommandFailed(f"'{' '.join(command)}' failed (exit status {ended.returncode})\n{said}".rstrip())
        return ended.stdout.strip()


def _ended(command: Sequence[str], env: Mapping[str, str] | None) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command, env={**_ENVIRONMENT, **(env or {})}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", check=False, cwd="/", timeout=_COMMAND_S,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise CommandFailed(
            f"there is no '{command[0]}' on this machine: 'make install' brings what is missing"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"'{' '.join(command)}' was not done after {_COMMAND_S} s") from error
