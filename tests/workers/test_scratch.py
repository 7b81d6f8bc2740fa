"""The folders of jobs: gone with their job, swept when the process of one was killed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from workers.scratch import PREFIX, scratch, sweep

KILLED = """
import os
from workers.scratch import scratch
with scratch() as folder:
    (folder / "app").mkdir()
    print(folder, flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_a_folder_is_gone_with_its_job():
    with scratch() as folder:
        (folder / "file").write_text("x")
    assert not folder.exists()


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path):
    died = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    left = Path(died.stdout.strip())
    assert (left / "app").is_dir()
    just_made, old, elsewhere = (tmp_path / f"{PREFIX}{name}" for name in ("made", "old", "link"))
    just_made.mkdir()
    old.mkdir()
    os.utime(old, (0, 0))
    (tmp_path / "others").mkdir()
    elsewhere.symlink_to(tmp_path / "others")
    with scratch() as mine:
        assert sweep() == 2
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([just_made.name, elsewhere.name, "others", mine.name])
    assert not left.exists()
