"""LOCK and UNLOCK (RFC 4918, sections 9.10 and 9.11)."""

import re
from collections.abc import Iterable
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from cozyd.errors import BadRequest, Conflict, Forbidden, PreconditionFailed
from cozyd.files import Dir
from cozyd.files.tree import check_name, same_name
from dav import xml
from dav.access import XML, answer
from dav.call import Call
from dav.locks import DEFAULT_TIME, LONGEST_TIME, DavLock, InTheWay, is_below

_D = "{DAV:}"
LONGEST_OWNER = 2048
_SECONDS = re.compile(r"second-(\d{1,20})", re.IGNORECASE)
_MISMATCH = "lock-token-matches-request-uri"


def lock(call: Call) -> Iterable[bytes]:
    """Take a lock, or with an empty body refresh one. What does not exist yet is made, empty (section 7.3)."""
    tree = call.tree()
    with call.alone():
        call.check_conditions()
        if tree is None:
            return _refresh(call)
        exclusive, owner = _wanted(tree)
        deep = _is_deep(call)
        path = same_name(call.path)
        node = call.find(call.path)
        try:
            call.book.check_free(path, exclusive=exclusive, deep=deep)
        except InTheWay as error:
            if all(is_below(root, path) for root in error.roots):
                return _refuse_for_members(call, error)
            raise
        if node is None:
            _make_empty(call)
        seconds = _seconds(call.header("Timeout"))
        taken = call.book.add(path, call.holder, seconds, exclusive=exclusive, deep=deep, folder=isinstance(node, Dir), owner=owner)
        headers = [("Lock-Token", f"<{taken.token}>")]
        return _told(call, 201 if node is None else 200, headers)


def _refuse_for_members(call: Call, error: InTheWay) -> Iterable[bytes]:
    """A folder that cannot be locked for what lies in it is told with the locks that are in the way (section 9.10.9)."""
    members = [xml.failed(call.prefix + root, "423 Locked") for root in error.roots]
    return xml.answer_multistatus(call.start_response, [*members, xml.failed(f"{call.prefix}{call.path}/", "424 Failed Dependency")])


def _wanted(tree: Element) -> tuple[bool, str]:
    """Exclusive?, and the content of `owner`.

    :raises BadRequest: it is no lock that exists.
    """
    scope, kind = tree.find(f"{_D}lockscope"), tree.find(f"{_D}locktype")
    if tree.tag != f"{_D}lockinfo" or scope is None or kind is None or kind.find(f"{_D}write") is None:
        raise BadRequest("The body has to be a lockinfo with the scope and type of a write lock")
    exclusive = scope.find(f"{_D}exclusive") is not None
    if not exclusive and scope.find(f"{_D}shared") is None:
        raise BadRequest("A lock is exclusive or shared")
    return exclusive, _owner(tree.find(f"{_D}owner"))


def _owner(element: Element | None) -> str:
    if element is None:
        return ""
    text = escape(element.text or "") + "".join(ElementTree.tostring(child, encoding="unicode") for child in element)
    if len(text) > LONGEST_OWNER:
        raise BadRequest("The owner of the lock has too long a name")
    return text


def _is_deep(call: Call) -> bool:
    depth = call.header("Depth").lower() or "infinity"
    if depth not in ("0", "infinity"):
        raise BadRequest("The Depth of a lock is 0 or infinity")
    return depth == "infinity"


def _seconds(header: str) -> int:
    """The first time of a Timeout header that is understood, at most an hour: who still needs the lock refreshes it."""
    for wish in header.split(","):
        if wish.strip().lower() == "infinite":
            return LONGEST_TIME
        found = _SECONDS.fullmatch(wish.strip())
        if found is not None and int(found[1]) > 0:
            return min(int(found[1]), LONGEST_TIME)
    return DEFAULT_TIME


def _make_empty(call: Call) -> None:
    home, name = call.home(call.path)
    call.allow("POST")
    check_name(name)
    call.check_locks(call.path, member=True)
    with call.files.new(size=0) as upload:
        blob = upload.seal()
    call.files.put(home, name, blob)


def _refresh(call: Call) -> Iterable[bytes]:
    """Section 9.10.2: the lock is named in the If header and covers the path."""
    found = [one for one in call.book.covering(same_name(call.path)) if one.token in call.tokens]
    if not call.tokens:
        raise BadRequest("The If header has to name the lock to refresh")
    if len(found) != 1 or found[0].principal != call.holder:
        raise PreconditionFailed("There is no such lock here", source=_MISMATCH)
    call.book.refresh(found[0], _seconds(call.header("Timeout")))
    return _told(call, 200, [])


def _told(call: Call, status: int, headers: list[tuple[str, str]]) -> Iterable[bytes]:
    discovery = call.book.discovery(same_name(call.path), call.prefix)
    body = f'<?xml version="1.0" encoding="utf-8"?>\n<D:prop xmlns:D="DAV:"><D:lockdiscovery>{discovery}</D:lockdiscovery></D:prop>'
    return answer(call.start_response, status, [*headers, ("Content-Type", XML)], body.encode())


def unlock(call: Call) -> Iterable[bytes]:
    """Give a lock back."""
    token = call.header("Lock-Token").strip()
    if not (token.startswith("<") and token.endswith(">")):
        raise BadRequest("The Lock-Token header has to name the lock as <token>")
    with call.alone():
        call.check_conditions()
        found = _covering(call, token[1:-1])
        if found is None:
            call.files.at(call.path)
            raise Conflict("There is no such lock here", source=_MISMATCH)
        if found.principal != call.holder:
            raise Forbidden("Another device took this lock")
        call.book.remove(found)
    return answer(call.start_response, 204)


def _covering(call: Call, token: str) -> DavLock | None:
    return next((one for one in call.book.covering(same_name(call.path)) if one.token == token), None)
