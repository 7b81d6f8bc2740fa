"""Contents of a cozy-stack come from its Swift, and go into ours."""

import json
from pathlib import Path

from tests.moving_in.player import ACCESS, FIXTURE
from tests.support.command import Command
from tests.support.swift import Swift

DOMAIN = ACCESS["domain"]


def usage(run: Command, **environ: str) -> tuple[str, str]:
    found = json.loads(run("files", "usage", DOMAIN, "--json", **environ).out)
    return found["files"], found["versions"]


def test_contents_go_into_swift_and_come_out_of_it(tmp_path: Path, storage: Path, swift: Swift):
    first, second = Command(tmp_path / "first"), Command(tmp_path / "second")
    ours = {"COZYD_STORAGE_BLOBS": swift.address}
    assert first("import-cozy", str(FIXTURE), "--storage", str(storage), **ours).status == 0
    assert usage(first, **ours) == ("107057", "40058")
    assert second("import-cozy", str(FIXTURE), "--storage", swift.address).status == 0
    found = second("fsck", DOMAIN, "--json")
    types = {step["type"] for step in map(json.loads, found.out.splitlines()) if "type" in step}
    assert types <= {"index_duplicate_name", "document_store"}
    assert first("instances", "remove", DOMAIN, "--force", **ours).status == 0
