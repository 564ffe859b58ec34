"""The route table, on one screen."""

from dataclasses import dataclass
from typing import Any

import falcon

from picloud.api import health, problems
from picloud.api.middleware import Authentication, TokenFinder
from picloud.manager import resources as manager
from picloud.manager.scripts import Scripts, Versions
from picloud.orchestrator import resources as orchestrator
from picloud.orchestrator.dispatch import Dispatcher
from picloud.orchestrator.ingress import PREFIX, Ingress, Proxies


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What the resources work with."""

    tokens: TokenFinder
    scripts: Scripts
    versions: Versions
    dispatcher: Dispatcher
    ingress: Ingress
    proxies: Proxies
    records: orchestrator.RecordReader
    checks: dict[str, health.Check]


PUBLIC = (health.Front, health.Healthz, health.Readyz, health.ProblemPage)


def create_app(our: Collaborators) -> falcon.App[falcon.Request, falcon.Response]:
    """The WSGI application; pure: it opens nothing."""
    app = falcon.App(middleware=[Authentication(our.tokens, PUBLIC)])
    app.resp_options.default_media_type = None  # type: ignore[assignment] # a script's answer has the type it gave
    problems.install(app)

    app.add_sink(our.ingress, PREFIX)

    def route(path: str, resource: Any) -> None:
        if hasattr(resource, "on_get"):
            resource.on_head = resource.on_get  # Falcon leaves out the body
        app.add_route(path, resource)

    route("/", health.Front())
    route("/healthz", health.Healthz())
    route("/readyz", health.Readyz(our.checks))
    route("/problems/{name}", health.ProblemPage())

    api = "/api/v1"
    route(f"{api}/scripts", manager.ScriptsResource(our.scripts))
    route(f"{api}/scripts/{{name}}", manager.ScriptResource(our.scripts))
    route(f"{api}/scripts/{{name}}/active", manager.ActiveResource(our.scripts))
    route(f"{api}/scripts/{{name}}/versions", manager.VersionsResource(our.versions))
    route(f"{api}/scripts/{{name}}/versions/{{number}}", manager.VersionResource(our.versions))
    route(f"{api}/scripts/{{name}}/invoke", orchestrator.InvokeResource(our.dispatcher, our.proxies))
    route(f"{api}/invocations", orchestrator.InvocationsResource(our.records))
    route(f"{api}/invocations/{{identifier}}", orchestrator.InvocationResource(our.records))
    route(f"{api}/logs", orchestrator.LogsResource(our.records))
    return app
