"""An installed PiCloud is backed up as docs/backup.md says, and has everything again that it had then."""

import pytest

from tests.documents import blocks
from tests.running import ROOT
from tests.systemd.installed import Installed

pytestmark = pytest.mark.root

FOLDER = "/var/lib/picloud-backup"
OPENS = "return function() return kv.incr('calls') .. (secrets.get('MAIL_KEY') or 'closed') end"


def units() -> dict[str, str]:
    """Those of the documentation: name → text."""
    texts = [block.text for block in blocks(ROOT / "docs" / "backup.md", "text") if block.text.startswith("[Unit]")]
    return {f"picloud-backup.{'timer' if '[Timer]' in text else 'service'}": text for text in texts}


def test_what_a_timer_backed_up_comes_back(installed: Installed) -> None:
    machine = installed.machine
    assert installed.api("PUT", "secrets/MAIL_KEY", {"value": "open"}).status in (200, 201)
    installed.deploy("kept", OPENS)
    assert installed.api("PATCH", "scripts/kept/settings", {"secrets": ["MAIL_KEY"]}).status == 200
    assert installed.call("GET", "/fn/kept").body == b"1open"
    for name, text in units().items():
        machine.file(f"/etc/systemd/system/{name}").write_text(text)
    machine.run("systemctl", "daemon-reload")
    said = machine.run("systemd-analyze", "verify", *(f"/etc/systemd/system/{name}" for name in units()))
    assert "picloud-backup" not in said
    machine.run("systemctl", "enable", "--now", "picloud-backup.timer")
    machine.run("systemctl", "start", "picloud-backup.service")
    (file,) = machine.run("find", FOLDER, "-type", "f", "-perm", "600").split()
    assert "/etc/picloud/secret.key (" in installed.journal("-u", "picloud-backup.service")

    installed.deploy("later", "return 1")
    assert installed.call("GET", "/fn/kept").body == b"2open"
    restore = ("picloud", "restore", file, "--replace", "--yes")
    machine.run("sh", "-c", f"! {' '.join(restore)}")
    assert installed.call("GET", "/fn/kept").body == b"3open", "nothing is replaced below one that runs"
    installed.systemctl("stop", "picloud")
    assert "warning" not in machine.run(*restore)
    installed.systemctl("start", "picloud")
    installed.await_ready()
    assert installed.call("GET", "/fn/kept").body == b"2open"
    assert installed.call("GET", "/fn/later").status == 404
    machine.run("systemctl", "disable", "--now", "picloud-backup.timer")
