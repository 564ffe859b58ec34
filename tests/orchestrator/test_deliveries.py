"""What is written where a delivery cannot be checked: enough to mend it, and no secret."""

import logging

import falcon
import pytest
from falcon.testing import create_req

from picloud.errors import ConfigurationError, Unauthorized
from picloud.model import AddedJob, NewJob, Preset, Program, Request, Settings, Webhook
from picloud.orchestrator.deliveries import Deliveries
from picloud.sealing import CannotOpen

VALUE = "whsec_this is no base64"
WEBHOOK = Webhook(Preset.STANDARD, "HOOKS")
PROGRAM = Program("hook", 1, {}, Settings(webhook=WEBHOOK))
HEADERS = (("webhook-id", "1"), ("webhook-timestamp", "1"), ("webhook-signature", "v1,x"))


class Values:
    """Has one value, or cannot get at it; counts how often it was asked."""

    def __init__(self, value: str | Exception | None) -> None:
        self._value = value
        self.asked = 0

    def get(self, name: str) -> str | None:
        assert name == "HOOKS"
        self.asked += 1
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


class Nowhere:
    """Takes no job."""

    def add(self, job: NewJob) -> AddedJob:
        raise AssertionError(job)


class Sent:
    """A request with these headers."""

    caller = None

    def __init__(self, *headers: tuple[str, str]) -> None:
        self._headers = headers

    def read(self, invocation_id: str, body_bytes_max: int) -> Request:
        assert body_bytes_max == PROGRAM.settings.limits.request_bytes
        return Request(invocation_id, "POST", "/", "", self._headers, b"{}")


def refused(values: Values, *headers: tuple[str, str]) -> str:
    asked = create_req(method="POST")
    with pytest.raises(Unauthorized) as caught:
        Deliveries(values, Nowhere()).take(PROGRAM, WEBHOOK, Sent(*headers), asked, falcon.Response())
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "logged"),
    [
        (VALUE, "webhooks of 'hook' cannot be checked: secret 'HOOKS': it is no base64"),
        ("\n", "webhooks of 'hook' cannot be checked: secret 'HOOKS': it has 0 lines"),
        (CannotOpen("another key"), "webhooks of 'hook' cannot be checked: secret 'HOOKS': another key"),
        (ConfigurationError("no keys"), "webhooks of 'hook' cannot be checked: secret 'HOOKS': no keys"),
    ],
)
def test_a_secret_that_cannot_be_used_is_the_logs_business(
    value: str | Exception, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert "HOOKS" not in refused(Values(value), *HEADERS)
    ((_, level, line),) = caplog.record_tuples
    assert (level, line.startswith(logged), VALUE in line) == (logging.ERROR, True, False)


def test_what_has_no_signature_costs_no_look_up_and_no_line(caplog: pytest.LogCaptureFixture) -> None:
    values = Values(None)
    assert "is missing" in refused(values)
    assert values.asked == 0
    assert "is not set" in refused(values, *HEADERS)
    assert values.asked == 1
    assert not caplog.records
