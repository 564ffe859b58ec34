"""Who is signed in at `/`: a cookie that is not the token.

Owns: what the cookie says and how it is checked. Knows nothing of HTTP or tables.

It names a token and an end, and is signed with a key that is made of the token's stored hash. So every worker and node
can check it, it outlives a restart, and it dies with the token; nothing of it is kept anywhere. It opens one page.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable

from picloud.auth import Credential, Principal

SESSION_S = 12 * 60 * 60

_PURPOSE = b"picloud session v1:"  # the hash signs nothing else
_VALUE = re.compile(r"([0-9]{1,18})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")


def issue(credential: Credential, now_s: float) -> str:
    """The cookie's value for who has just shown their token."""
    claim = f"{credential.principal.id}.{int(now_s) + SESSION_S}"
    return f"{claim}.{_signature(claim, credential.secret_hash)}"


def principal_of(value: str, find: Callable[[int], Credential | None], now_s: float) -> Principal | None:
    """Who holds this session; None if it was tampered with, is over, or its token is no more.

    `find` is asked only for a session that says it is not over.
    """
    parts = _VALUE.fullmatch(value)
    if parts is None or int(parts[2]) <= now_s:
        return None
    credential = find(int(parts[1]))
    if credential is None:
        return None
    expected = _signature(f"{parts[1]}.{parts[2]}", credential.secret_hash)
    return credential.principal if hmac.compare_digest(expected, parts[3]) else None


def _signature(claim: str, secret_hash: bytes) -> str:
    signed = hmac.digest(secret_hash, _PURPOSE + claim.encode("ascii"), hashlib.sha256)
    return base64.urlsafe_b64encode(signed).rstrip(b"=").decode("ascii")
