"""Start all, measure in turns, say what came out."""

import argparse
import contextlib
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from tests.bench import contenders, jobs, report
from tests.bench.contenders import Contender
from tests.bench.load import REPORT_IN_JSON, measure
from tests.bench.report import Result

CONNECTIONS = 16
QUICK = (3, 2)  # repetitions, seconds of each measurement
THOROUGH = (7, 4)
_JOBS = 500  # of each repetition
_REST_S = 0.5  # between measurements: each begins with all at rest


def main() -> int:
    """Exit status 2 if something is missing, 1 if a contender does not do what it should."""
    options = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    options.add_argument("--json", type=Path, default=Path("build/bench.json"), help="where to write the numbers")
    path: Path = options.parse_args().json
    if missing := [program for program in contenders.PROGRAMS if not contenders.find(program)]:
        packages = " ".join(contenders.PROGRAMS[program] for program in missing)
        sys.stderr.write(f"bench: missing: {', '.join(missing)}; install with: apt-get install {packages}\n")
        return 2
    signal.signal(signal.SIGTERM, _stop)
    load = os.getloadavg()[0]
    repetitions, seconds = QUICK if os.environ.get("QUICK", "0") not in ("", "0") else THOROUGH
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="picloud-bench-")))
        started = _start(stack, folder)
        able = [contender for contender in started if _is_able(contender)]
        results = _measure(able, folder, repetitions, seconds)
        later = jobs.measure(folder, _JOBS, repetitions, 2 * seconds)
    said = report.warnings(results, load, os.cpu_count() or 1)
    facts = _facts(load, repetitions, seconds)
    print(f"\n{report.table(results, CONNECTIONS)}\n")
    print(later.line())
    print(f"Medians of {repetitions} repetitions of {seconds} s, in turns; {facts['machine']}.")
    print("".join(f"note: {line}\n" for line in said), end="")
    path.parent.mkdir(parents=True, exist_ok=True)
    document = report.document(results, facts, said) | {"jobs": later.document()}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"Numbers: {path}")
    return 0 if len(able) == len(started) else 1


def _start(stack: contextlib.ExitStack, folder: Path) -> list[Contender]:
    ours = stack.enter_context(contenders.picloud(folder))
    others = stack.enter_context(contenders.cgi(folder))
    return [ours, *others, stack.enter_context(contenders.bare(folder))]


def _is_able(contender: Contender) -> bool:
    """Left out if it does not answer: bubblewrap is forbidden in many containers."""
    trouble = contenders.await_hello(contender)
    if trouble:
        print(f"note: left out: {contender.name}: {trouble}", file=sys.stderr)
    return not trouble


def _measure(able: Sequence[Contender], folder: Path, repetitions: int, seconds: int) -> list[Result]:
    wrk, script = contenders.find("wrk") or "wrk", folder / "report.lua"
    script.write_text(REPORT_IN_JSON)
    results = [Result(contender.name, contender.about) for contender in able]
    for contender in able:  # warm, not counted
        measure(wrk, script, contender.url, CONNECTIONS, 1)
    for repetition in range(repetitions):
        for contender, result in zip(able, results, strict=True):
            print(f"\r{repetition + 1}/{repetitions} {contender.name:12}", end="", file=sys.stderr, flush=True)
            for connections, into in ((1, result.one), (CONNECTIONS, result.many)):
                time.sleep(_REST_S)
                into.append(measure(wrk, script, contender.url, connections, seconds))
    print(file=sys.stderr)
    return results


def _facts(load: float, repetitions: int, seconds: int) -> dict[str, Any]:
    machine = f"{os.cpu_count()} processors, {platform.machine()}, Linux {platform.release()}"
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine, "load_before": load,
        "python": platform.python_version(), "repetitions": repetitions, "seconds": seconds, "connections": CONNECTIONS,
    }  # fmt: skip


def _stop(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main())
