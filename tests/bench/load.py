"""One measurement: wrk against one URL."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

REPORT_IN_JSON = """done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('\\nRESULT {"requests": %d, "us": %d, "errors": %d, "p50_us": %d, "p99_us": %d}\\n',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Measurement:
    """What wrk saw in one go."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    errors: int  # answers that were no 2xx or 3xx, and connections that failed


def measure(wrk: str, script: Path, url: str, connections: int, seconds: int) -> Measurement:
    """Load it for a while; `script` is a file with REPORT_IN_JSON."""
    argv = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", "-s", str(script), url]
    return parse(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def parse(output: str) -> Measurement:
    """wrk's report, as our script ends it."""
    line = next(line for line in output.splitlines() if line.startswith("RESULT "))
    said = json.loads(line.removeprefix("RESULT "))
    return Measurement(
        requests_per_s=said["requests"] / (said["us"] / 1e6),
        p50_ms=said["p50_us"] / 1000,
        p99_ms=said["p99_us"] / 1000,
        errors=said["errors"],
    )
