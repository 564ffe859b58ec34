"""`/api/v1/config`: all that is configured of scripts, as one document."""

from typing import Annotated

import falcon
import msgspec
from msgspec import Meta

from picloud.auth import Scope
from picloud.manager.config_document import ConfigDocument, read_document
from picloud.manager.config_plan import ConfigChange
from picloud.manager.configuration import Configuration
from picloud.messages import conditions
from picloud.messages.endpoint import Answer, endpoint
from picloud.messages.reading import MEDIA_JSON, Query, read_body, require_json
from picloud.messages.writing import send_json

BODY_BYTES_MAX = 32 * 1024 * 1024  # files of 16 MiB, a byte of which is mostly one of JSON's


class AppliedShape(msgspec.Struct):
    """What became of a configuration."""

    changes: Annotated[list[ConfigChange], Meta(description="by script; none: nothing was to be done")]
    dry_run: Annotated[bool, Meta(description="true: nothing was done")]
    missing_secrets: Annotated[list[str], Meta(description="that its scripts want, and that have no value here")]


class ConfigQuery(Query):
    """How to apply one."""

    prune: Annotated[bool, Meta(description="true: remove what the document has not")] = False
    dry_run: Annotated[bool, Meta(description="true: tell what would be done, and do nothing")] = False


class ConfigResource:
    """`/api/v1/config`"""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration

    @endpoint(
        Scope.ADMIN,
        answers={200: Answer(ConfigDocument, headers=conditions.CONFIG_ETAG)},
        problems=("conflict",),
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Export scripts, settings, routes, subscriptions and schedules, as one document.

        Values of `env` are in it, those of secrets are not. `conflict`: the files of all active versions are more than
        16 MiB together.
        """
        document, tag = self._configuration.export()
        resp.set_header("etag", f'"{tag}"')
        send_json(resp, document)

    @endpoint(
        Scope.ADMIN,
        query=ConfigQuery,
        media={MEDIA_JSON: ConfigDocument},
        headers=conditions.IF_CONFIG,
        answers={200: Answer(AppliedShape, headers=conditions.CONFIG_ETAG)},
        problems=("conflict", "executor-lost", "precondition-failed", "syntax-error", "unsupported-media-type"),
    )
    def on_put(self, req: falcon.Request, resp: falcon.Response, query: ConfigQuery) -> None:
        """Apply a configuration: make each script of the document what it says, in one transaction.

        All is checked and every new Lua file compiled before anything is stored. What the document has not stays,
        unless `?prune=true`. 200: what was changed; a second time it is nothing. Any error: nothing was changed.
        """
        only_if = conditions.only_if_tag(req)
        require_json(req)
        document = read_document(read_body(req.env, BODY_BYTES_MAX))
        who = req.context.principal.name
        done = self._configuration.apply(document, who, only_if=only_if, prune=query.prune, dry_run=query.dry_run)
        resp.set_header("etag", f'"{done.tag}"')
        send_json(resp, AppliedShape([*done.changes], query.dry_run, [*done.missing_secrets]))
