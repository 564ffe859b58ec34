"""What follows an answer that points elsewhere: section 4.4 of the Fetch standard. Pure.

Owns: which method, headers and body go on to the next URL. Whether that one may be called is not asked here.
"""

from dataclasses import replace

from picloud.errors import InvalidRequest, NoAnswer
from picloud.orchestrator.outbound.messages import Outgoing
from picloud.orchestrator.outbound.urls import Url, joined

STATUSES = frozenset((301, 302, 303, 307, 308))
_OF_THE_BODY = frozenset(("content-encoding", "content-language", "content-location", "content-type"))
_OF_THE_ORIGIN = frozenset(("authorization", "cookie"))


def following(sent: Outgoing, status: int, location: str) -> Outgoing:
    """The request that follows; NoAnswer if it leads nowhere."""
    try:
        url = joined(sent.url, location)
    except (InvalidRequest, ValueError) as error:  # urljoin's
        raise NoAnswer(f"the answer redirects to what is no URL: {error}") from None
    return _without_secrets(_turned(sent, status), url)


def _turned(sent: Outgoing, status: int) -> Outgoing:
    """Some redirects turn a request into a GET without a body."""
    seen_other = status == 303 and sent.method not in ("GET", "HEAD")
    if not seen_other and not (status in (301, 302) and sent.method == "POST"):
        return sent
    return replace(sent, method="GET", headers=_but(sent, _OF_THE_BODY), body=b"")


def _without_secrets(sent: Outgoing, url: Url) -> Outgoing:
    """What one server may know is not for another."""
    if url.origin == sent.url.origin:
        return replace(sent, url=url)
    return replace(sent, url=url, headers=_but(sent, _OF_THE_ORIGIN))


def _but(sent: Outgoing, names: frozenset[str]) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in sent.headers if pair[0] not in names)
