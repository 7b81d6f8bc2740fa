"""Reports of errors: their file turns over, and each tenant sees its own."""

from pathlib import Path

import pytest

from cozyd.apps import notices as module
from cozyd.apps.notices import KEPT_FILES, Notices, checked
from cozyd.errors import NotFound


def test_the_file_turns_over_and_the_oldest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "ROTATED_AT", 1000)
    kept = Notices(tmp_path / "errors.log")
    ids = [kept.add("alice", "drive", {"errors": [{"message": f"{number} {'x' * 200}"}]}, "now") for number in range(60)]
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["errors.log", *(f"errors.log.{number}" for number in range(1, KEPT_FILES))]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    found = [notice["id"] for notice in kept.list("alice")]
    assert found == ids[-len(found) :][::-1]
    assert kept.get("alice", ids[-1])["slug"] == "drive"
    with pytest.raises(NotFound):
        kept.get("alice", ids[0])


def test_a_tenant_sees_its_own_and_half_a_line_is_passed_over(tmp_path: Path):
    kept = Notices(tmp_path / "errors.log")
    mine = kept.add("alice", "drive", {"errors": []}, "now")
    with (tmp_path / "errors.log").open("ab") as file:
        file.write(b'{"id": "cut off by a power c')
        file.write(b"\n")
    theirs = kept.add("bob", "drive", {"errors": []}, "now")
    assert [notice["id"] for notice in kept.list("alice")] == [mine]
    assert [notice["id"] for notice in kept.list("bob")] == [theirs]
    with pytest.raises(NotFound):
        kept.get("alice", theirs)


def test_what_is_long_or_deep_is_cut(tmp_path: Path):
    deep = b'{"a":' * 40 + b"1" + b"}" * 40
    found = checked(b'{"errors":[' + b",".join([b'{"message":"' + b"m" * 9000 + b'"}'] * 30) + b'],"params":' + deep + b"}")
    assert len(found["errors"]) == module.MOST_ERRORS
    assert len(found["errors"][0]["message"]) == module.LONGEST_TEXT
    assert str(found["params"]).count("{") <= module.DEEPEST
