"""One case through a running PiCloud: upload it, call it, judge how it ended, and see that the server is unharmed.

Owns: what "contained" means. Knows nothing of how a script's head is written (`case` does).
A script is contained when it ended as its head says, within its wall clock plus GRACE_MS by the record's own clock,
when the next request is right on every worker, and when the forker and the workers are still the same processes.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException

from picloud.model import Limits
from tests.escapes.case import Case, Check, Expectation
from tests.running import Answer, CutOff, Running, eventually

GRACE_MS = 250
SCRIPT, SENTINEL = "escape", "sentinel"
_SENTINEL_SOURCE = """
return function(request)
  local names = {}
  for _, place in ipairs{ _G, string, table, math, json, coroutine, getmetatable(request) or {} } do
    for name in pairs(place) do names[#names + 1] = tostring(name) end
  end
  table.sort(names)
  local round = json.decode(json.encode{ list = { 1, 2.5, "x" }, text = ("%5.1f|%q"):format(1 / 3, "\\n") })
  return { headers = { ["x-count"] = tostring(#names) }, body = { names = names, round = round, n = request.query.n } }
end
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a case ended."""

    outcome: str  # a problem's name, or the status of an answer
    run_ms: float | None  # by the invocation's own clock; None where nothing ran
    faults: tuple[str, ...]  # what is not as it should be: none, and the script was contained

    @property
    def contained(self) -> bool:
        return not self.faults


class Bench:
    """A PiCloud on which scripts are tried, and what it looked like before the first."""

    def __init__(self, picloud: Running) -> None:
        self.picloud = picloud
        self.install_sentinel()
        eventually(picloud.has_workers, bool)
        self._processes = self._lasting()
        self._lines = one_to_each_worker(picloud)
        self._asked = 0
        self._limits: Mapping[str, int] = {}
        self._healthy = self._ask(self._lines[0])

    def install_sentinel(self) -> None:
        """Upload the script whose answer tells whether a worker and its sandboxes are as they were."""
        self.picloud.deploy(SENTINEL, _SENTINEL_SOURCE)

    def close(self) -> None:
        """Hang up on the workers."""
        for line in self._lines:
            line.close()

    def try_out(self, case: Case) -> Verdict:
        """Run one case to its verdict."""
        answer = self._upload(case)
        if answer is not None:
            return Verdict(answer.problem, None, (*self._mismatches(case, answer), *self._harm()))
        try:
            answer = self._call(case)
        except (OSError, HTTPException) as error:
            return Verdict("no answer", None, (f"there was no answer: {error!r}", *self._harm()))
        faults = [*self._mismatches(case, answer), *self._overruns(case, answer), *self._repeated(case, answer)]
        return Verdict(_outcome(answer), _timing(answer).get("run"), (*faults, *self._harm()))

    def _upload(self, case: Case) -> Answer | None:
        """The refusal of the script or its limits, if there is one."""
        bundle = {"files": {"main.lua": case.source.decode("latin-1"), **case.files}}
        kind = "application/json" if case.files else "text/x-lua"
        answer = self.picloud.api("PUT", f"scripts/{SCRIPT}", bundle if case.files else case.source, kind)
        if answer.status not in (200, 201):
            return answer
        limits = {**asdict(Limits()), **case.limits}
        if limits == self._limits:  # they outlast a version
            return None
        answer = self.picloud.api("PATCH", f"scripts/{SCRIPT}/settings", {"limits": limits})
        self._limits = limits
        return None if answer.status == 200 else answer

    def _call(self, case: Case) -> Answer:
        sent = case.sent
        try:
            return self.picloud.call(sent.method, f"/fn/{SCRIPT}{sent.target}", sent.body, sent.headers)
        except CutOff as cut:
            return self._of_record(cut.answer)

    def _of_record(self, cut: Answer) -> Answer:
        """A stream that was cut off, as the problem that its record names: nobody could be told any more."""
        path = f"invocations/{cut.header('picloud-invocation')}"
        record = eventually(lambda: self.picloud.api("GET", path), lambda got: got.status == 200).json
        document = {"type": f"/problems/{record['outcome']}", "title": "cut off", "detail": record["error"]}
        names = {"content-type": "application/problem+json", "server-timing": f"run;dur={record['run_ms']}"}
        names["picloud-invocation"] = record["id"]
        text = json.dumps({**document, "status": cut.status}).encode()
        return Answer(cut.status, list(names.items()), text)

    def _mismatches(self, case: Case, answer: Answer) -> list[str]:
        """Nothing if one of the expected ends is what happened; else what the first of them misses."""
        misses = [self._misses(expected, answer) for expected in case.expected]
        return [] if [] in misses else misses[0]

    def _misses(self, expected: Expectation, answer: Answer) -> list[str]:
        outcome = _outcome(answer)
        if expected.outcome != outcome and not (expected.outcome == "ok" and outcome.isdigit()):
            return [f"ended as {outcome}: {answer.body[:300]!r}"]
        return [fault for check in expected.checks if (fault := self._miss(check, answer))]

    def _miss(self, check: Check, answer: Answer) -> str:
        found = self._texts(check.of, answer)
        if any(check.text == text if check.whole else check.text in text for text in found):
            return ""
        return f"{check.of} is {[text[:300] for text in found]}"

    def _texts(self, of: str, answer: Answer) -> list[str]:
        if of == "body":
            return [answer.body.decode("latin-1")]
        if of == "detail":
            document = answer.json
            errors = [error["message"] for error in document.get("errors", ())]
            return [document["detail"], *errors]
        if of == "log":
            record = self.picloud.record_of(answer)
            items = self.picloud.api("GET", f"logs?invocation={record['id']}&limit=200").json["items"]
            return [item["message"] for item in items]
        return [value for name, value in answer.headers if name == of.removeprefix("header.")]

    def _overruns(self, case: Case, answer: Answer) -> list[str]:
        """Nothing if it keeps to its time once in three times: on a busy machine any clock may ring late."""
        for _ in range(2):
            if not _overruns(case, answer):
                return []
            answer = self._call(case)
        return _overruns(case, answer)

    def _repeated(self, case: Case, first: Answer) -> list[str]:
        if not case.again:
            return []
        same = self._call(case).body == first.body
        return (
            [] if same == (case.again == "same") else [f"asked again it answers {'the same' if same else 'otherwise'}"]
        )

    def _harm(self) -> list[str]:
        """What the script did to others."""
        try:
            answers = [self._ask(line) for line in self._lines]
        except (OSError, HTTPException) as error:
            self._lines = one_to_each_worker(self.picloud)
            return [f"a worker hung up: {error!r}"]
        faults = [f"a worker answers {answer!r}" for answer in answers if answer != self._healthy]
        if (now := self._lasting()) != self._processes:
            faults.append(f"the processes were {self._processes} and are {now}")
            self._processes = now
        return faults

    def _ask(self, line: HTTPConnection) -> object:
        """What the sentinel says on one connection, without the number that it must give back."""
        self._asked += 1
        line.request("GET", f"/fn/{SENTINEL}?n={self._asked}")
        response = line.getresponse()
        body = response.read()
        with suppress(ValueError, KeyError, TypeError):
            document = json.loads(body)
            if document.pop("n") == str(self._asked):
                return response.status, document
        return response.status, body

    def _lasting(self) -> tuple[list[int], list[int]]:
        """The processes that outlive an invocation."""
        return [self.picloud.zygote()], self.picloud.workers()


def one_to_each_worker(picloud: Running) -> list[HTTPConnection]:
    """A kept-alive connection to each worker."""
    return [_greeted(picloud.port) for _ in picloud.by_each_worker()]


def _greeted(port: int) -> HTTPConnection:
    """A connection over which a worker has answered."""
    line = HTTPConnection("127.0.0.1", port, timeout=60)
    line.request("GET", "/healthz")
    with line.getresponse() as response:
        response.read()
    return line


def _outcome(answer: Answer) -> str:
    """A problem's name; the status if the script answered, or forged a problem that is none."""
    if answer.header("content-type") == "application/problem+json":
        with suppress(AssertionError, ValueError, LookupError, TypeError):
            return answer.problem
    return str(answer.status)


def _timing(answer: Answer) -> dict[str, float]:
    """Server-Timing in ms: the numbers of the invocation's record, at once."""
    return {name: float(ms) for name, ms in re.findall(r"(\w+);dur=([\d.]+)", answer.header("server-timing") or "")}


def _overruns(case: Case, answer: Answer) -> list[str]:
    run_ms, wall_ms = _timing(answer).get("run", 0), case.limits.get("wall_ms", Limits().wall_ms)
    return [f"it ran for {run_ms} ms, its limit is {wall_ms}"] if run_ms > wall_ms + GRACE_MS else []
