"""Apps: a file of one beside waitress' bare file wrapper, an index page, the memory of 200 hosts, `/status` beside 50 installs."""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from werkzeug.test import Client as WsgiClient

from benchmarks.load import medians, table, verdict, wait_for, wrk
from blueprints import create_app
from cozyd.apps import Order
from cozyd.auth import Credentials
from cozyd.config import Config, Storage
from cozyd.server.wsgi import Front
from cozyd.stack import Stack
from tests.support import apps
from tests.support.client import Client
from tests.support.serving import Served, free_port

SIZE = 100_000
CONNECTIONS, PAGES, INSTANCES = 8, 500, 100
INSTALLS = 50
ASSET, PAGE_MS, MEMORY_MB, STATUS_S = 1.15, 2.0, 5.0, 0.1


def measure(server: Served, folder: Path) -> None:
    """Print the table."""
    content = apps.files() | {"public/app.0123456789abcdef.js": b"x" * SIZE, "public/plain.bin": bytes(range(256)) * (SIZE // 256)}
    source = apps.folder(folder / "bench-app", content)
    server.cli("apps", "install", server.domain, "bench", str(source))
    with floor(source / "public" / "plain.bin") as bare:
        script = f'wrk.headers["Host"] = "bench.{server.domain}"'
        ours, theirs = medians(
            partial(wrk, f"http://127.0.0.1:{server.port}/public/plain.bin", script, CONNECTIONS), partial(wrk, bare, "", CONNECTIONS)
        )
    page, memory = _in_process(folder, source)
    waited = _beside_installs(server, source)
    rows = [
        ("a file of 100 kB", f"{theirs / ours:.2f} x the bare file wrapper", f"<= {ASSET}", verdict(theirs / ours <= ASSET)),
        ("an index page", f"{page:.2f} ms of processor time", f"<= {PAGE_MS} ms", verdict(page <= PAGE_MS)),
        ("200 hosts of 100 instances", f"{memory:.1f} MB more", f"<= {MEMORY_MB} MB", verdict(memory <= MEMORY_MB)),
        (
            f"/status beside {INSTALLS} installs",
            f"{waited * 1000:.0f} ms at most",
            f"<= {STATUS_S * 1000:.0f} ms",
            verdict(waited <= STATUS_S),
        ),
    ]
    table("apps", rows)


@contextmanager
def floor(file: Path) -> Iterator[str]:
    """The bare server; its address."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.assetfloor", str(port), str(file)], start_new_session=True)
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait()


def _beside_installs(server: Served, source: Path) -> float:
    """The longest that `/status` took while so many installs with event streams were under way, in seconds."""
    client = Client(server, scope=("io.cozy.apps",))
    given = [str(server.port), server.domain, client.token, source.as_uri(), str(INSTALLS)]
    installs, longest = subprocess.Popen([sys.executable, "-m", "benchmarks.installs", *given]), 0.0
    while installs.poll() is None:
        began = time.perf_counter()
        assert client.ask("GET", "/status").status == 200
        longest = max(longest, time.perf_counter() - began)
    assert installs.returncode == 0
    return longest


def _in_process(folder: Path, source: Path) -> tuple[float, float]:
    """Milliseconds of processor time for an index page, and the megabytes that a hundred instances' two app hosts take."""
    stack = Stack(Config(storage=Storage(path=folder / "apps-bench")))
    try:
        client = WsgiClient(Front(stack, create_app(stack).wsgi_app, {}, stack.config.limits), use_cookies=False)
        domains = [f"i{number}.localhost" for number in range(INSTANCES)]
        cookies = [_prepared(stack, domain, source) for domain in domains]
        _page(client, "one", domains[0], cookies[0])
        began = time.process_time()
        for _ in range(PAGES):
            _page(client, "one", domains[0], cookies[0])
        page = (time.process_time() - began) / PAGES * 1000
        for domain in domains:  # their documents are open now; what is measured are the hosts
            _ask(client, f"{domain}", "/auth/login")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for domain, cookie in zip(domains, cookies, strict=True):
            for slug in ("one", "two"):
                _page(client, slug, domain, cookie)
        return page, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    finally:
        stack.close()


def _prepared(stack: Stack, domain: str, source: Path) -> dict[str, str]:
    """Two apps for a new instance; the cookies of their hosts."""
    instance = stack.create(domain)
    stack.modify(domain, onboarding_finished=True)
    for slug in ("one", "two"):
        instance.apps.install(Order("webapp", slug, source.as_uri()), lambda _: None)
    session = instance.auth.sessions.id_of(instance.auth.open_session(Credentials(), long_run=True))
    return {slug: instance.auth.handover.cookie(session, instance.app_host(slug)) for slug in ("one", "two")}


def _page(client: WsgiClient, slug: str, domain: str, cookies: dict[str, str]) -> None:
    answer = _ask(client, f"{slug}.{domain}", "/", Cookie=f"cozysessid={cookies[slug]}")
    assert answer.status_code == 200, answer.status


def _ask(client: WsgiClient, host: str, path: str, **headers: str) -> Any:
    answer = client.get(path, headers={"Host": host, **headers}, buffered=True)
    answer.close()
    return answer
