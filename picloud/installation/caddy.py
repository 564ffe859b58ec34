"""Caddy's part: the site that leads to PiCloud's socket, and the right to connect to it.

Owns: /etc/caddy/Caddyfile if it is Debian's own or ours as we wrote it, and a drop-in of caddy.service, which holds the
site's name and the group. A Caddyfile of the operator's is never touched: it is told what to add.
"""

import grp
import hashlib
import re

from picloud.errors import ConfigurationError
from picloud.installation.accounts import has_group
from picloud.installation.machine import CommandFailed, Machine
from picloud.installation.places import (
    CADDY,
    CADDY_DROP_IN,
    CADDYFILE,
    CADDYFILE_KEPT,
    CADDYFILE_WRITTEN,
    HTTP_GROUP,
    HTTP_SOCKET,
)
from picloud.installation.steps import Change, News, Note, Order, replaced

_UNIT = "caddy.service"
_PROGRAM = "/usr/bin/caddy"
_PART = CADDY / "picloud.caddy"
_SITE = re.compile(r"(https?://)?[A-Za-z0-9.*-]*(:\d{1,5})?")
_OWN_NAMES = ("arpa", "example", "home", "internal", "invalid", "lan", "local", "localdomain", "localhost", "test")
_SITE_SAID = re.compile(r"^Environment=PICLOUD_SITE=(.*)$", re.MULTILINE)


def site(machine: Machine, order: Order) -> News:
    """Caddy answers for the site, and may talk to PiCloud."""
    if not machine.has(_PROGRAM):
        yield Note("there is no caddy here: whoever is to talk to PiCloud's socket joins the group " + HTTP_GROUP)
        return
    changed = False
    for step in (_drop_in, _file):
        for it in step(machine, order):
            changed = changed or isinstance(it, Change)
            yield it
    if not machine.says("systemctl", "is-enabled", "--quiet", _UNIT):
        yield Change("enable caddy, for each boot", lambda: machine.do("systemctl", "enable", "--quiet", _UNIT))
    if not _is_member(machine):
        yield Change("start caddy, anew if it runs", lambda: _told(machine, "restart"))
    elif changed:
        yield Change("have caddy read it", lambda: _reload(machine))


def restore(machine: Machine) -> None:
    """As it was before there was a PiCloud; an operator's Caddyfile stays."""
    if machine.has(CADDYFILE_KEPT) and machine.text(CADDYFILE) == machine.text(CADDYFILE_WRITTEN):
        machine.move(CADDYFILE_KEPT, CADDYFILE)
    was_there = machine.has(CADDY_DROP_IN)
    machine.remove(CADDY_DROP_IN)
    machine.do("systemctl", "daemon-reload")
    if was_there and machine.says("systemctl", "is-active", "--quiet", _UNIT):
        machine.do("systemctl", "restart", _UNIT)


def _drop_in(machine: Machine, order: Order) -> News:
    said = _SITE_SAID.findall(machine.text(CADDY_DROP_IN) or "")
    name = order.site or (said[0] if said else "")
    if not _SITE.fullmatch(name):
        raise ConfigurationError(f"--site {name}: must be a host name, such as cloud.example.org")
    lines = ["# PiCloud's: `picloud install --site NAME` changes it", "[Service]", f"SupplementaryGroups={HTTP_GROUP}"]
    if name:
        lines.append(f"Environment=PICLOUD_SITE={name}")
        lines.append(f"Environment=PICLOUD_TLS={'public' if is_public(name) else 'internal'}")
    text = "\n".join([*lines, ""])
    for change in replaced(machine, CADDY_DROP_IN, text):
        yield change
        yield Change("have systemd read it", lambda: machine.do("systemctl", "daemon-reload"))


def is_public(site: str) -> bool:
    """Whether certificate authorities may know a site by its name: no address, and no name of some network's own."""
    host = site.rpartition("//")[2].partition(":")[0].rstrip(".").lower()
    last = host.rpartition(".")[2]
    return "." in host and not last.isdigit() and last not in _OWN_NAMES


def _file(machine: Machine, order: Order) -> News:
    ours, there, written = order.text("config/Caddyfile"), machine.text(CADDYFILE), machine.text(CADDYFILE_WRITTEN)
    if there == ours:
        return
    if there is None or there == written or _is_debians(machine, there):
        yield Change(f"write {CADDYFILE}", lambda: _write(machine, ours, keep=there if there != written else None))
        return
    if written is not None and str(HTTP_SOCKET) in there:  # ours, with changes
        if written != ours:
            yield Note(
                f"{CADDYFILE} has changes of yours and stays; this release's is {order.shipped}/config/Caddyfile"
            )
        return
    yield from replaced(machine, _PART, ours)
    if not re.search(r"^\s*import\s+(/etc/caddy/)?picloud\.caddy\s*$", there, re.MULTILINE):
        yield Note(
            f"{CADDYFILE} is yours and stays; put this line above all others in it, and restart caddy:"
            " import picloud.caddy (what a global block of yours says goes into that of picloud.caddy: Caddy takes one)"
        )


def _write(machine: Machine, text: str, *, keep: str | None) -> None:
    if keep is not None and not machine.has(CADDYFILE_KEPT):
        machine.write(CADDYFILE_KEPT, keep)
    machine.write(CADDYFILE_WRITTEN, text)
    machine.write(CADDYFILE, text)


def _is_debians(machine: Machine, text: str) -> bool:
    """Whether a file is as Debian's package brought it."""
    conffiles = machine.ask("dpkg-query", "-W", "-f=${Conffiles}", "caddy")
    digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    return f"{CADDYFILE} {digest}" in conffiles


def _is_member(machine: Machine) -> bool:
    """Whether the caddy that runs has the group; a caddy that does not run has it not."""
    if not has_group(HTTP_GROUP):
        return False
    pid = machine.ask("systemctl", "show", "--property=MainPID", "--value", _UNIT)
    status = machine.text(f"/proc/{pid}/status") if pid != "0" else None
    group = str(grp.getgrnam(HTTP_GROUP).gr_gid)
    groups = re.search(r"^Groups:(.*)$", status or "", re.MULTILINE)
    return groups is not None and group in groups[1].split()


def _reload(machine: Machine) -> None:
    """A reload loses no request; a caddy that refuses it, as it listens for it elsewhere, is started anew."""
    try:
        machine.do("systemctl", "reload", _UNIT)
    except CommandFailed:
        _told(machine, "restart")


def _told(machine: Machine, verb: str) -> None:
    try:
        machine.do("systemctl", verb, _UNIT)
    except CommandFailed as error:
        said = machine.ask("journalctl", "-q", "--no-pager", "-o", "cat", "-n8", "-u", _UNIT)
        raise CommandFailed(f"{error}\n{said}") from error
