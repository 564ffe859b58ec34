"""The route table, on one screen."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import falcon

from picloud.api import faults, health, openapi, problem_pages
from picloud.api.middleware import Authentication, BodiesInTurn, Methods, ScriptsFirst
from picloud.auth import TokenFinder
from picloud.manager.events import Events, Subscriptions
from picloud.manager.resources import (
    events,
    schedules,
    scripts,
    secrets,
    settings,
    subscriptions,
    tokens,
    values,
    versions,
)
from picloud.manager.resources import routes as script_routes
from picloud.manager.routes import Routes
from picloud.manager.schedules import Schedules
from picloud.manager.scripts import Scripts, Versions
from picloud.manager.secrets import Secrets
from picloud.manager.settings import ScriptSettings
from picloud.manager.tokens import Tokens
from picloud.manager.uploads import Uploads
from picloud.manager.values import Values
from picloud.orchestrator.enqueue import Enqueuing
from picloud.orchestrator.feed import Feed
from picloud.orchestrator.ingress import PREFIX, Ingress, ScriptResolver
from picloud.orchestrator.recording import Values as SecretValues
from picloud.orchestrator.request import Proxies
from picloud.orchestrator.resources import dead_letters, invoke, jobs, logs, records, replay


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What the resources work with."""

    known_tokens: TokenFinder
    tokens: Tokens
    scripts: Scripts
    uploads: Uploads
    versions: Versions
    routes: Routes
    events: Events
    subscriptions: Subscriptions
    schedules: Schedules
    secrets: Secrets
    resolver: ScriptResolver
    settings: ScriptSettings
    values: Values
    runs: invoke.Runs
    every_version: replay.VersionSource
    ingress: Ingress
    enqueuing: Enqueuing
    jobs: dead_letters.Requests
    dead_letters: dead_letters.Letters
    secret_values: SecretValues
    reading: Callable[[], AbstractContextManager[None]]  # see BodiesInTurn
    proxies: Proxies
    records: records.RecordReader
    lines: logs.LineReader
    followers: Feed
    checks: dict[str, health.Check]
    front: object  # the resource of `/`


def routes(our: Collaborators) -> openapi.Routes:
    """Every path with its resource; the document at /openapi.json tells of the same list."""
    api, script = "/api/v1", "/api/v1/scripts/{script}"
    table: openapi.Routes = [
        ("/", our.front),
        ("/healthz", health.Healthz()),
        ("/readyz", health.Readyz(our.checks)),
        ("/problems", problem_pages.ProblemsPage()),
        ("/problems/{name}", problem_pages.ProblemPage()),
        (f"{api}/scripts", scripts.ScriptsResource(our.scripts, our.uploads)),
        (script, scripts.ScriptResource(our.scripts, our.uploads)),
        (f"{script}/active", scripts.ActiveResource(our.scripts)),
        (f"{script}/settings", settings.SettingsResource(our.settings)),
        (f"{script}/versions", versions.VersionsResource(our.versions)),
        (f"{script}/versions/{{number}}", versions.VersionResource(our.versions)),
        (f"{script}/kv", values.ValuesResource(our.values)),
        (f"{script}/kv/{{key:path}}", values.ValueResource(our.values)),
        (f"{script}/invoke", invoke.InvokeResource(our.resolver, our.runs, our.enqueuing, our.proxies)),
        (f"{api}/routes", script_routes.RoutesResource(our.routes)),
        (f"{api}/routes/{{route}}", script_routes.RouteResource(our.routes)),
        (f"{api}/events", events.EventsResource(our.events)),
        (f"{api}/events/{{event_number}}", events.EventResource(our.events)),
        (f"{api}/subscriptions", subscriptions.SubscriptionsResource(our.subscriptions)),
        (f"{api}/subscriptions/{{subscription}}", subscriptions.SubscriptionResource(our.subscriptions)),
        (f"{api}/schedules", schedules.SchedulesResource(our.schedules)),
        (f"{api}/schedules/{{schedule}}", schedules.ScheduleResource(our.schedules)),
        (f"{api}/schedules/{{schedule}}/slots", schedules.SlotsResource(our.schedules)),
        (f"{api}/schedules/{{schedule}}/next-runs", schedules.NextRunsResource(our.schedules)),
        (f"{api}/invocations", records.InvocationsResource(our.records)),
        (f"{api}/invocations/{{identifier}}", records.InvocationResource(our.records)),
        (
            f"{api}/invocations/{{identifier}}/replay",
            replay.ReplayResource(our.records, our.resolver, our.every_version, our.runs),
        ),
        (f"{api}/jobs", jobs.JobsResource(our.jobs)),
        (f"{api}/jobs/{{job}}", jobs.JobResource(our.jobs)),
        (f"{api}/queue", jobs.QueueResource(our.jobs)),
        (f"{api}/dead-letters", dead_letters.DeadLettersResource(our.jobs, our.dead_letters)),
        (
            f"{api}/dead-letters/{{letter}}",
            dead_letters.DeadLetterResource(our.jobs, our.dead_letters, our.lines, our.resolver, our.secret_values),
        ),
        (f"{api}/dead-letters/{{letter}}/retry", dead_letters.RetryResource(our.dead_letters)),
        (f"{api}/secrets", secrets.SecretsResource(our.secrets)),
        (f"{api}/secrets/{{secret}}", secrets.SecretResource(our.secrets)),
        (f"{api}/tokens", tokens.TokensResource(our.tokens)),
        (f"{api}/tokens/{{token}}", tokens.TokenResource(our.tokens)),
        (f"{api}/logs", logs.LogsResource(our.lines, our.followers, our.known_tokens)),
    ]
    table.append(("/openapi.json", openapi.DocumentResource(table)))
    return table


def create_app(our: Collaborators) -> falcon.App[falcon.Request, falcon.Response]:
    """The WSGI application; pure: it opens nothing."""
    gate, scripts_first = Authentication(our.known_tokens), ScriptsFirst(our.ingress)
    middleware: list[Any] = [BodiesInTurn(our.reading), gate, scripts_first, Methods()]
    app = falcon.App(middleware=middleware)
    app.resp_options.default_media_type = None  # type: ignore[assignment] # a script's answer has the type it gave
    faults.install(app)
    app.add_sink(our.ingress.route, "/")  # what is nobody else's
    app.add_sink(our.ingress.function, PREFIX)  # the last one is asked first
    for path, resource in routes(our):
        if hasattr(resource, "on_get"):
            resource.on_head = resource.on_get  # Falcon leaves out the body
        app.add_route(path, resource)
    return app
