"""`/api/v1/secrets`: named values that scripts may be granted. Nothing here answers with a value."""

from typing import Annotated

import falcon
import msgspec

from picloud.auth import Scope
from picloud.manager.secrets import Secrets
from picloud.messages.endpoint import Answer, endpoint
from picloud.messages.reading import Paging
from picloud.messages.writing import Page, send_json, send_page
from picloud.model import SECRET_CHARACTERS_MAX, Secret

_Value = Annotated[str, msgspec.Meta(min_length=1, max_length=SECRET_CHARACTERS_MAX)]


class SecretValue(msgspec.Struct, forbid_unknown_fields=True):
    """What a secret is to be."""

    value: _Value

    def __repr__(self) -> str:
        """Without it: this may end up in a traceback."""
        return "SecretValue(…)"


class SecretsResource:
    """`/api/v1/secrets`"""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    @endpoint(Scope.READ, query=Paging, answers={200: Page[Secret]})
    def on_get(self, _req: falcon.Request, resp: falcon.Response, query: Paging) -> None:
        """List secrets by name, without their values.

        `scripts`: those whose settings grant it.
        """
        found = self._secrets.page(query.limit, query.after)
        send_page(resp, found, query.limit, lambda it: it, lambda it: it.name)


class SecretResource:
    """`/api/v1/secrets/NAME`"""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    @endpoint(Scope.READ, answers={200: Secret}, problems=("not-found",))
    def on_get(self, _req: falcon.Request, resp: falcon.Response, secret: str) -> None:
        """One secret, without its value."""
        send_json(resp, self._secrets.get(secret))

    @endpoint(
        Scope.DEPLOY,
        body=SecretValue,
        answers={200: Answer(Secret, meaning="There was one"), 201: Answer(Secret, meaning="It is new")},
    )
    def on_put(self, _req: falcon.Request, resp: falcon.Response, secret: str, body: SecretValue) -> None:
        """Set a secret's value, which nobody can read again; scripts that are granted it get it from now on."""
        kept, is_new = self._secrets.put(secret, body.value)
        send_json(resp, kept, 201 if is_new else 200)

    @endpoint(Scope.DEPLOY, answers={204: None}, problems=("not-found",))
    def on_delete(self, _req: falcon.Request, resp: falcon.Response, secret: str) -> None:
        """Forget a secret: scripts get nil for it from now on."""
        self._secrets.delete(secret)
        resp.status = 204
