"""Attachments of documents as CouchDB has them: stubs in the text, contents apart (pure).

No route of `/data` makes one; replicas and databases of a cozy-stack bring them, and they are given back as they came.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any

from cozyd.documents.store import Doc
from cozyd.errors import Invalid, PreconditionFailed

MEMBER = "_attachments"
DEFAULT_TYPE = "application/octet-stream"
_IN_TEXT = b'"_attachments":'
_DIGEST = re.compile(r"md5-[A-Za-z0-9+/]{22}==")
Contents = Mapping[str, bytes]
"""Contents by digest."""


def may_have(text: bytes) -> bool:
    """Whether a document's text may name attachments: a look that parses nothing."""
    return _IN_TEXT in text


def check(given: Any, known: Collection[str] | None = None) -> None:
    """Refuse what is no `_attachments`. CouchDB itself takes an entry that is a text, and drops it.

    :param known: names of the revision it grows from; None: they are not looked at.
    :raises Invalid: it is malformed.
    :raises PreconditionFailed: a stub names an attachment that is not here.
    """
    if not isinstance(given, dict) or not all(isinstance(entry, dict) for entry in given.values()):
        raise Invalid(f"Bad special document member: {MEMBER}")
    for name, entry in given.items():
        if "data" in entry:
            _data(entry)
        elif known is not None and name not in known:
            raise PreconditionFailed(f"Invalid attachment stub in {name}", error="missing_stub")


def take(given: Any, known: Mapping[str, Doc], generation: int) -> tuple[Doc, dict[str, bytes]]:
    """What a writer sends as `_attachments`: the stubs to keep in the text, and the contents that came with them.

    :param known: the stubs of the revision it grows from, by name.
    :param generation: of the revision that is made.
    :raises Invalid: it is malformed.
    :raises PreconditionFailed: a stub names an attachment that is not here.
    """
    check(given, known)
    stubs: Doc = {}
    contents: dict[str, bytes] = {}
    for name, entry in given.items():
        if "data" in entry:
            stubs[name], data = _inline(entry, generation)
            contents[stubs[name]["digest"]] = data
        else:
            stubs[name] = known[name]
    return stubs, contents


def _inline(entry: Doc, generation: int) -> tuple[Doc, bytes]:
    """A content in base64. Its digest is kept where one is given: CouchDB's is of the bytes as it packed them."""
    data = _data(entry)
    digest, kind, revpos = entry.get("digest"), entry.get("content_type"), entry.get("revpos")
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        digest = "md5-" + base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    stub = {
        "content_type": kind if isinstance(kind, str) else DEFAULT_TYPE,
        "revpos": revpos if isinstance(revpos, int) else generation,
        "digest": digest,
        "length": len(data),
        "stub": True,
    }
    return stub, data


def _data(entry: Doc) -> bytes:
    try:
        return base64.b64decode(entry["data"], validate=True)
    except (binascii.Error, TypeError, ValueError) as cause:
        raise Invalid("Attachment data must be base64 encoded") from cause


def inlined(stubs: Mapping[str, Doc], contents: Mapping[str, bytes]) -> Doc:
    """Stubs with their contents, as a replica gets them.

    :param contents: by name.
    """
    found = {}
    for name, stub in stubs.items():
        kept = {member: value for member, value in stub.items() if member not in ("stub", "length")}
        found[name] = kept | {"data": base64.b64encode(contents[name]).decode()}
    return found
