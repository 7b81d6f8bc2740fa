"""Apps from Mercurial, by its own program `hg` where it is installed (GPL-2: called, never linked). It is let out by a proxy of ours only.

`hg+https://host/repository#branch` (`mercurial://` is the same) and `hg+file:///path`; `#name` is a branch, a tag or a node.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from cozyd.apps import archive
from cozyd.apps.fetched import PROGRAM_WITHIN, Fetched
from cozyd.apps.forward import Forward
from cozyd.apps.manifest import Kind, parse
from cozyd.errors import BadRequest, Invalid, NotFound
from cozyd.outbound import PORTS, Outbound

_ENVIRONMENT = {"HGPLAIN": "1", "HGRCPATH": os.devnull, "HGENCODING": "utf-8"}
_CALM = ("--noninteractive", "--config", "ui.ssh=false", "--config", "phases.publish=false")


def fetch_hg(outbound: Outbound, source: str, kind: Kind, slug: str, scratch: Path) -> Fetched:
    """See `sources.Fetch`."""
    program = shutil.which("hg")
    if program is None:
        raise Invalid("Mercurial sources need the program hg, which is not installed on this server", source="Source")
    parts = urlsplit(source)
    name = parts.fragment or "default"
    if name.startswith("-") or not name.isprintable():
        raise Invalid("The source names no branch", source="Source")
    clone = scratch / "hg"
    address = _address(outbound, source)
    with Forward(outbound, limit_bytes=archive.LARGEST_WHOLE, timeout=PROGRAM_WITHIN) as way:
        _run(program, "clone", "--noupdate", *_by(way, outbound), "--", address, str(clone), within=scratch)
    node = _run(program, "log", "--rev", name, "--template", "{node}", within=clone)
    packed = scratch / "archive.tgz"
    _run(program, "archive", "--rev", node, "--type", "tgz", "--prefix", "app", "--", str(packed), within=clone)
    text, prefix = archive.read_manifest(packed)
    manifest = parse(text, kind, slug)
    return Fetched(manifest, f"{manifest.version}-{node}", "", lambda target: archive.unpack(packed, target, prefix=prefix))


def _by(way: Forward, outbound: Outbound) -> Sequence[str]:
    """Have hg go nowhere but by our proxy."""
    given = {"http_proxy.host": way.address, "http_proxy.always": "true", "http_proxy.no": ""}
    given |= {"web.cacerts": outbound.authorities} if outbound.authorities else {}
    return [word for name, value in given.items() for word in ("--config", f"{name}={value}")]


def _address(outbound: Outbound, source: str) -> str:
    """What hg is told to clone; a host that may not be asked is refused with its own error here, and once more on the way."""
    parts = urlsplit(source)
    if parts.scheme == "hg+file":
        return unquote(parts.path)
    address = urlunsplit(("http" if parts.scheme == "hg+http" else "https", parts.netloc, parts.path, parts.query, ""))
    checked = outbound.check(address)
    outbound.address(checked.hostname or "", checked.port or PORTS[checked.scheme])
    return address


def _run(program: str, *arguments: str, within: Path) -> str:
    """Run hg in a process group of its own, which ends in time.

    :raises NotFound, BadRequest: it fails, or does not end.
    """
    environ = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(within)} | _ENVIRONMENT
    command = [program, *_CALM, *arguments]
    process = subprocess.Popen(  # noqa: S603
        command,
        cwd=within,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    try:
        out, _ = process.communicate(timeout=PROGRAM_WITHIN)
    except subprocess.TimeoutExpired as cause:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise BadRequest("The source did not answer in time") from cause
    if process.returncode:
        raise NotFound("Application manifest is not reachable")
    return out.strip()
