"""WebDAV locks of one tenant (RFC 4918, sections 6 and 7): one document, so that every process sees the same ones.

A lock is a lease by a device on a path, with a token and an end; one that ran out is as good as gone. Whoever reads and then
writes holds `Call.alone`, so that no lock comes between.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from xml.sax.saxutils import escape

from cozyd.documents import Documents
from cozyd.documents.store import Ref, Write
from cozyd.errors import Conflict, Locked, NotFound, StorageFull
from dav import xml

LOCKS = Ref("io.cozy.files.locks", "webdav")
DEFAULT_TIME, LONGEST_TIME = 600, 3600
MOST = 1000


class InTheWay(Locked):
    """Locks that a request has not the tokens of.

    :param condition: the precondition's name in `DAV:`.
    :param roots: the locked paths.
    """

    def __init__(self, condition: str, roots: Iterable[str]) -> None:
        super().__init__("It is locked")
        self.condition = condition
        self.roots = sorted(set(roots))


@dataclass(frozen=True, slots=True)
class DavLock:
    """One lock.

    :param root: the path it was taken on, in form NFC.
    :param principal: the device.
    :param deep: of everything below too (depth infinity).
    :param owner: what the client said of itself, as the content of an XML element.
    """

    token: str
    root: str
    principal: str
    exclusive: bool
    deep: bool
    folder: bool
    owner: str
    until: datetime

    def covers(self, path: str) -> bool:
        """Whether it protects a path."""
        return path == self.root or (self.deep and is_below(path, self.root))


def is_below(path: str, top: str) -> bool:
    """Whether a path lies below another one."""
    return path != top and path.startswith(top.rstrip("/") + "/")


class LockBook:
    """A tenant's locks, as they are now.

    :param now: the clock.
    :param there: whether something stands at a path; a lock on what an app has moved or removed is in nobody's way.
    """

    def __init__(self, docs: Documents, now: Callable[[], datetime], there: Callable[[str], bool] = lambda _: True) -> None:
        self._docs = docs
        self._now = now
        self._there = there
        try:
            stored = docs.get(LOCKS)
        except NotFound:
            self._rev, found = None, []
        else:
            self._rev, found = stored.rev, [_read(one) for one in stored.doc["locks"]]
        self.locks: Sequence[DavLock] = [lock for lock in found if lock.until > now()]

    def covering(self, path: str) -> Sequence[DavLock]:
        """The locks that protect a path, those of folders above included."""
        return [lock for lock in self.locks if lock.covers(path)]

    def below(self, path: str) -> Sequence[DavLock]:
        """The locks taken on what lies below a path."""
        return [lock for lock in self.locks if is_below(lock.root, path)]

    # -- may it be written? -----------------------------------------------------------------------------------------

    def check(self, path: str, holder: str, tokens: frozenset[str], *, deep: bool = False) -> None:
        """Whether a path may be written, and with `deep` all below it.

        :param holder: the device that asks; a token counts only for the one that took it.
        :raises InTheWay: a lock's token was not submitted.
        """
        blocked = self._unheld(self.covering(path), holder, tokens)
        if deep:
            roots = {lock.root for lock in self.below(path)}
            for root in roots:
                blocked += self._unheld([lock for lock in self.locks if lock.root == root], holder, tokens)
        blocked = self._alive(blocked)
        if blocked:
            raise InTheWay("lock-token-submitted", blocked)

    @staticmethod
    def _unheld(locks: Sequence[DavLock], holder: str, tokens: frozenset[str]) -> list[str]:
        """Of locks on one thing, one has to be held: several are shared ones."""
        if not locks or any(lock.token in tokens and lock.principal == holder for lock in locks):
            return []
        return [lock.root for lock in locks]

    def _alive(self, roots: Sequence[str]) -> list[str]:
        """Those where something stands; locks on the others end, so that none comes back with what takes the name."""
        dead = {root for root in roots if not self._there(root)}
        if dead:
            with suppress(Conflict):  # who changes the locks meanwhile sees to it next time
                self._write([lock for lock in self.locks if lock.root not in dead])
        return [root for root in roots if root not in dead]

    # -- changing ---------------------------------------------------------------------------------------------------

    def check_free(self, path: str, *, exclusive: bool, deep: bool) -> None:
        """Whether a new lock may be taken.

        :raises InTheWay: another lock does not go with it.
        """
        others = [*self.covering(path), *(self.below(path) if deep else ())]
        blocked = self._alive([lock.root for lock in others if exclusive or lock.exclusive])
        if blocked:
            raise InTheWay("no-conflicting-lock", blocked)

    def add(self, path: str, holder: str, seconds: int, *, exclusive: bool, deep: bool, folder: bool, owner: str) -> DavLock:
        """Take a lock; `check_free` was asked.

        :raises StorageFull: there are a thousand already.
        """
        if len(self.locks) >= MOST:
            raise StorageFull("There are too many locks")
        lock = DavLock(f"urn:uuid:{uuid.uuid4()}", path, holder, exclusive, deep, folder, owner, self._end(seconds))
        self._write([*self.locks, lock])
        return lock

    def refresh(self, lock: DavLock, seconds: int) -> None:
        """Let it live so long from now on."""
        fresh = replace(lock, until=self._end(seconds))
        self._write([fresh if one.token == lock.token else one for one in self.locks])

    def remove(self, lock: DavLock) -> None:
        """Give it back."""
        self._write([one for one in self.locks if one.token != lock.token])

    def remove_with(self, path: str) -> None:
        """What was there is gone, with all below: its locks too."""
        left = [lock for lock in self.locks if lock.root != path and not is_below(lock.root, path)]
        if len(left) != len(self.locks):
            self._write(left)

    def _end(self, seconds: int) -> datetime:
        return self._now() + timedelta(seconds=seconds)

    def _write(self, locks: Sequence[DavLock]) -> None:
        body = {"locks": [_record(lock) for lock in locks]}
        self._rev = self._docs.commit([Write(LOCKS, body=body, rev=self._rev)])[0].made.rev
        self.locks = locks

    # -- telling ----------------------------------------------------------------------------------------------------

    def discovery(self, path: str, prefix: str) -> str:
        """The content of `lockdiscovery` of a path.

        :param prefix: the mount's own path.
        """
        return "".join(self._active(lock, prefix) for lock in self.covering(path))

    def _active(self, lock: DavLock, prefix: str) -> str:
        scope = "exclusive" if lock.exclusive else "shared"
        left = max(0, round((lock.until - self._now()).total_seconds()))
        owner = f"<D:owner>{lock.owner}</D:owner>" if lock.owner else ""
        address = prefix + lock.root.rstrip("/") + ("/" if lock.folder else "")
        return (
            f"<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:{scope}/></D:lockscope>"
            f"<D:depth>{'infinity' if lock.deep else '0'}</D:depth>{owner}<D:timeout>Second-{left}</D:timeout>"
            f"<D:locktoken><D:href>{escape(lock.token)}</D:href></D:locktoken>"
            f"<D:lockroot><D:href>{xml.href(address)}</D:href></D:lockroot></D:activelock>"
        )


def _record(lock: DavLock) -> dict[str, Any]:
    scope, depth = "exclusive" if lock.exclusive else "shared", "infinity" if lock.deep else "0"
    told = {"token": lock.token, "root": lock.root, "principal": lock.principal, "scope": scope, "depth": depth}
    return told | {"folder": lock.folder, "owner": lock.owner, "until": lock.until.isoformat()}


def _read(record: Mapping[str, Any]) -> DavLock:
    return DavLock(
        record["token"],
        record["root"],
        record["principal"],
        record["scope"] == "exclusive",
        record["depth"] == "infinity",
        record["folder"],
        record["owner"],
        datetime.fromisoformat(record["until"]),
    )
