"""What the resources of each service work with: the seams between the route tables and who builds all this."""

from dataclasses import dataclass

from picloud.api.health import Check
from picloud.api.metrics import Sources
from picloud.auth import TokenFinder
from picloud.manager.configuration import Configuration
from picloud.manager.events import Events, Subscriptions
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
from picloud.orchestrator.ingress import Ingress, ScriptResolver
from picloud.orchestrator.recording import Values as SecretValues
from picloud.orchestrator.request import Proxies
from picloud.orchestrator.resources import dead_letters, hosts, invoke, logs, records, replay


@dataclass(frozen=True, slots=True)
class Edge:
    """What every service has."""

    known_tokens: TokenFinder
    bodies_at_once: int  # that are read; a slow one holds a thread
    checks: dict[str, Check]
    metrics: Sources


@dataclass(frozen=True, slots=True)
class Manager:
    """What the manager's resources work with."""

    front: object  # the resource of `/`
    tokens: Tokens
    scripts: Scripts
    uploads: Uploads
    configuration: Configuration
    versions: Versions
    routes: Routes
    events: Events
    subscriptions: Subscriptions
    schedules: Schedules
    secrets: Secrets
    settings: ScriptSettings
    values: Values


@dataclass(frozen=True, slots=True)
class Orchestrator:
    """What the orchestrator's resources work with."""

    ingress: Ingress
    hosts: hosts.KnownHosts
    resolver: ScriptResolver
    runs: invoke.Runs
    every_version: replay.VersionSource
    enqueuing: Enqueuing
    proxies: Proxies
    jobs: dead_letters.Requests
    dead_letters: dead_letters.Letters
    secret_values: SecretValues
    records: records.RecordReader
    lines: logs.LineReader
    followers: Feed
    known_tokens: TokenFinder
