"""Who may call a script over HTTP.

Owns: the check of the setting `access`. Knows nothing of what runs.
"""

from picloud.auth import Scope, TokenFinder, authenticate, carries_secret
from picloud.model import Access, Program


class Door:
    """Lets a request pass to a script, or not."""

    def __init__(self, tokens: TokenFinder) -> None:
        self._tokens = tokens

    def admit(self, program: Program, authorization: str | None) -> tuple[str, ...]:
        """Unauthorized or Forbidden, unless a script with ``access = "token"`` is sent a token that is good for it.

        → names of headers to withhold from the script: a token of the platform is no script's to learn, also not a
        public one's, whose owner may have changed `access` a moment ago. Any other Authorization is a public script's
        own business, and reaches it as it was sent.
        """
        if program.settings.access is Access.TOKEN:
            authenticate(authorization, self._tokens.find).require(Scope.INVOKE, program.script)
            return ("authorization",)
        return withheld(authorization)


def withheld(authorization: str | None) -> tuple[str, ...]:
    """Names of headers that a script does not get, of a request whose token opens nothing."""
    return ("authorization",) if authorization and carries_secret(authorization) else ()
