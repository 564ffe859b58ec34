"""`make test-escapes`: one line a script; exit status 1 if one is not contained, 2 if one cannot be read."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.escapes.benches import Benches
from tests.escapes.case import BadHead, Case, corpus
from tests.escapes.trial import Verdict

_WIDTHS = "{:03}  {:<34}  {:<34}  {:<15}  {:>8}  {}"


def main() -> int:
    """Try every script of a folder on one server; those that want the probe, on another."""
    parser = argparse.ArgumentParser(prog="python -m tests.escapes")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    try:
        cases = corpus(parser.parse_args().folder)
    except BadHead as error:
        print(error, file=sys.stderr)
        return 2
    failed = 0
    with tempfile.TemporaryDirectory() as folder, Benches(Path(folder)) as benches:
        for case in cases:
            verdict = benches.of(case).try_out(case)
            failed += not verdict.contained
            print(_line(case, verdict), flush=True)
    print(f"{len(cases)} scripts, {len(cases) - failed} contained, {failed} not")
    return 1 if failed else 0


def _line(case: Case, verdict: Verdict) -> str:
    ran = "" if verdict.run_ms is None else f"{verdict.run_ms:.0f} ms"
    said = "contained" if verdict.contained else "NOT CONTAINED: " + "; ".join(verdict.faults)
    expected = " or ".join(end.outcome for end in case.expected)
    return _WIDTHS.format(case.number, case.name, expected, verdict.outcome, ran, said)


if __name__ == "__main__":
    sys.exit(main())
