"""Konnectors and services for tests: installed from a folder, run by a job."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.client import Client
from tests.support.serving import PASSPHRASE, Served, eventually, free_port

NAMES = ("apps", "konnectors", "jobs", "triggers", "files", "accounts", "bills", "permissions", "jobs.events")
SCOPE = tuple(f"io.cozy.{name}" for name in NAMES)


def on_localhost(folder: Path, *options: str, **environ: str) -> Served:
    """A server that is not started yet, with an instance on a name that Node can resolve.

    :param options: of `instances add`.
    """
    made = Served(folder / "data", port=free_port(), environ=environ)
    made.cli("instances", "add", f"localhost:{made.port}", "--passphrase", PASSPHRASE, *options)
    return made


def install(client: Client, folder: Path, kind: str, slug: str, script: str, **manifest: Any) -> None:
    """Install an app of one script from a folder of this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    rights = {"all": {"type": "io.cozy.files"}}
    given = {"name": slug, "slug": slug, "type": kind, "version": "1.0.0", "editor": "Us", "permissions": rights}
    extra = {"routes": {"/": {"folder": "/", "index": "index.html"}}} if kind == "webapp" else {"language": "node"}
    (folder / f"manifest.{kind}").write_text(json.dumps(given | extra | manifest))
    (folder / "index.js").write_text(script)
    (folder / "index.html").write_text("<p>")
    service = "apps" if kind == "webapp" else "konnectors"
    answer = client.api("POST", f"/{service}/{slug}?Source={quote(f'file://{folder}', safe='')}")
    assert answer.status in (200, 201, 202), answer.body
    doctype = f"io.cozy.{service}"
    eventually(lambda: client.api("GET", f"/data/{doctype}/{doctype}%2F{slug}").json.get("state") == "ready", within=30)


def push(client: Client, worker: str, message: Any, **more: Any) -> str:
    answer = client.api("POST", f"/jobs/queue/{worker}", {"data": {"attributes": {"arguments": message, **more}}})
    assert answer.status == 202, answer.body
    return str(answer.json["data"]["id"])


def ended(client: Client, id: str, *, within: float = 60) -> dict[str, Any]:
    """A job once it is over."""
    found: dict[str, Any] = {}

    def over() -> bool:
        found.update(client.api("GET", f"/jobs/{id}").json["data"]["attributes"])
        return found["state"] in ("done", "errored")

    eventually(over, within=within)
    return found
