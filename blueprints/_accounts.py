"""What `/data` does with `io.cozy.accounts` beside storing it: who may see secrets, names, `cozyMetadata`."""

from typing import Any

from flask import request

from blueprints._request import instance, principal
from cozyd import jsons
from cozyd.accounts import ACCOUNTS, SOFT_DELETED, name_of
from cozyd.documents.store import Doc, Ref, Stored
from cozyd.errors import NotFound
from cozyd.files.tree import write_time


def described(fields: Doc, *, made: bool) -> Doc:
    """An account as it is to be stored: its name when it is made, and `cozyMetadata` by the token.

    :param made: it is new, so that both are the server's to say.
    """
    name = name_of(fields) if made else None
    if name is not None:
        fields = fields | {"name": name}
    if made or fields.get("cozyMetadata") is None:
        fields = fields | {"cozyMetadata": _metadata()}
    return fields


def shown(stored: Stored, *, reads: bool = False) -> Stored:
    """An account as its reader may see it: with its secrets for konnectors, and for web apps that ask for them; others as they are.

    :param reads: the request is one in which a web app may ask, by `include=credentials`.
    """
    if stored.ref.doctype != ACCOUNTS:
        return stored
    kind = principal().kind
    if not (kind == "konnector" or (reads and kind == "app" and request.args.get("include") == "credentials")):
        return stored
    doc = instance().account_secrets.open(stored.doc)
    fields = {name: value for name, value in doc.items() if not name.startswith("_")}
    return Stored(stored.ref, stored.rev, jsons.dump(fields), deleted=stored.deleted)


def deleted(id: str, rev: str | None) -> Stored | None:
    """An account that was deleted at a revision, while its konnector has to clean up; None: there is none."""
    try:
        copy = instance().docs.get(Ref(SOFT_DELETED, id)).doc
    except NotFound:
        return None
    if rev is None or copy.get("soft_deleted_rev") != rev:
        return None
    fields = {name: value for name, value in copy.items() if not name.startswith("_") and name != "soft_deleted_rev"}
    return Stored(Ref(ACCOUNTS, id), rev, jsons.dump(fields))


def _metadata() -> Doc:
    now = write_time(instance().now())
    found: dict[str, Any] = {"doctypeVersion": "", "metadataVersion": 1, "createdAt": now, "updatedAt": now}
    who = principal()
    if who.kind in ("app", "konnector"):
        found |= {"createdByApp": who.id, "updatedByApps": [{"slug": who.id, "date": now}]}
    return found
