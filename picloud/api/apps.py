"""The route table, on one screen."""

from dataclasses import dataclass

import falcon

from picloud.api import health, problems
from picloud.api.middleware import Authentication, TokenFinder
from picloud.manager import resources as manager
from picloud.manager.scripts import Scripts, Versions
from picloud.orchestrator import resources as orchestrator
from picloud.orchestrator.dispatch import Dispatcher
from picloud.orchestrator.ingress import PREFIX, Ingress


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What the resources work with."""

    tokens: TokenFinder
    scripts: Scripts
    versions: Versions
    dispatcher: Dispatcher
    ingress: Ingress
    records: orchestrator.RecordReader
    checks: dict[str, health.Check]


def create_app(our: Collaborators) -> falcon.App[falcon.Request, falcon.Response]:
    """The WSGI application; pure: it opens nothing."""
    app = falcon.App(middleware=[Authentication(our.tokens)])
    app.resp_options.default_media_type = None  # type: ignore[assignment] # a script's answer has the type it gave
    problems.install(app)

    app.add_sink(our.ingress, PREFIX)
    app.add_route("/", health.Front())
    app.add_route("/healthz", health.Healthz())
    app.add_route("/readyz", health.Readyz(our.checks))
    app.add_route("/problems/{name}", health.ProblemPage())

    api = "/api/v1"
    app.add_route(f"{api}/scripts", manager.ScriptsResource(our.scripts))
    app.add_route(f"{api}/scripts/{{name}}", manager.ScriptResource(our.scripts))
    app.add_route(f"{api}/scripts/{{name}}/active", manager.ActiveResource(our.scripts))
    app.add_route(f"{api}/scripts/{{name}}/versions", manager.VersionsResource(our.versions))
    app.add_route(f"{api}/scripts/{{name}}/versions/{{number}}", manager.VersionResource(our.versions))
    app.add_route(f"{api}/scripts/{{name}}/invoke", orchestrator.InvokeResource(our.dispatcher))
    app.add_route(f"{api}/invocations", orchestrator.InvocationsResource(our.records))
    app.add_route(f"{api}/invocations/{{identifier}}", orchestrator.InvocationResource(our.records))
    app.add_route(f"{api}/logs", orchestrator.LogsResource(our.records))
    return app
