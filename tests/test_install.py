"""The package, built and installed without the checkout: `cozyd` serves, with its pages and assets."""

import http.client
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.serving import eventually, free_port, run

CHECKOUT = Path(__file__).parent.parent
SOURCES = ("cozyd", "blueprints", "dav", "workers", "static", "setup.py", "setup.cfg", "requirements.in", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the wheel's content."""
    folder = tmp_path_factory.mktemp("install")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (CHECKOUT / name).is_dir() else shutil.copy
        copy(CHECKOUT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    built = run([*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", str(folder), str(source)], timeout=60)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    target = folder / "target"
    done = run([*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)], timeout=60)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(source)
    return target


@pytest.fixture(scope="module")
def environ(installed: Path) -> dict[str, str]:
    """Where the installed package is found, and an own data folder; the dependencies are this interpreter's."""
    port = str(free_port())
    given = {"PYTHONPATH": str(installed), "COZYD_STORAGE_PATH": str(installed.parent / "data"), "COZYD_SERVER_PORT": port}
    return {name: value for name, value in os.environ.items() if not name.startswith("COZYD_")} | given


@pytest.fixture(scope="module")
def port(installed: Path, environ: dict[str, str]) -> Iterator[int]:
    """The port of the installed server."""
    port = int(environ["COZYD_SERVER_PORT"])
    command = [str(installed / "bin" / "cozyd"), "serve", "--first-run", "alice.localhost"]
    process = subprocess.Popen(command, env=environ, cwd=installed.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    eventually(lambda: process.poll() is not None or answers(port), within=20)
    yield port
    process.terminate()
    assert process.wait(10) == 0


def answers(port: int) -> bool:
    try:
        return ask(port, "/status")[0] == 200
    except OSError:
        return False


def ask(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": f"alice.localhost:{port}", "Accept": "text/html"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def test_the_package_has_every_module_and_nothing_of_the_checkout(installed: Path):
    def modules(top: Path) -> set[str]:
        return {str(path.relative_to(top)) for name in ("cozyd", "blueprints", "dav", "workers") for path in (top / name).rglob("*.py")}

    assert modules(installed) == modules(CHECKOUT)
    assert not {"tests", "benchmarks", "stubs", "static", "scripts"} & {path.name for path in installed.iterdir()}


def test_the_package_has_every_page_and_asset(installed: Path):
    def below(top: Path) -> set[str]:
        return {str(path.relative_to(top)) for name in ("pages", "assets") for path in (top / name).rglob("*") if path.is_file()}

    assert below(installed / "cozyd" / "_static") == below(CHECKOUT / "static")


def test_the_installed_command_serves_pages_and_what_they_load(installed: Path, port: int):
    status, page = ask(port, "/auth/login")
    assert (status, 'id="login-form"' in page) == (200, True)
    loaded = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)
    assert len(loaded) == 5
    assert [ask(port, one)[0] for one in loaded] == [200] * 5
    assert ask(port, "/nothing")[0] == 404


def test_the_installed_command_is_the_operator_s_too(installed: Path, environ: dict[str, str], port: int):
    def cozyd(*arguments: str) -> str:
        done = run([str(installed / "bin" / "cozyd"), *arguments], env=environ, cwd=installed.parent, timeout=20)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    assert f"alice.localhost:{port}" in cozyd("instances", "list")
    cozyd("instances", "add", "bob.localhost", "--passphrase", "p")
    assert f"port = {port}" in cozyd("config", "show")
    assert "All is well." in cozyd("config", "check")
    assert cozyd("token", "bob.localhost", "io.cozy.files").count(".") == 2
    where = run([sys.executable, "-c", "import cozyd; print(cozyd.__file__)"], env=environ, cwd=installed.parent, timeout=20)
    assert where.stdout.startswith(str(installed))
