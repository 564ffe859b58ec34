"""The route tables, on one screen: what everybody serves, what the manager does, what the orchestrator does."""

from typing import Any

import falcon

from picloud.api import faults, health, metrics, openapi, problem_pages
from picloud.api.collaborators import Edge, Manager, Orchestrator
from picloud.api.middleware import Authentication, BodiesInTurn, Elsewhere, Methods, ScriptsFirst, open_paths
from picloud.api.tables import Role, Row, Table, at, made
from picloud.manager.resources import (
    configuration,
    events,
    routes,
    schedules,
    scripts,
    secrets,
    settings,
    subscriptions,
    tokens,
    values,
    versions,
)
from picloud.orchestrator.ingress import PREFIX, Ingress
from picloud.orchestrator.resources import dead_letters, hosts, invoke, jobs, logs, records, replay

API, SCRIPT = "/api/v1", "/api/v1/scripts/{script}"


def front(page: object) -> object:
    """The resource of `/`: made by who knows how it looks."""
    return page


EVERYWHERE: Table[Edge] = [
    at("/healthz", health.Healthz, lambda _: ()),
    at("/readyz", health.Readyz, lambda our: (our.checks,)),
    at("/metrics", metrics.MetricsResource, lambda our: (our.metrics,)),
]

MANAGER: Table[Manager] = [
    at("/", front, lambda our: (our.front,)),
    at("/openapi.json", openapi.DocumentResource, lambda our: (every_path(our.front),)),
    at("/problems", problem_pages.ProblemsPage, lambda _: ()),
    at("/problems/{name}", problem_pages.ProblemPage, lambda _: ()),
    at(f"{API}/scripts", scripts.ScriptsResource, lambda our: (our.scripts, our.uploads)),
    at(SCRIPT, scripts.ScriptResource, lambda our: (our.scripts, our.uploads)),
    at(f"{SCRIPT}/active", scripts.ActiveResource, lambda our: (our.scripts,)),
    at(f"{SCRIPT}/settings", settings.SettingsResource, lambda our: (our.settings,)),
    at(f"{SCRIPT}/versions", versions.VersionsResource, lambda our: (our.versions,)),
    at(f"{SCRIPT}/versions/{{number}}", versions.VersionResource, lambda our: (our.versions,)),
    at(f"{SCRIPT}/kv", values.ValuesResource, lambda our: (our.values,)),
    at(f"{SCRIPT}/kv/{{key:path}}", values.ValueResource, lambda our: (our.values,)),
    at(f"{API}/routes", routes.RoutesResource, lambda our: (our.routes,)),
    at(f"{API}/routes/{{route}}", routes.RouteResource, lambda our: (our.routes,)),
    at(f"{API}/events", events.EventsResource, lambda our: (our.events,)),
    at(f"{API}/events/{{event_number}}", events.EventResource, lambda our: (our.events,)),
    at(f"{API}/subscriptions", subscriptions.SubscriptionsResource, lambda our: (our.subscriptions,)),
    at(f"{API}/subscriptions/{{subscription}}", subscriptions.SubscriptionResource, lambda our: (our.subscriptions,)),
    at(f"{API}/schedules", schedules.SchedulesResource, lambda our: (our.schedules,)),
    at(f"{API}/schedules/{{schedule}}", schedules.ScheduleResource, lambda our: (our.schedules,)),
    at(f"{API}/schedules/{{schedule}}/slots", schedules.SlotsResource, lambda our: (our.schedules,)),
    at(f"{API}/schedules/{{schedule}}/next-runs", schedules.NextRunsResource, lambda our: (our.schedules,)),
    at(f"{API}/config", configuration.ConfigResource, lambda our: (our.configuration,)),
    at(f"{API}/secrets", secrets.SecretsResource, lambda our: (our.secrets,)),
    at(f"{API}/secrets/{{secret}}", secrets.SecretResource, lambda our: (our.secrets,)),
    at(f"{API}/tokens", tokens.TokensResource, lambda our: (our.tokens,)),
    at(f"{API}/tokens/{{token}}", tokens.TokenResource, lambda our: (our.tokens,)),
]

ORCHESTRATOR: Table[Orchestrator] = [  # beside the scripts' own: see `_with_scripts`
    at(
        f"{SCRIPT}/invoke",
        invoke.InvokeResource,
        lambda our: (our.resolver, our.runs, our.enqueuing, our.proxies),
    ),
    at(f"{API}/invocations", records.InvocationsResource, lambda our: (our.records,)),
    at(f"{API}/invocations/{{identifier}}", records.InvocationResource, lambda our: (our.records,)),
    at(
        f"{API}/invocations/{{identifier}}/replay",
        replay.ReplayResource,
        lambda our: (our.records, our.resolver, our.every_version, our.runs),
    ),
    at(f"{API}/jobs", jobs.JobsResource, lambda our: (our.jobs,)),
    at(f"{API}/jobs/{{job}}", jobs.JobResource, lambda our: (our.jobs,)),
    at(f"{API}/queue", jobs.QueueResource, lambda our: (our.jobs,)),
    at(f"{API}/dead-letters", dead_letters.DeadLettersResource, lambda our: (our.jobs, our.dead_letters)),
    at(
        f"{API}/dead-letters/{{letter}}",
        dead_letters.DeadLetterResource,
        lambda our: (our.jobs, our.dead_letters, our.lines, our.resolver, our.secret_values),
    ),
    at(f"{API}/dead-letters/{{letter}}/retry", dead_letters.RetryResource, lambda our: (our.dead_letters,)),
    at(f"{API}/hosts", hosts.HostsResource, lambda our: (our.hosts,)),
    at(f"{API}/logs", logs.LogsResource, lambda our: (our.lines, our.followers, our.known_tokens)),
]

App = falcon.App[falcon.Request, falcon.Response]


def every_path(page: object) -> openapi.Routes:
    """All of the API, whoever serves it: each path with what declares it. ``page`` is the resource of `/`."""
    rows: list[Row[Any]] = [*EVERYWHERE, *MANAGER, *ORCHESTRATOR]
    return [(row.path, page if row.kind is front else row.kind) for row in rows]


def manager_app(edge: Edge, our: Manager) -> App:
    """The WSGI application of picloud-manager; as the others it is pure: it opens nothing."""
    elsewhere = Elsewhere(Role.MANAGER, Role.ORCHESTRATOR, ORCHESTRATOR)
    app = _app(edge, [elsewhere], made(MANAGER, our))
    app.add_sink(elsewhere.sink, "/")
    return app


def orchestrator_app(edge: Edge, our: Orchestrator) -> App:
    """The WSGI application of picloud-orchestrator."""
    elsewhere = Elsewhere(Role.ORCHESTRATOR, Role.MANAGER, MANAGER)
    app = _app(edge, [ScriptsFirst(our.ingress), elsewhere], made(ORCHESTRATOR, our))
    return _with_scripts(app, our.ingress)


def whole_app(edge: Edge, manager: Manager, orchestrator: Orchestrator) -> App:
    """The WSGI application of both in one."""
    table = [*made(MANAGER, manager), *made(ORCHESTRATOR, orchestrator)]
    return _with_scripts(_app(edge, [ScriptsFirst(orchestrator.ingress)], table), orchestrator.ingress)


def _app(edge: Edge, first: list[Any], table: list[tuple[str, Any]]) -> App:
    """What is served everywhere, and by this table; ``first`` sees a request before anybody asks who sent it."""
    gate = Authentication(edge.known_tokens, open_paths(table))
    middleware = [BodiesInTurn(edge.bodies_at_once), *first, gate, Methods()]
    app = falcon.App(middleware=middleware)
    app.resp_options.default_media_type = None  # type: ignore[assignment] # a script's answer has the type it gave
    faults.install(app)
    for path, resource in [*made(EVERYWHERE, edge), *table]:
        if hasattr(resource, "on_get"):
            resource.on_head = resource.on_get  # Falcon leaves out the body
        app.add_route(path, resource)
    return app


def _with_scripts(app: App, ingress: Ingress) -> App:
    app.add_sink(ingress.route, "/")  # what is nobody else's
    app.add_sink(ingress.function, PREFIX)  # the last one is asked first
    return app
