"""Dry runs from the command line: what a script would answer and do."""

import base64
import functools
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import click

from picloud.cli.client import Client
from picloud.cli.output import show_body, show_json
from picloud.cli.records import log_text
from picloud.cli.terminal import harmless

_VALUE_CHARACTERS_MAX = 200  # of one that is shown


def dry_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Of a command that runs a script: `dry_run`, `allow_http`, `as_json`; the last two go with the first."""

    @click.option("--dry-run", is_flag=True, help="Keep nothing, call nobody, and tell what it would do.")
    @click.option("--allow-http", is_flag=True, help="With --dry-run: call other servers, which nothing undoes.")
    @click.option("--json", "as_json", is_flag=True, help="With --dry-run: print all of it as JSON, one document.")
    @functools.wraps(command)
    def checked(*, dry_run: bool, allow_http: bool, as_json: bool, **given: Any) -> None:
        for name, is_given in (("--allow-http", allow_http), ("--json", as_json)):
            if is_given and not dry_run:
                raise click.UsageError(f"{name} goes with --dry-run")
        command(dry_run=dry_run, allow_http=allow_http, as_json=as_json, **given)

    return checked


def rehearse(
    client: Client,
    path: str,
    body: bytes,
    headers: Mapping[str, str] = {},
    *,
    allow_http: bool,
    as_json: bool,
    asked: Mapping[str, object] = {},
) -> None:
    """Ask for a dry run and show it; exit 1 if it gave no answer, or one of 400 and more."""
    query = {"dry_run": "true", **({"allow_http": "true"} if allow_http else {}), **asked}
    shown = client.call("POST", f"{path}?{urlencode(query)}", body, headers)
    answer = shown["response"]
    if as_json:
        show_json(shown)
    else:
        _show(shown, answer)
    if answer is None or answer["status"] >= 400:
        sys.exit(1)


def _show(shown: Mapping[str, Any], answer: Mapping[str, Any] | None) -> None:
    """The answer to stdout, all else to stderr."""
    if answer is not None:
        show_body(base64.b64decode(answer["body"]) if answer["base64"] else answer["body"].encode())
        sys.stdout.flush()
    for line in (*map(log_text, shown["logs"]), *map(harmless, _effects(shown))):
        click.echo(line, err=True)
    if answer is None:
        click.secho("error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(harmless(f"{shown['error']} ({shown['outcome']})"), err=True)
    click.echo(f"dry run of version {shown['version']}: nothing of it was kept", err=True)


def _effects(shown: Mapping[str, Any]) -> Iterator[str]:
    """What it would do, each in one line."""
    word = "would" if shown["would_commit"] else "would not"  # it is rolled back in earnest, too
    for it in shown["writes"]:
        yield f"{word} {_write(it, shown['script'])}"
    for it in shown["jobs"]:
        yield f"{word} {_job(it)}{_of(it, shown['script'])}"
    for it in shown["events"]:
        yield f"{word} publish {_event(it)}{_of(it, shown['script'])}"
    for it in shown["requests"]:
        size = f" ({it['body_bytes']} bytes)" if it["body_bytes"] else ""
        yield f"{'did' if it['made'] else 'would'} call {it['method']} {it['url']}{size}{_of(it, shown['script'])}"


def _write(it: Mapping[str, Any], script: str) -> str:
    where = f" in the space {it['space']}" if it["space"] else ""
    before = "it was not there" if it["version_before"] is None else f"it was version {it['version_before']}"
    value = "" if it["change"] == "delete" else f" to {_value(it)}"
    return f"{it['change']} {json.dumps(it['key'], ensure_ascii=False)}{value}{where}{_of(it, script)}; {before}"


def _job(it: Mapping[str, Any]) -> str:
    if it["change"] == "cancel":
        return f"cancel the job {it['id']}"
    function = f" for its function {it['function']}" if it["function"] else ""
    payload = "a payload too large to show" if it["cut"] else _short(json.dumps(it["payload"], ensure_ascii=False))
    there = f"; {it['id']} is there with its key" if it["change"] == "keep" else ""
    return f"{it['change']} a job to {it['to']}{function}: {payload}{_how(it)}{there}"


def _how(it: Mapping[str, Any]) -> str:
    """When and how a job is to run, as far as that was said."""
    due = it["due_at"] or (f"in {it['delay_ms'] / 1000:g} s" if it["delay_ms"] else "")
    given = ((word, it[word]) for word in ("key", "ordering_key", "priority", "max_attempts"))
    said = [f"{word} {json.dumps(value, ensure_ascii=False)}" for word, value in given if value]
    return "".join(f", {part}" for part in (due, *said) if part)


def _event(it: Mapping[str, Any]) -> str:
    subject = f" of {json.dumps(it['subject'], ensure_ascii=False)}" if it["subject"] else ""
    done = "which is there already" if it["duplicate"] else f"{it['jobs']} job{'' if it['jobs'] == 1 else 's'}"
    return f"{it['type']}{subject} with {_value({**it, 'value': it['data'], 'base64': False})}; {done}"


def _value(it: Mapping[str, Any]) -> str:
    if it["cut"]:
        return "a value too large to show"
    return _short(f"base64:{it['value']}" if it["base64"] else json.dumps(it["value"], ensure_ascii=False))


def _short(text: str) -> str:
    return text if len(text) <= _VALUE_CHARACTERS_MAX else f"{text[:_VALUE_CHARACTERS_MAX]}…"


def _of(it: Mapping[str, Any], script: str) -> str:
    return "" if it["script"] == script else f", by {it['script']}"
