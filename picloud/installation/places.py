"""Where everything lies on a machine that PiCloud is installed on. docs/install.md has the same as a table."""

from pathlib import Path

HOME = Path("/opt/picloud")  # code: root's, and nobody else writes there
RELEASES = HOME / "releases"
CURRENT = HOME / "current"  # a link to the release in use
PREVIOUS = HOME / "previous"  # a link to the one before it
MARK = "release.json"  # in a release, written last

COMMAND = Path("/usr/local/bin/picloud")
CONFIGURATION = Path("/etc/picloud")
SETTINGS = CONFIGURATION / "picloud.toml"
KEY = CONFIGURATION / "secret.key"
STATE = Path("/var/lib/picloud")
RUN = Path("/run/picloud")
RUN_EXECUTOR = Path("/run/picloud-executor")
RUN_EXECUTOR_ROOT = Path("/run/picloud-executor-root")  # empty, but for what the executor's unit binds there
HTTP_SOCKET = RUN / "http.sock"

UNITS = Path("/usr/local/lib/systemd/system")  # /etc/systemd/system stays the operator's
SYSUSERS = Path("/etc/sysusers.d/picloud.conf")
TMPFILES = Path("/etc/tmpfiles.d/picloud.conf")

CADDY = Path("/etc/caddy")
CADDYFILE = CADDY / "Caddyfile"
CADDYFILE_KEPT = CADDY / "Caddyfile.before-picloud"
CADDYFILE_WRITTEN = HOME / "Caddyfile"  # as it was written: what differs from it is the operator's
CADDY_DROP_IN = Path("/etc/systemd/system/caddy.service.d/picloud.conf")

POSTGRES = Path("/etc/postgresql")
POSTGRES_SOCKETS = Path("/run/postgresql")
TUNING = "conf.d/picloud.conf"  # in a cluster's folder

USER = "picloud"
SANDBOX_USER = "picloud-sandbox"
HTTP_GROUP = "picloud-http"  # who may talk to the socket: its word on X-Forwarded-* is believed
DATABASE = "picloud"
