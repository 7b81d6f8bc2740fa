"""rclone, as people use it: a tree up, changed, down again, compared by every byte; 1,000 files in the soak, 150 else."""

import shutil
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import needs
from tests.support.serving import Served, run

PYTHON_FILES = Path(sysconfig.get_paths()["stdlib"])


def make_tree(folder: Path, count: int) -> Path:
    """Real files: a part of the installed Python, with names that need care."""
    sources = sorted(path for path in PYTHON_FILES.rglob("*.py") if "site-packages" not in path.parts)[:count]
    assert len(sources) == count
    for source in sources:
        target = folder / source.relative_to(PYTHON_FILES)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    for name in ("Été à la plage.txt", "a+b & c#d.txt", "100% (copy) [1].txt", "’quote’ ; =.txt"):
        (folder / name).write_text(name)
    return folder


@pytest.mark.tool
@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.soak)])
def test_a_tree_goes_up_changes_and_comes_down_whole(served: Served, tmp_path: Path, count: int):
    needs("rclone")
    password = served.password("--files", name="rclone")
    config = tmp_path / "rclone.conf"
    obscured = run(["rclone", "obscure", password]).stdout.strip()
    config.write_text(f"[cozy]\ntype = webdav\nurl = {served.base}/sync/files/\nvendor = other\nuser = me\npass = {obscured}\n")

    def rclone(*arguments: str) -> str:
        done = run(["rclone", "--config", str(config), "--transfers", "4", *arguments], timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    here, back = make_tree(tmp_path / "here", count), tmp_path / "back"
    rclone("copy", str(here), "cozy:tree")
    assert f"{count + 4} matching files" in rclone("check", "--download", str(here), "cozy:tree")

    changed = sorted(path for path in here.rglob("*.py"))
    for path in changed[::50]:
        path.write_bytes(path.read_bytes() + b"# changed\n")
    for path in changed[1::100]:
        path.unlink()
    changed[2].rename(changed[2].with_name("moved here.py"))
    rclone("sync", str(here), "cozy:tree")
    rclone("sync", "cozy:tree", str(back))
    assert "0 differences" in rclone("check", "--download", str(here), "cozy:tree")
    ours = {path.relative_to(here): path.read_bytes() for path in here.rglob("*") if path.is_file()}
    theirs = {path.relative_to(back): path.read_bytes() for path in back.rglob("*") if path.is_file()}
    assert ours == theirs
    rclone("purge", "cozy:tree")
