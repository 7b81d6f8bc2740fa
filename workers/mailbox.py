"""`mailbox`: fetches the mails of an account into documents, their attachments into files (docs/workers.md, section 8)."""

import hashlib
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, BinaryIO

from cozyd.children import CHILDREN, descriptor
from cozyd.documents.store import Doc, Ref, Stored, Write
from cozyd.errors import Conflict, CozyError, Invalid, JobFailed, NotFound
from cozyd.files import Dir
from cozyd.files.tree import fitting_name
from cozyd.instance import Instance
from cozyd.jobs.job import Job
from workers.imap import Folders, Known, NoFolder, opened, server_of
from workers.messages import now_text

MAILS, ACCOUNTS = "io.cozy.emails", "io.cozy.accounts"
LARGEST, HEAD = 40 << 20, 256 << 10
"""Of a larger mail only the head is fetched, and so much of that."""
PAGE = 500
SPARE = 10.0
"""Seconds before the job's end after which no further mail is begun: the next job goes on."""


def run(instance: Instance, job: Job) -> None:
    """Fetch what is new in an account's folders, and what changed in flags; mails that are gone there go here.

    :raises JobFailed: the account is gone, does not say where its mails are, is not let in, or names a folder that is not there.
    :raises Unavailable: the server is away.
    """
    message = job.message if isinstance(job.message, dict) else {}
    try:
        stored = instance.docs.get(Ref(ACCOUNTS, str(message.get("account"))))
    except NotFound as cause:
        raise JobFailed("The account is not there any more", ends_trigger=True) from cause
    account = instance.account_secrets.open(dict(stored.doc))
    server = server_of(account)
    if server is None:
        raise JobFailed("The account does not say where its mails are", again=False)
    missing = []
    with opened(server, instance.outbound) as folders:
        for name in _names(account):
            try:
                _Folder(instance, folders, job, stored.ref.id, name, server.login).fetch()
            except NoFolder:
                missing.append(name)
    if missing:
        raise JobFailed(f"The mail server has no folder {', '.join(missing)}; the others are fetched", again=False)


def _names(account: Mapping[str, Any]) -> Sequence[str]:
    """The folders that an account names, each once."""
    given = account.get("data", {}).get("folders")
    listed = given if isinstance(given, list) else [given]
    return list(dict.fromkeys(name for name in listed if isinstance(name, str) and name)) or ["INBOX"]


def _mark(doc: Mapping[str, Any]) -> str:
    """What a mail is known by when its number has changed; some have no Message-ID."""
    return str(doc.get("messageId") or [doc.get(name) for name in ("date", "subject", "from", "size")])


class _Folder:
    """One folder of an account."""

    def __init__(self, instance: Instance, folders: Folders, job: Job, account: str, name: str, login: str) -> None:
        self._instance, self._folders, self._job = instance, folders, job
        self._account, self._name, self._login = account, name, login
        self._state_id = hashlib.sha256(f"{account} {name}".encode()).hexdigest()[:32]

    def fetch(self) -> None:
        """Fetch until all is here, or the job's time is nearly over; how far it came is noted with each mail."""
        docs = self._instance.docs
        docs.make(MAILS)
        validity, modseq = self._folders.select(self._name)
        state = docs.local(MAILS, self._state_id) or {}
        listed = list(self._here(docs=False))
        here = {uid: stored for of, uid, stored in listed if of == validity}
        there = self._folders.uids()
        moved = self._by_mark(validity) if len(here) < len(listed) else {}
        for known in self._folders.known(sorted(there - here.keys())):
            if self._job.seconds_left() < SPARE:
                return
            self._take(known, validity, moved)
        if modseq and state.get("uidValidity") == validity and state.get("modseq"):
            self._flags(self._folders.changed(int(state["modseq"])), here)
        else:
            self._flags(self._folders.known(sorted(there & here.keys())), here)
        self._remove([stored for uid, stored in here.items() if uid not in there] + [one for some in moved.values() for one in some])
        docs.set_local(MAILS, self._state_id, {"uidValidity": validity, "modseq": modseq})

    def _here(self, *, docs: bool) -> Iterator[tuple[int, int, Stored]]:
        """The documents of this folder: UIDVALIDITY and UID, which their ids have, and themselves.

        :param docs: with their bodies.
        """
        start = f"{self._state_id}-"
        while rows := self._instance.docs.all(MAILS, start=start, end=f"{self._state_id}-\uffff", limit=PAGE, docs=docs).rows:
            for stored in rows:
                _, validity, uid = stored.ref.id.split("-")
                yield int(validity), int(uid), stored
            start = rows[-1].ref.id + "\0"

    def _by_mark(self, validity: int) -> dict[str, list[Stored]]:
        """The mails of before the server numbered its messages anew (RFC 3501, section 2.3.1.1), without their bodies; twins too."""
        found: dict[str, list[Stored]] = {}
        for of, _, one in self._here(docs=True):
            if of != validity:
                found.setdefault(_mark(one.doc), []).append(Stored(one.ref, one.rev, b"{}"))
        return found

    # -- one mail -----------------------------------------------------------------------------------------------------------

    def _take(self, known: Known, validity: int, moved: dict[str, list[Stored]]) -> None:
        """Make a document of a mail, once however often it is fetched: its id is made of its place on the server."""
        whole = known.size <= LARGEST
        raw = self._folders.read(known.uid, head=None if whole else HEAD)
        body: Doc = {"account": self._account, "mailbox": self._name, "uid": known.uid, "uidValidity": validity, "size": known.size}
        body |= {"flags": list(known.flags), "receivedAt": now_text(self._instance.now())}
        with tempfile.TemporaryFile(buffering=0) as parts:
            body |= self._parsed(raw, parts, whole)
            listed = body.pop("parts", ())
            known_as = moved.get(_mark(body))
            if known_as:
                self._renumber(known_as.pop(), body)
                return
            body["attachments"] = [self._attach(one, parts.read(one["size"])) for one in listed]
        id = f"{self._state_id}-{validity:010}-{known.uid:010}"
        try:
            self._instance.docs.commit([Write(Ref(MAILS, id), body=body)])
        except Conflict:
            return  # another job has it

    def _parsed(self, raw: bytes, parts: BinaryIO, whole: bool) -> Mapping[str, Any]:
        """What a mail says; one that cannot be read is kept with the reason, so that it does not keep others away."""
        try:
            with ExitStack() as stack:
                source = stack.enter_context(descriptor(io.BytesIO(raw)))
                arguments = {"only_head": not whole}
                found: dict[str, Any] = CHILDREN.call("workers.messages:read", arguments, [source, parts.fileno()], timeout=20)
        except Invalid as error:
            return {"error": error.detail}
        parts.seek(0)
        return found | ({} if whole else {"error": f"The mail is too large to be fetched: {len(raw)} bytes of its head are here"})

    def _renumber(self, old: Stored, body: Mapping[str, Any]) -> None:
        """The mail is here; the server has another number for it."""
        old = self._instance.docs.get(old.ref)
        id = f"{self._state_id}-{body['uidValidity']:010}-{body['uid']:010}"
        kept = {name: value for name, value in old.doc.items() if not name.startswith("_")}
        fresh = kept | {name: body[name] for name in ("uid", "uidValidity", "flags")}
        self._instance.docs.commit([Write(Ref(MAILS, id), body=fresh), Write(old.ref, rev=old.rev, deleted=True)])

    def _attach(self, part: Mapping[str, Any], content: bytes) -> Doc:
        """An attachment as a file in the account's folder, and what the document says of it."""
        files = self._instance.files
        found: Doc = {"name": part["name"], "mime": part["mime"], "size": part["size"]}
        try:
            home = self._home()
            name = files.free_name(home, fitting_name(str(part["name"])) or "attachment")
            with files.new(size=len(content)) as upload:
                upload.write(content)
                blob = upload.seal()
            found["file"] = files.put(home, name, blob, fields={"mime": part["mime"]}).id
        except CozyError as error:
            found["error"] = error.detail
        return found

    def _home(self) -> Dir:
        account = self._instance.docs.get(Ref(ACCOUNTS, self._account)).doc
        path = account.get("folderPath")
        name = self._login.replace("/", "_") or self._account
        return self._instance.files.mkdir_all(path if isinstance(path, str) and path.startswith("/") else f"/Mail/{name}")

    # -- what changed and went ----------------------------------------------------------------------------------------------

    def _flags(self, changed: Iterator[Known], here: Mapping[int, Stored]) -> None:
        docs, known = self._instance.docs, [one for one in changed if one.uid in here]
        for start in range(0, len(known), PAGE):
            some = known[start : start + PAGE]
            found = zip(some, docs.get_many(MAILS, [here[one.uid].ref.id for one in some]), strict=True)
            news = [(one, stored) for one, stored in found if stored is not None and stored.doc.get("flags") != list(one.flags)]
            if news:
                docs.commit_each([Write(stored.ref, patch={"flags": list(one.flags)}, rev=stored.rev) for one, stored in news])

    def _remove(self, gone: Sequence[Stored]) -> None:
        """Mails that are not on the server any more; their attachments stay, as files of hers."""
        for start in range(0, len(gone), PAGE):
            self._instance.docs.commit_each([Write(one.ref, rev=one.rev, deleted=True) for one in gone[start : start + PAGE]])
