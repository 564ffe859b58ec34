"""Requests at a steady rate through Caddy, until standard input ends: `python3 load.py SITE PATH RATE`.

As a client that keeps its connections does, 16 of them. Prints how many were answered with 200, and what else came.
Run on the machine itself, by Debian's Python: nothing of ours is imported.
"""

import http.client
import json
import ssl
import sys
import threading
import time

_CONNECTIONS = 16


def main() -> None:
    """Until told to stop."""
    site, path, rate = sys.argv[1], sys.argv[2], float(sys.argv[3])
    stop = threading.Event()
    answered, others = [0] * _CONNECTIONS, []

    def ask(number: int) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # Caddy's own authority
        connection = http.client.HTTPSConnection(site, 443, timeout=60, context=context)
        next_at = time.monotonic() + number / rate
        while not stop.wait(max(0.0, next_at - time.monotonic())):
            next_at = max(next_at + _CONNECTIONS / rate, time.monotonic() - 1.0)
            try:
                connection.request("POST", path, b"x")
                response = connection.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException) as error:
                others.append(repr(error))
                connection.close()
                continue
            if response.status == 200:
                answered[number] += 1
            else:
                others.append(f"{response.status} {body[:300]!r}")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    print("started", flush=True)
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps({"answered": sum(answered), "others": others}))


if __name__ == "__main__":
    main()
