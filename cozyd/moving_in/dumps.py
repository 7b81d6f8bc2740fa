"""`DumpFolder`: databases of a cozy-stack as a folder of files, one line for each leaf revision (docs/moving-in.md)."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cozyd import jsons
from cozyd.doctypes import INSTANCES
from cozyd.documents.store import Doc
from cozyd.errors import BadRequest, NotFound
from cozyd.moving_in.sources import GLOBAL, Trouble

INDEX = "databases.json"
SLASH = "__"
SUFFIX = ".jsonl"


class DumpFolder:
    """A folder with `databases/*.jsonl`, or with the files themselves; `databases.json` beside them says how much each has.

    :raises NotFound: it has no dump.
    """

    def __init__(self, folder: Path) -> None:
        home = folder / "databases" if (folder / "databases").is_dir() else folder
        self._files = {path.name.removesuffix(SUFFIX).replace(SLASH, "/", 1): path for path in sorted(home.glob(f"*{SUFFIX}"))}
        if not self._files:
            raise NotFound(f"{folder} has no dump of databases")
        self._index = _index(folder / INDEX) or _index(home / INDEX)

    def instances(self) -> Iterator[Doc | Trouble]:
        """See `Source.instances`."""
        for found in self._lines(f"{GLOBAL}/{INSTANCES}"):
            if isinstance(found, Trouble) or (not found.get("_deleted") and not found["_id"].startswith("_design/")):
                yield found

    def doctypes(self, prefix: str) -> Sequence[str]:
        """See `Source.doctypes`."""
        heads = (name.partition("/") for name in self._files.keys() | self._index.keys())
        return sorted(name.replace("-", ".") for head, _, name in heads if head == prefix and name)

    def leaves(self, prefix: str, doctype: str) -> Iterator[Doc | Trouble]:
        """See `Source.leaves`."""
        return self._lines(f"{prefix}/{doctype.replace('.', '-')}")

    def locals(self, prefix: str, doctype: str) -> Iterator[Doc]:
        """See `Source.locals`."""
        yield from self._index.get(f"{prefix}/{doctype.replace('.', '-')}", {}).get("local_documents", ())

    def _lines(self, database: str) -> Iterator[Doc | Trouble]:
        """The revisions of a database, and what is wrong with its file: the rest of it is given all the same."""
        path, count = self._files.get(database), 0
        if path is None:
            yield Trouble("missing_file", database, "the folder has no file of it")
            return
        with open(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    doc = jsons.load_object(line)
                    if not isinstance(doc.get("_id"), str):
                        raise BadRequest("it has no _id")
                except BadRequest as error:
                    yield Trouble("damaged_line", f"{database} line {number}", f"it is no document: {error.detail}")
                    continue
                count += 1
                yield doc
        expected = self._index.get(database, {}).get("leaves")
        if isinstance(expected, int) and expected != count:
            yield Trouble("missing_lines", database, f"{count} of {expected} revisions are in its file")


def _index(path: Path) -> Mapping[str, Any]:
    """What `databases.json` says of each database; nothing where there is none."""
    try:
        return jsons.load_object(path.read_bytes())
    except FileNotFoundError:
        return {}
