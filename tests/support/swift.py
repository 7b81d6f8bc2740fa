"""A real OpenStack Swift of Debian's packages: proxy, account, container and object server, one replica, tempauth."""

import getpass
import http.client
import importlib.util
import os
import shutil
import socket
import subprocess
from functools import partial
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import quote

import pytest

from tests.support.serving import eventually, free_port

SYSTEM_PYTHON = "/usr/bin/python3"
PROGRAMS = ("memcached", "swift-proxy-server", "swift-account-server", "swift-container-server", "swift-object-server")
ACCOUNT, USER, PASSWORD = "cloud", "tester", "secret/k&y"

_RINGS = """
import sys
from swift.common.ring import RingBuilder
folder, *ports = sys.argv[1:]
for kind, port in zip(("account", "container", "object"), ports):
    builder = RingBuilder(3, 1, 0)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "disk", "weight": 1,
                     "replication_ip": "127.0.0.1", "replication_port": int(port)})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{kind}.ring.gz")
"""
_STORAGE = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
user = {user}
log_statsd_host =
fallocate_reserve = 0
disable_fallocate = true
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
[{kind}-replicator]
[{kind}-updater]
[{kind}-auditor]
[object-reconstructor]
[container-sync]
"""
_PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
swift_dir = {folder}
user = {user}
[pipeline:main]
pipeline = catch_errors cache bulk s3api tempauth copy slo dlo versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
node_timeout = 10
[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{user_name} = {key} .admin
storage_url_scheme = http
[filter:s3api]
use = egg:swift#s3api
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{cache}
[filter:bulk]
use = egg:swift#bulk
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
"""


def needs_swift() -> None:
    """Skip, with a reason, where Swift cannot run; never in CI."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"{missing[0]} is not installed: run scripts/install-debian.sh")
    assert not missing
    assert importlib.util.find_spec("swiftclient") is not None


def connect(swift: "Swift") -> Any:
    """Swift's own client of it."""
    from swiftclient.client import Connection

    return Connection(f"http://{swift.netloc}/auth/v1.0", f"{ACCOUNT}:{USER}", PASSWORD, retries=0)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Swift:
    """One Swift over a folder; its four servers are children of this process.

    :param folder: on a file system with extended attributes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self._cache, *self._ports = (free_port() for _ in range(5))
        self._children: list[subprocess.Popen[bytes]] = []
        self._log: IO[bytes] | None = None

    @property
    def netloc(self) -> str:
        """Where the proxy listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """What `storage.blobs` has to be."""
        return self.address_by(self.netloc)

    @staticmethod
    def address_by(netloc: str) -> str:
        """As `address`, by way of a proxy."""
        return f"swift://{netloc}/auth/v1.0?UserName={ACCOUNT}:{USER}&Password={quote(PASSWORD, safe='')}"

    def s3(self, bucket: str) -> str:
        """What `storage.blobs` has to be for the S3 door that Swift has."""
        return f"s3://{self.netloc}/{bucket}?AccessKey={ACCOUNT}:{USER}&SecretKey={quote(PASSWORD, safe='')}"

    def start(self) -> Self:
        """Start, or start again over what is there."""
        if not (self.folder / "swift.conf").exists():
            self._set_up()
        self._log = (self.folder / "log").open("ab")
        self._run("memcached", "-l", "127.0.0.1", "-p", str(self._cache), "-u", getpass.getuser())
        for name in ("account", "container", "object"):
            self._run_server(name)
        for port in (self._cache, *self._ports):  # the proxy would not ask for a minute who does not answer at first
            eventually(partial(_listens, port), within=30)
        self._run_server("proxy")
        eventually(self._answers, within=30)
        return self

    def stop(self) -> None:
        """End the servers; what is stored stays."""
        for child in self._children:
            child.kill()
            child.wait()
        self._children.clear()
        if self._log is not None:
            self._log.close()
            self._log = None

    def objects(self) -> list[Path]:
        """The files of all objects that are there."""
        return sorted((self.folder / "devices").rglob("objects/**/*.data"))

    def _run(self, *command: str) -> None:
        self._children.append(subprocess.Popen(command, stdout=self._log, stderr=self._log, start_new_session=True))

    def _run_server(self, name: str) -> None:
        self._run(SYSTEM_PYTHON, str(shutil.which(f"swift-{name}-server")), str(self.folder / f"{name}.conf"))

    def _set_up(self) -> None:
        (self.folder / "devices" / "disk").mkdir(parents=True)
        user = getpass.getuser()
        (self.folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = test\nswift_hash_path_prefix = test\n")
        for kind, port in zip(("account", "container", "object"), self._ports, strict=True):
            (self.folder / f"{kind}.conf").write_text(_STORAGE.format(kind=kind, port=port, folder=self.folder, user=user))
        named = {"user": user, "account": ACCOUNT, "user_name": USER, "key": PASSWORD}
        proxy = _PROXY.format(port=self.port, cache=self._cache, folder=self.folder, **named)
        (self.folder / "proxy.conf").write_text(proxy)
        subprocess.run([SYSTEM_PYTHON, "-c", _RINGS, str(self.folder), *map(str, self._ports)], check=True, timeout=60)

    def _answers(self) -> bool:
        """Whether a container can be made: all four servers are up."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/auth/v1.0", headers={"X-Auth-User": f"{ACCOUNT}:{USER}", "X-Auth-Key": PASSWORD})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                return False
            token, path = answer.headers["X-Auth-Token"], answer.headers["X-Storage-Url"].split(str(self.port), 1)[1]
            connection.request("PUT", f"{path}/ready", headers={"X-Auth-Token": token})
            made = connection.getresponse()
            made.read()
            return made.status in (201, 202)
        except OSError:
            return False
        finally:
            connection.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
