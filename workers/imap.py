"""A folder of an IMAP server as the `mailbox` worker reads it: what is new, changed and gone (RFC 3501, 7162), through `outbound`."""

import imaplib
import re
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from imap_tools import BaseMailBox
from imap_tools.errors import ImapToolsError, MailboxFolderSelectError

from cozyd.errors import CozyError, JobFailed, NotFound, Unavailable
from cozyd.outbound import Outbound

PATIENCE = 20.0
AT_ONCE = 200
_UID, _SIZE, _FLAGS = re.compile(rb"UID (\d+)"), re.compile(rb"RFC822\.SIZE (\d+)"), re.compile(rb"FLAGS \(([^)]*)\)")


class NoFolder(NotFound):
    """The server does not have a folder, or does not open it."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where an account's mails are.

    :param tls: `tls`, `starttls` or `none`.
    """

    host: str
    port: int
    tls: str
    login: str
    password: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the server says of one message."""

    uid: int
    size: int
    flags: tuple[str, ...]


class _Client(imaplib.IMAP4):
    """A connection that goes out where `outbound` lets it."""

    def __init__(self, server: Server, outbound: Outbound, context: ssl.SSLContext) -> None:
        self._server, self._outbound, self._context = server, outbound, context
        super().__init__(server.host, server.port, timeout=PATIENCE)

    def _create_socket(self, timeout: float | None) -> socket.socket:  # noqa: ARG002
        made = self._outbound.connect(self._server.host, self._server.port)
        made.settimeout(PATIENCE)
        return self._context.wrap_socket(made, server_hostname=self._server.host) if self._server.tls == "tls" else made


class _Box(BaseMailBox):
    """imap_tools over our own connection."""

    def __init__(self, client: imaplib.IMAP4) -> None:
        self._made = client
        super().__init__()

    def _get_mailbox_client(self) -> imaplib.IMAP4:
        return self._made


@contextmanager
def opened(server: Server, outbound: Outbound) -> Iterator["Folders"]:
    """The folders of an account.

    :raises JobFailed: the server refuses the log-in, which another try does not mend. Unavailable: it is away.
    """
    context = ssl.create_default_context(cafile=outbound.authorities or None)
    try:
        client = _Client(server, outbound, context)
        if server.tls == "starttls":
            client.starttls(context)
        box = _Box(client)
        try:
            box.login(server.login, server.password, initial_folder=None)
        except Exception as cause:
            client.shutdown()
            if isinstance(cause, imaplib.IMAP4.abort | OSError):
                raise
            raise JobFailed("LOGIN_FAILED", again=False) from cause
        with box:
            yield Folders(box)
    except CozyError:
        raise
    except (OSError, imaplib.IMAP4.error, ImapToolsError) as cause:
        raise Unavailable(f"The mail server does not answer: {cause}") from cause


class Folders:
    """The folders of an account that is open."""

    def __init__(self, box: _Box) -> None:
        self._box = box
        self._client = box.client
        said = b" ".join(row for row in self._client.capability()[1] if isinstance(row, bytes)).upper().split()
        if b"ENABLE" in said and b"CONDSTORE" in said:  # servers tell more once one is logged in
            self._client.enable("CONDSTORE")

    def select(self, name: str) -> tuple[int, int]:
        """Look into a folder, without changing it; its UIDVALIDITY, and its highest modification number, 0 where it has none.

        :raises NoFolder: there is none of the name.
        """
        self._client.untagged_responses.pop("HIGHESTMODSEQ", None)
        try:
            self._box.folder.set(name, readonly=True)
        except MailboxFolderSelectError as cause:
            raise NoFolder(name) from cause
        return self._number("UIDVALIDITY"), self._number("HIGHESTMODSEQ")

    def _number(self, name: str) -> int:
        values = cast(Sequence[bytes], self._client.untagged_responses.get(name) or ())
        return int(values[-1]) if values and values[-1].isdigit() else 0

    def uids(self) -> set[int]:
        """Every message."""
        return {int(uid) for uid in self._box.uids("ALL")}

    def known(self, uids: Sequence[int]) -> Iterator[Known]:
        """Size and flags of messages."""
        for start in range(0, len(uids), AT_ONCE):
            some = ",".join(map(str, uids[start : start + AT_ONCE]))
            yield from self._listed(some, "(UID RFC822.SIZE FLAGS)")

    def changed(self, since: int) -> Iterator[Known]:
        """Messages whose flags changed after a modification number (RFC 7162, section 3.1.4)."""
        yield from self._listed("1:*", "(UID RFC822.SIZE FLAGS)", f"(CHANGEDSINCE {since})")

    def _listed(self, *asked: str) -> Iterator[Known]:
        _, rows = self._client.uid("FETCH", *asked)
        for row in rows:
            raw = row[0] if isinstance(row, tuple) else row
            uid = _UID.search(raw or b"")
            if uid:
                size, flags = _SIZE.search(raw), _FLAGS.search(raw)
                words = flags[1].decode("ascii", "replace").split() if flags else []
                kept = tuple(word for word in words if word != "\\Recent")  # said of a connection, not of the mail
                yield Known(int(uid[1]), int(size[1]) if size else 0, kept)

    def read(self, uid: int, *, head: int | None = None) -> bytes:
        """A message, or the first bytes of its head; it is not marked as seen."""
        part = "BODY.PEEK[]" if head is None else f"BODY.PEEK[HEADER]<0.{head}>"
        _, rows = self._client.uid("FETCH", str(uid), f"({part})")
        return b"".join(cast(bytes, row[1]) for row in rows if isinstance(row, tuple))


def server_of(account: Mapping[str, Any]) -> Server | None:
    """Where the mails of an `io.cozy.accounts` are; None: it does not say.

    :param account: with its password in clear.
    """
    auth, data = account.get("auth"), account.get("data")
    auth, data = auth if isinstance(auth, dict) else {}, data if isinstance(data, dict) else {}
    host, tls = data.get("host"), str(data.get("tls") or "tls")
    if not isinstance(host, str) or not host or tls not in ("tls", "starttls", "none"):
        return None
    port = data.get("port")
    number = int(port) if isinstance(port, int) and 0 < port < 65536 else {"tls": 993}.get(tls, 143)
    return Server(host, number, tls, str(auth.get("login") or ""), str(auth.get("password") or ""))
