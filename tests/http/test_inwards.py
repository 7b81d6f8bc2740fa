"""Every place where an app, a registry or a source says what is to be asked: none leads to this machine or its network."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from cozyd import outbound as module
from cozyd.apps.npm import fetch_npm
from cozyd.apps.registry import Registries, RemoteRegistry
from cozyd.apps.registrysource import RegistrySource
from cozyd.cache import LocalCache
from cozyd.config import Apps
from cozyd.errors import CozyError
from cozyd.outbound import Outbound
from tests.support import apps, ssrf
from tests.support.canary import Asked, Canary
from tests.support.inprocess import Place, Tenant


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    """On what is a usual port for the time of these tests, so that nothing is refused for its port alone."""
    with pytest.MonkeyPatch.context() as patch, Canary() as bird:
        patch.setattr(module, "PORTS", {"http": bird.port, "https": bird.port})
        yield bird


@pytest.fixture(scope="module")
def shapes(canary: Canary) -> Sequence[str]:
    return [shape.replace("{p}", str(canary.port)) for shape in ssrf.SHAPES]


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory, canary: Canary, shapes: Sequence[str]) -> Iterator[Tenant]:
    """Her operator lets apps ask every host of the shapes, and wrote each of them down for a doctype: that must not be enough."""
    requests = tmp_path_factory.mktemp("requests")
    for number, shape in enumerate(shapes):
        (requests / f"org.shape{number}").mkdir()
        (requests / f"org.shape{number}" / "request").write_text(f"GET {shape}\n")
    hosts = {found for shape in shapes if (found := host_of(shape))}
    listed = " ".join(sorted(hosts | {f"http://{host}" for host in hosts}))
    place = Place(tmp_path_factory.mktemp("inwards") / "data", apps=Apps(proxy=listed, requests=requests))
    place.stack.drivers.outbound._resolve = ssrf.resolve
    yield place.tenant()
    place.stack.close()


@pytest.fixture(autouse=True)
def nothing_is_asked(canary: Canary) -> Iterator[None]:
    canary.asked.clear()
    yield
    assert [asked.path for asked in canary.asked if asked.path != "/metadata/tiny"] == []


def host_of(shape: str) -> str:
    with contextlib.suppress(ValueError):
        return urlsplit(shape).hostname or ""
    return ""


def test_the_proxy_leads_nowhere_inside(alice: Tenant, shapes: Sequence[str]):
    token = alice.instance.auth.cli_token("io.cozy.proxy")
    statuses = {shape: alice.ask("GET", f"/proxy?url={quote(shape, safe='')}", token=token).status_code for shape in shapes}
    assert {shape: status for shape, status in statuses.items() if status not in (400, 403, 502)} == {}


def test_a_request_that_was_written_down_leads_nowhere_inside(alice: Tenant, shapes: Sequence[str]):
    scope = " ".join(f"org.shape{number}" for number in range(len(shapes)))
    token = alice.instance.auth.cli_token(scope)
    for number, shape in enumerate(shapes):
        assert alice.ask("GET", f"/remote/org.shape{number}", token=token).status_code in (400, 403, 500, 502), shape


@pytest.mark.parametrize("form", ["{}", "git+{}", "hg+{}"])
def test_a_source_leads_nowhere_inside(alice: Tenant, shapes: Sequence[str], form: str, tmp_path: Path):
    sources = alice.stack.apps.sources
    for number, shape in enumerate(shape for shape in shapes if shape.startswith("http")):
        scratch = tmp_path / str(number)
        scratch.mkdir()
        with pytest.raises(CozyError):
            sources.fetch(form.format(shape), "webapp", "tiny", scratch)


def test_a_registry_leads_nowhere_inside(alice: Tenant, shapes: Sequence[str]):
    for shape in shapes:
        registry = RemoteRegistry(shape, alice.stack.drivers.outbound, LocalCache())
        for ask in (lambda one: one.app("tiny"), lambda one: one.apps({}), lambda one: one.image("tiny", "", "icon")):
            with pytest.raises(CozyError):
                ask(registry)


class Lying:
    """A registry whose archives lie inside."""

    def __init__(self, url: str) -> None:
        manifest = apps.manifest()
        self.described: dict[str, Any] = {"slug": "tiny", "version": "1.0.0", "url": url, "sha256": "0" * 64, "manifest": manifest}

    def app(self, slug: str) -> dict[str, Any]:
        return {"slug": "tiny"}

    def latest(self, slug: str, channel: str) -> dict[str, Any]:
        return self.described


def test_the_archive_of_a_registry_leads_nowhere_inside(alice: Tenant, shapes: Sequence[str], tmp_path: Path):
    for number, shape in enumerate(shapes):
        scratch = tmp_path / str(number)
        scratch.mkdir()
        lying: Any = Lying(shape)
        fetched = RegistrySource(Registries([lying]), alice.stack.drivers.outbound)("registry://tiny", "webapp", "tiny", scratch)
        with pytest.raises(CozyError):
            fetched.fill(scratch / "files")


def test_the_tarball_of_a_package_leads_nowhere_inside(canary: Canary, shapes: Sequence[str], tmp_path: Path):
    """The registry itself is the operator's own, on a private address that she allows: by its name, and no other."""
    own = "npm.example"
    outbound = Outbound([own], resolve=lambda host, port: ["127.0.0.1"] if host == own else ssrf.resolve(host, port))
    here = f"http://{own}:{canary.port}/metadata"
    for number, shape in enumerate(shapes):
        answer = {
            "dist-tags": {"latest": "1.0.0"},
            "versions": {"1.0.0": {"version": "1.0.0", "dist": {"tarball": shape, "integrity": "x"}}},
        }
        canary.reply = answering(answer)
        scratch = tmp_path / str(number)
        scratch.mkdir()
        with pytest.raises(CozyError):
            fetch_npm(outbound, here, "npm:tiny", "webapp", "tiny", scratch)
    assert len(canary.asked) == len(shapes)


def answering(body: Mapping[str, Any]) -> Any:
    def reply(_: Asked) -> tuple[int, Mapping[str, str], bytes]:
        return 200, {}, json.dumps(body).encode()

    return reply
