"""GET and durable PUT of documents through HTTP, beside bare Flask and bare commits."""

import json
from functools import partial
from pathlib import Path
from urllib.request import Request, urlopen

from benchmarks.load import bare_commits, floor, medians, table, verdict, wrk
from tests.support.serving import Served

SIZE = 900
PLAIN, CONTACTS = "io.cozy.benchmarks", "io.cozy.contacts"


def document(doctype: str) -> dict[str, object]:
    """About 900 bytes, of a doctype without and one with projections."""
    if doctype == PLAIN:
        return {"text": "x" * (SIZE - 12)}
    name = {"familyName": "Curie", "givenName": "Marie"}
    mails = [{"address": f"marie{number}@example.org", "type": "home"} for number in range(6)]
    return {"name": name, "fullname": "Marie Curie", "email": mails, "note": "x" * 500}


def measure(server: Served, folder: Path) -> None:
    """Print the table."""
    token = server.token(PLAIN, CONTACTS)
    base = f"http://localhost:{server.port}"
    head = f'wrk.headers["Authorization"] = "Bearer {token}"\n'
    rows = []
    with floor(SIZE) as bare:
        for doctype in (PLAIN, CONTACTS):
            body = json.dumps(document(doctype)).encode()
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            urlopen(Request(f"{base}/data/{doctype}/one", data=body, headers=headers, method="PUT")).close()
            for clients in (1, 8):
                ours, theirs = medians(
                    partial(wrk, f"{base}/data/{doctype}/one", head, clients),
                    partial(wrk, f"{bare}/data/x/one", "", clients),
                )
                bar = 0.7 if clients == 1 else 0.6
                rows.append(
                    (
                        f"GET {doctype}, {clients} client(s)",
                        f"{ours:.0f}/s, {ours / theirs:.2f} of the floor",
                        f">= {bar}",
                        verdict(ours / theirs >= bar),
                    )
                )
            rows.append(_puts(base, bare, head, doctype, folder))
    table("documents (a floor is bare Flask on waitress in the same run)", rows)


def _puts(base: str, bare: str, head: str, doctype: str, folder: Path) -> tuple[str, str, str, str]:
    text = json.dumps(json.dumps(document(doctype)))
    common = f'wrk.method = "PUT"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = {text}\n'
    runs = iter(range(1000))

    def script() -> str:
        names = f'local n = 0\nfunction request() n = n + 1; return wrk.format(nil, wrk.path .. "r{next(runs)}-" .. n) end\n'
        return head + common + names

    ours, theirs, commits = medians(
        lambda: wrk(f"{base}/data/{doctype}/", script(), 1),
        lambda: wrk(f"{bare}/data/x/one", common, 1),
        lambda: bare_commits(folder, SIZE),
    )
    bar = min(0.35 * theirs, 0.6 * commits)
    shown = f"{ours:.0f}/s, {ours / theirs:.2f} of the floor, {ours / commits:.2f} of {commits:.0f} bare commits/s"
    return f"durable PUT {doctype}, 1 client", shown, f">= {bar:.0f}/s", verdict(ours >= bar)
