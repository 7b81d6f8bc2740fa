"""Names of databases, as cozy-stack gives them: `<tenant>/<doctype>`, with `-` for each `.` (pure).

CouchDB takes lower-case letters, digits and `_$()+-/` in a name. A doctype that could not be told from another one under its
database's name (`io.cozy-files` beside `io.cozy.files`) is refused: whoever may read the one would read the other.
"""

import re
from urllib.parse import quote

from cozyd.errors import Invalid

PRIVATE, ROWS = "cozyd-private", "cozyd-rows"
"""Our own databases of a tenant: private data, and the rows no view can give."""
OWN = frozenset((PRIVATE, ROWS))
_DOCTYPE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_TENANT = re.compile(r"[a-z][a-z0-9_-]{0,100}")
LONGEST = 200


def is_tenant(name: str) -> bool:
    """Whether a tenant may have this name."""
    return _TENANT.fullmatch(name) is not None


def database_of(tenant: str, doctype: str) -> str:
    """The database of a doctype.

    :raises Invalid: no database can have this name for it alone.
    """
    name = doctype.replace(".", "-")
    if _DOCTYPE.fullmatch(doctype) is None or name in OWN or len(name) > LONGEST:
        raise Invalid(f"{doctype} is not a valid doctype name")
    return f"{tenant}/{name}"


def doctype_of(tenant: str, database: str) -> str | None:
    """The doctype of a database; None: it is none of the tenant's, or one of our own."""
    head, _, name = database.partition("/")
    return None if head != tenant or not name or name in OWN else name.replace("-", ".")


def path_of(database: str, *parts: str) -> str:
    """The path of a database, and of what is in it, percent-encoded. The kind of a special document stays one part of its own."""
    return "/".join(["", quote(database, safe=""), *(quote(part, safe="") for part in parts)])


def document_parts(id: str) -> tuple[str, ...]:
    """The path's parts of a document's id: `_design/x` is two."""
    return ("_design", id.removeprefix("_design/")) if id.startswith("_design/") else (id,)
