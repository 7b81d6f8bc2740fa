"""`/status`, `/version`, `/connection_check`: answered on every host, known or not (docs/http/status.md)."""

import platform
import time
from collections.abc import Callable

from flask import Response, current_app

from blueprints._documents import answer
from blueprints._request import Service, public
from cozyd import __version__
from cozyd.errors import CozyError
from cozyd.jobs.runner import MOST_LOST
from cozyd.stack import Stack

service = Service("status", __name__)


@service.get("/status", access=public)
@service.get("/status/", access=public)
def status() -> Response:
    """Whether the stores answer, and how fast; 502 when one does not. `degraded`: too many jobs did not end, or Redis is away."""
    stack: Stack = current_app.extensions["cozyd"]
    checks: dict[str, Callable[[], None]] = {"couchdb": stack.ping_documents, "fs": stack.drivers.blobs.ping, "cache": stack.ping_cache}
    latency: dict[str, str] = {}
    states: dict[str, str] = {}
    for name, ping in checks.items():
        began = time.perf_counter()
        try:
            ping()
            states[name] = "healthy"
        except CozyError as error:
            states[name] = error.detail
        latency[name] = f"{(time.perf_counter() - began) * 1e6:.3f}µs"
    well = states["couchdb"] == states["fs"] == "healthy"
    worn = stack.runner.lost >= MOST_LOST or states["cache"] != "healthy"
    word = "KO" if not well else "degraded" if worn else "OK"
    return answer(states | {"latency": latency, "status": word, "message": word}, 200 if well else 502)


@service.get("/version", access=public)
@service.get("/version/", access=public)
def version() -> Response:
    """What is running."""
    shown = {"version": __version__, "runtime_version": f"python{platform.python_version()}", "build_mode": "production", "build_time": ""}
    return answer(shown)


@service.get("/connection_check", access=public)
def connection_check() -> Response:
    """A quick sign that the server is reached."""
    return Response(status=204)
