"""`/api/v1/scripts/NAME/settings`: what belongs to a script and not to a version."""

import falcon

from picloud.auth import Scope
from picloud.manager.settings import ScriptSettings, SettingsPatch
from picloud.messages.endpoint import endpoint
from picloud.messages.writing import send_json
from picloud.model import Settings


class SettingsResource:
    """`/api/v1/scripts/NAME/settings`"""

    def __init__(self, settings: ScriptSettings) -> None:
        self._settings = settings

    @endpoint(Scope.READ, answers={200: Settings}, problems=("not-found",))
    def on_get(self, _req: falcon.Request, resp: falcon.Response, script: str) -> None:
        """The settings that hold for a script: its own, else the server's defaults, within the operator's maxima."""
        send_json(resp, self._settings.get(script))

    @endpoint(
        Scope.DEPLOY,
        body=SettingsPatch,
        answers={200: Settings},
        problems=("not-found",),
    )
    def on_patch(self, req: falcon.Request, resp: falcon.Response, script: str, body: SettingsPatch) -> None:
        """Change settings by a JSON merge patch (RFC 7396): what is not named stays, null goes back to the default.

        200: the settings that hold now, at once. 422: `errors` names what is wrong; nothing was changed.
        A token that is limited to scripts may not add names to `kv` and `secrets`.
        """
        limited = req.context.principal.scripts is not None
        send_json(resp, self._settings.patch(script, body, limited=limited))
