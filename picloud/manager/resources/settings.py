"""`/api/v1/scripts/NAME/settings`: what belongs to a script and not to a version."""

import falcon

from picloud.auth import Scope
from picloud.errors import UnsupportedMediaType
from picloud.manager.settings import ScriptSettings, SettingsPatch
from picloud.messages.endpoint import endpoint
from picloud.messages.reading import read_json
from picloud.messages.writing import send_json
from picloud.model import Settings

_PATCH_TYPES = ("application/json", "application/merge-patch+json")


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
        media=dict.fromkeys(_PATCH_TYPES, SettingsPatch),
        answers={200: Settings},
        problems=("not-found", "body-too-large", "unsupported-media-type"),
    )
    def on_patch(self, req: falcon.Request, resp: falcon.Response, script: str) -> None:
        """Change settings by a JSON merge patch (RFC 7396): what is not named stays, null goes back to the default.

        200: the settings that hold now, at once. 422: `errors` names each field that is wrong; nothing was changed.
        """
        media_type = (req.content_type or _PATCH_TYPES[0]).partition(";")[0].strip().lower()
        if media_type not in _PATCH_TYPES:
            raise UnsupportedMediaType(f"{media_type!r} is not taken; send {' or '.join(_PATCH_TYPES)}")
        send_json(resp, self._settings.patch(script, read_json(req, SettingsPatch)))
