"""What an installation asks the database, as PiCloud's own user: `python -m picloud.installation.asked QUESTION`.

has-admin   `yes` if there is a token that may administer for ever, else nothing
token NAME  makes such a token → its secret
pending     the migrations that this release would apply; it fails if the database is a newer release's
"""

import contextlib
import sys

from picloud.auth import Scope, new_secret
from picloud.errors import PicloudError
from picloud.settings import load
from picloud.storage.migrate import pending
from picloud.storage.pool import Pool
from picloud.storage.tokens import TokenTable

_WAIT_MS = 10_000


def main(words: list[str]) -> int:
    """Answer on standard output."""
    try:
        print(_answer(words))  # noqa: T201 - who asked reads it
    except PicloudError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _answer(words: list[str]) -> str:
    dsn = load().database_url
    if words == ["pending"]:
        return "\n".join(pending(dsn))
    with contextlib.closing(Pool(dsn, size=1, wait_ms=_WAIT_MS)) as pool:
        tokens = TokenTable(pool)
        if words == ["has-admin"]:
            return "yes" if tokens.any_lasting_admin() else ""
        question, name = words
        assert question == "token"
        secret = new_secret()
        tokens.add(name, secret, [Scope.ADMIN])
        return secret


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
