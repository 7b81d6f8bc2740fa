"""One vdirsyncer pair: a folder of files and a collection of the server."""

import sys
from pathlib import Path

from tests.support.serving import Served, run


class Syncer:
    """A folder that vdirsyncer keeps equal with a collection.

    :param kind: `carddav` or `caldav`.
    """

    def __init__(self, served: Served, folder: Path, kind: str) -> None:
        self.local = folder / "local"
        self.config = folder / "config"
        password = served.password(name=f"vdirsyncer {kind}")
        extension = {"carddav": ".vcf", "caldav": ".ics"}[kind]
        collection = {"carddav": "contacts", "caldav": "calendar"}[kind]
        (self.local / collection).mkdir(parents=True)
        self.folder = self.local / collection
        self.config.write_text(
            f"""[general]
status_path = "{folder}/status"
[pair one]
a = "here"
b = "there"
collections = ["{collection}"]
conflict_resolution = "b wins"
[storage here]
type = "filesystem"
path = "{self.local}"
fileext = "{extension}"
[storage there]
type = "{kind}"
url = "{served.base}/sync/dav/"
username = "me"
password = "{password}"
"""
        )

    def __call__(self, *arguments: str) -> str:
        """Run a command of it."""
        program = Path(sys.executable).parent / "vdirsyncer"
        done = run([str(program), "-c", str(self.config), *arguments], timeout=60, input="y\n" * 20)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def files(self) -> dict[str, str]:
        """Name -> text of what lies here."""
        return {path.name: path.read_bytes().decode() for path in self.folder.iterdir()}
