"""Hostile archives: refused, and nothing of them stays outside the folder that is thrown away."""

import gzip
import io
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from cozyd.apps import archive
from cozyd.errors import BadRequest, CozyError, TooLarge
from tests.support import apps

Member = tuple[str, dict[str, object], bytes]


def tar(*members: Member, packed: bool = True) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz" if packed else "w") as file:
        for name, fields, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for field, value in fields.items():
                setattr(member, field, value)
            file.addfile(member, io.BytesIO(data))
    return out.getvalue()


def unpacked(tmp_path: Path, data: bytes) -> Path:
    (tmp_path / "in").write_bytes(data)
    target = tmp_path / "out"
    archive.unpack(tmp_path / "in", target)
    return target


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("prefix", ["", "./", "package/", "a/b/"])
def test_an_archive_is_unpacked_from_where_its_manifest_is(tmp_path: Path, mode: str, prefix: str):
    out = unpacked(tmp_path, apps.archive(prefix=prefix, mode=mode))
    assert {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()} == apps.files()


HOSTILE = {
    "symbolic link": tar(("manifest.webapp", {}, b"{}"), ("x", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, b"")),
    "link to a folder, then through it": tar(("d", {"type": tarfile.SYMTYPE, "linkname": ".."}, b""), ("d/evil", {}, b"x")),
    "hard link": tar(("a", {}, b"x"), ("b", {"type": tarfile.LNKTYPE, "linkname": "a"}, b"")),
    "hard link out": tar(("b", {"type": tarfile.LNKTYPE, "linkname": "../../secret"}, b"")),
    "climbs": tar(("../evil", {}, b"x")),
    "climbs inside": tar(("a/../../evil", {}, b"x")),
    "absolute": tar(("/tmp/evil", {}, b"x")),
    "backslash": tar(("..\\evil", {}, b"x")),
    "NUL": tar(("a", {"pax_headers": {"path": "a\0b"}}, b"x")),
    "newline": tar(("a\nb", {}, b"x")),
    "device": tar(("null", {"type": tarfile.CHRTYPE}, b"")),
    "fifo": tar(("pipe", {"type": tarfile.FIFOTYPE}, b"")),
    "long name": tar(("a" * 300, {}, b"x")),
    "deep": tar(("/".join("a" * 40), {}, b"x")),
    "file and folder of one name": tar(("a", {}, b"x"), ("a/b", {}, b"x")),
    "the same file twice": tar(("a", {}, b"x"), ("a", {}, b"y")),
    "no archive": b"nonsense" * 100,
    "empty": b"",
    "broken gzip": gzip.compress(b"x" * 1000)[:20],
    "cut": apps.archive()[:500],
    "cut without gzip": apps.archive(mode="w")[:700],
    "many entries": gzip.compress(tarfile.TarInfo("a").tobuf() * (archive.MOST_ENTRIES + 1)),
    "a hundred thousand entries": gzip.compress(tarfile.TarInfo("a").tobuf() * 100_000, 1),
    "bomb": gzip.compress(tar(("zeros", {}, bytes(40 << 20)), packed=False), 9),
    "bomb of two layers of names": gzip.compress(tar(("a", {"pax_headers": {"comment": "x" * (20 << 20)}}, b""), packed=False), 9),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused(tmp_path: Path, name: str):
    before = set(tmp_path.parent.iterdir())
    with pytest.raises((BadRequest, TooLarge)) as refused:
        unpacked(tmp_path, HOSTILE[name])
    assert refused.value.status < 500
    assert {path.name for path in tmp_path.iterdir()} <= {"in", "out"}
    assert set(tmp_path.parent.iterdir()) == before
    assert not Path("/tmp/evil").exists()
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]


def test_a_bomb_takes_no_memory(tmp_path: Path):
    (tmp_path / "in").write_bytes(HOSTILE["bomb"])
    tracemalloc.start()
    with pytest.raises(TooLarge):
        archive.unpack(tmp_path / "in", tmp_path / "out")
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    "make",
    [lambda at: os.symlink("/etc/passwd", at / "x"), lambda at: os.symlink("/etc", at / "d"), lambda at: (at / "a\nb").write_text("x")],
)
def test_a_hostile_folder_is_refused(tmp_path: Path, make: Callable[[Path], None]):
    apps.folder(tmp_path / "app")
    make(tmp_path / "app")
    with pytest.raises(BadRequest):
        archive.copy(tmp_path / "app", tmp_path / "out")


def test_a_folder_is_taken_without_what_is_not_of_the_app(tmp_path: Path):
    apps.folder(tmp_path / "app")
    apps.folder(tmp_path / "app" / ".git")
    apps.folder(tmp_path / "app" / "node_modules" / "x")
    archive.copy(tmp_path / "app", tmp_path / "out")
    assert {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()} == set(apps.files())


def test_the_same_files_give_the_same_archive(tmp_path: Path):
    packed = []
    for name in ("one", "two"):
        out = io.BytesIO()
        archive.pack(apps.folder(tmp_path / name), out)
        packed.append(out.getvalue())
    assert packed[0] == packed[1]
    with pytest.raises(CozyError):
        archive.read_manifest(Path("/dev/null"))
