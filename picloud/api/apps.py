"""The route table, on one screen."""

from dataclasses import dataclass
from typing import Any

import falcon

from picloud.api import health, problems
from picloud.api.middleware import Authentication, TokenFinder
from picloud.manager.resources import scripts, versions
from picloud.manager.scripts import Scripts, Versions
from picloud.orchestrator.dispatch import Dispatcher
from picloud.orchestrator.ingress import PREFIX, Ingress, Proxies
from picloud.orchestrator.resources import invoke, records


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What the resources work with."""

    tokens: TokenFinder
    scripts: Scripts
    versions: Versions
    dispatcher: Dispatcher
    ingress: Ingress
    proxies: Proxies
    records: records.RecordReader
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

    api, script = "/api/v1", "/api/v1/scripts/{script}"
    route(f"{api}/scripts", scripts.ScriptsResource(our.scripts))
    route(script, scripts.ScriptResource(our.scripts))
    route(f"{script}/active", scripts.ActiveResource(our.scripts))
    route(f"{script}/versions", versions.VersionsResource(our.versions))
    route(f"{script}/versions/{{number}}", versions.VersionResource(our.versions))
    route(f"{script}/invoke", invoke.InvokeResource(our.dispatcher, our.proxies))
    route(f"{api}/invocations", records.InvocationsResource(our.records))
    route(f"{api}/invocations/{{identifier}}", records.InvocationResource(our.records))
    route(f"{api}/logs", records.LogsResource(our.records))
    return app
