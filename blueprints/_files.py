"""What the views of files share: rights on nodes, who is changing something, conditions, pages."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from flask import Response, request

from blueprints import _files_json
from blueprints._request import allow, instance, number, principal
from cozyd.errors import Forbidden, Infected, NotFound, PreconditionFailed
from cozyd.files import Author, Dir, File, Files, Node
from cozyd.files.lookup import NOT_FOUND
from cozyd.files.tree import climb
from cozyd.permissions import FILES, ROOT_DIR, Action

NO_PARENT = "Parent directory with given DirID does not exist"
_ACCOUNT = (("SourceAccount", "sourceAccount"), ("SourceAccountIdentifier", "sourceAccountIdentifier"))


def files() -> Files:
    """The tenant's files."""
    return instance().files


def allowed(action: Action, node: Node) -> Node:
    """A node the principal may act on; only asked for its ancestors when no rule is on the whole type.

    :raises Forbidden: she may not.
    """
    above = () if principal().everything else files().above(node)
    allow(action, FILES, node.stored, above=above)
    return node


def allowed_file(action: Action, id: str) -> File:
    """A file the principal may act on.

    :raises NotFound: there is none, or it is a folder.
    :raises Forbidden: she may not.
    """
    return as_file(allowed(action, files().get(id)))


def allowed_at(action: Action, path: str) -> Node:
    """A node at a path that the principal may act on; who may not look where it would be is not told whether it is there.

    :raises NotFound: there is none.
    :raises Forbidden: she may not.
    """
    try:
        node = files().at(path)
    except NotFound:
        allowed(action, deepest(path))
        raise
    return allowed(action, node)


def deepest(path: str) -> Node:
    """What is there of the way to a path: the last folder, or a file that stands in it."""
    for above in climb(path):
        try:
            return files().at(above)
        except NotFound:
            continue
    return files().dir(ROOT_DIR)


def allow_reading(doctype: str, id: str) -> None:
    """Ask the right to read a document by its id, of a file or folder with what is above it; one that is not there by its id alone.

    :raises Forbidden: she may not.
    """
    if doctype == FILES:
        with suppress(NotFound):
            allowed("GET", files().get(id))
            return
    allow("GET", doctype, {"_id": id})


def allow_new(action: Action, home: Dir, fields: Mapping[str, Any]) -> None:
    """Ask the right to have something with these members in a folder.

    :raises Forbidden: she may not.
    """
    above = (home.stored, *files().above(home))
    allow(action, FILES, {"dir_id": home.id, **fields}, above=above)


def may(action: Action, doctype: str) -> bool:
    """Whether the principal may act on a whole doctype."""
    try:
        allow(action, doctype)
    except Forbidden:
        return False
    return True


def author() -> Author:
    """Who changes something by this request."""
    asking = principal()
    account = {name: request.args[parameter] for parameter, name in _ACCOUNT if request.args.get(parameter)}
    if asking.kind == "client":
        client = instance().auth.clients.get(asking.id)
        return files().author(slug=client.slug, version=client.version, client=client.about, account=account)
    return files().author(slug=asking.id if asking.kind in ("app", "konnector") else "", account=account)


def check_rev(node: Node) -> bool:
    """Compare `If-Match` or `rev` with what is there; whether one was given.

    :raises PreconditionFailed: it is another revision.
    """
    wanted = request.headers.get("If-Match") or request.args.get("rev")
    if wanted and wanted.strip('"') != node.rev:
        raise PreconditionFailed("Revision does not match", source="If-Match")
    return bool(wanted)


def check_scan(node: Node, action: str) -> None:
    """Whether what an antivirus said of a file allows something; the context's `antivirus` names what each verdict allows.

    :param action: `download`, `share`, `preview` or `delete`.
    :raises Infected: it does not.
    """
    rules = instance().context.get("antivirus")
    if not isinstance(node, File) or not isinstance(rules, dict) or rules.get("enabled") is not True:
        return
    scan = node.stored.doc.get("antivirus_scan") or {}
    verdict = scan.get("status") or "clean"
    allowed = (rules.get("actions") or {}).get(verdict)
    if allowed is None or action in (str(one).lower() for one in allowed):
        return
    virus = f" (detected: {scan['virus_name']})" if verdict == "infected" and scan.get("virus_name") else ""
    raise Infected(f"Action '{action}' is blocked for files with antivirus status '{verdict}'{virus}")


def page() -> _files_json.Page:
    """Which children are asked for.

    :raises BadRequest: limit, skip or cursor are none.
    """
    return _files_json.Page(number("page[limit]", None), request.args.get("page[cursor]"), number("page[skip]", None))


def shown(node: Node, *, empty: list[Any] | None = None) -> Response:
    """A folder with its children, or a file."""
    if isinstance(node, Dir):
        return _files_json.with_children(files(), node, page(), empty=empty)
    return _files_json.file(files(), node, empty=empty)


def home_of(id: str) -> Dir:
    """The folder that a new file goes into.

    :raises NotFound: there is none.
    """
    try:
        return files().dir(id)
    except NotFound:
        raise NotFound(NO_PARENT) from None


def as_dir(node: Node) -> Dir:
    """:raises NotFound: it is a file."""
    if not isinstance(node, Dir):
        raise NotFound(NOT_FOUND)
    return node


def as_file(node: Node) -> File:
    """:raises NotFound: it is a folder."""
    if not isinstance(node, File):
        raise NotFound(NOT_FOUND)
    return node
