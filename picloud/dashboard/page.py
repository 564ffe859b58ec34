"""The page as HTML. Pure: everything that is shown comes in as an argument, and everything is escaped here.

Owns: words and structure. `page.css` owns the looks. Knows nothing of HTTP, sessions or tables.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from importlib import resources

from picloud import __version__
from picloud.auth import Principal
from picloud.model import Invocation, Outcome, Script

_TAGLINE = "Upload a Lua script, get an HTTP endpoint."


@dataclass(frozen=True, slots=True)
class Row:
    """A script and how it last ran."""

    script: Script
    last: Invocation | None  # None: it did not run yet


class Pages:
    """Every page that `/` can answer with."""

    def __init__(self) -> None:
        self._css = resources.files("picloud.dashboard").joinpath("page.css").read_text("utf-8")

    @property
    def style_hash(self) -> str:
        """What a Content-Security-Policy admits this style by."""
        return "sha256-" + base64.b64encode(hashlib.sha256(self._css.encode()).digest()).decode()

    def sign_in(self, problem: str = "") -> str:
        """Who is not signed in: what this is, and where to put a token."""
        described = ' aria-describedby="problem" aria-invalid="true"' if problem else ' aria-describedby="where"'
        return self._whole(
            "Sign in",
            f"""<p class="lead">Self-hosted serverless for hardware that you already own. {_TAGLINE}</p>
<form class="card" method="post" action="/">
<h2>Sign in</h2>
{_alert(problem)}<label for="token">Token</label>
<input id="token" name="token" type="password" required autocomplete="current-password" spellcheck="false"{described}>
<p id="where" class="quiet">The administrator’s is in the file <code>admin.token</code> of PiCloud’s data folder.
It needs the scope <code>read</code>.</p>
<button>Sign in</button>
</form>""",
        )

    def notice(self, title: str, text: str, principal: Principal | None = None) -> str:
        """Why there is nothing to see."""
        return self._whole(title, f'<div class="card"><h2>{escape(title)}</h2>{_alert(text)}</div>', principal)

    def overview(self, principal: Principal, rows: Sequence[Row], *, more: bool, origin: str, now: datetime) -> str:
        """What runs here; `more`: there are scripts that are not among these rows."""
        listed = (
            _table(rows, now) if rows else '<p class="card empty">No scripts yet. This is how to deploy the first:</p>'
        )
        rest = '<p class="quiet">There are more: <code>picloud ls</code> lists all.</p>' if more else ""
        body = f'<section aria-labelledby="scripts"><h2 id="scripts">Scripts</h2>\n{listed}{rest}</section>\n'
        return self._whole("Scripts", body + _next_steps(origin), principal)

    def _whole(self, title: str, body: str, principal: Principal | None = None) -> str:
        return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)} · PiCloud</title>
<style>{self._css}</style>
</head>
<body>
<header>
<h1><a href="/">PiCloud</a></h1>
{_who(principal)}</header>
<main>
{body}
</main>
<footer>
<ul>
<li><a href="/openapi.json">API (OpenAPI)</a></li>
<li><a href="/readyz">Health</a></li>
<li><a href="/problems">Problems</a></li>
<li>Guides: <code>docs/</code> in the source</li>
<li>PiCloud {escape(__version__)}</li>
</ul>
</footer>
</body>
</html>
"""


def _who(principal: Principal | None) -> str:
    if principal is None:
        return ""
    return f"""<form method="post" action="/">
<span class="quiet">Signed in as <strong>{escape(principal.name)}</strong></span>
<button class="plain" name="sign_out" value="1">Sign out</button>
</form>
"""


def _alert(text: str) -> str:
    return f'<p id="problem" class="problem" role="alert">{escape(text)}</p>\n' if text else ""


def _table(rows: Sequence[Row], now: datetime) -> str:
    body = "\n".join(_row(row, now) for row in rows)
    return f"""<table>
<thead><tr><th scope="col">Script</th><th scope="col">Version</th><th scope="col">Updated</th>
<th scope="col">Last run</th></tr></thead>
<tbody>
{body}
</tbody>
</table>
"""


def _row(row: Row, now: datetime) -> str:
    name = escape(row.script.name)
    return (
        f'<tr><th scope="row"><a href="/fn/{name}">{name}</a> <code>/fn/{name}</code></th>'
        f'<td data-label="Version">{row.script.active_version}</td>'
        f'<td data-label="Updated">{_moment(row.script.updated_at, now)}</td>'
        f'<td data-label="Last run">{_last(row.last, now)}</td></tr>'
    )


def _last(last: Invocation | None, now: datetime) -> str:
    if last is None:
        return '<span class="quiet">not yet</span>'
    failed = last.outcome is not Outcome.OK or last.status >= 500
    looks = " bad" if failed else " good" if last.status < 400 else ""
    why = f' <span class="why">{escape(last.error)}</span>' if last.error else ""
    return (
        f'<span class="outcome{looks}">{escape(last.outcome)} {last.status}</span> {_moment(last.started_at, now)}, '
        f"{_duration(last.queue_ms + last.run_ms)}{why}"
    )


def _moment(at: datetime, now: datetime) -> str:
    exact = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    return f'<time datetime="{at.isoformat()}" title="{exact}">{_ago((now - at).total_seconds())}</time>'


def _ago(seconds: float) -> str:
    for length, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        count = int(seconds // length)
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def _duration(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.1f} s" if milliseconds >= 1000 else f"{milliseconds:.0f} ms"


def _next_steps(origin: str) -> str:
    url = escape(origin)
    return f"""<section aria-labelledby="next"><h2 id="next">What to do next</h2>
<p>Write <code>hello.lua</code>:</p>
<pre><code>return function(request)
  return "hello " .. (request.query.name or "world")
end</code></pre>
<p>Deploy it with the command line,</p>
<pre><code>picloud deploy hello.lua</code></pre>
<p>or with curl and a token that has the scope <code>deploy</code>,</p>
<pre><code>curl -X PUT --data-binary @hello.lua -H "Authorization: Bearer $PICLOUD_TOKEN" \\
  {url}/api/v1/scripts/hello</code></pre>
<p>and call it:</p>
<pre><code>curl '{url}/fn/hello?name=you'</code></pre>
</section>"""
