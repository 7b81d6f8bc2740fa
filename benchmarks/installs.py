"""Installs at once, from a process of their own: their threads are not to be in the way of who watches the server."""

import http.client
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import quote


def install(port: str, domain: str, token: str, source: str, number: int) -> None:
    """Install an app under a name of its own, and read its events to the end."""
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=120)
    headers = {"Host": domain, "Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    connection.request("POST", f"/apps/beside-{number}?Source={quote(source, safe='')}", headers=headers)
    events = connection.getresponse().read()
    if b'"state":"ready"' not in events:
        raise SystemExit(f"install {number}: {events[-300:]!r}")


def main() -> None:
    """`python -m benchmarks.installs PORT DOMAIN TOKEN SOURCE COUNT`."""
    *given, count = sys.argv[1:]
    with ThreadPoolExecutor(int(count)) as pool:
        port, domain, token, source = given
        list(pool.map(partial(install, port, domain, token, source), range(int(count))))


if __name__ == "__main__":
    main()
