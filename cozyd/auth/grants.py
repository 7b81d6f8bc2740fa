"""Authorization codes, and the grants they become (docs/http/oauth.md).

A grant is what the owner gave one client with one code: the tokens born from that code name it, and are good while it is
there. Its id is the code's hash, so that a code shown twice leads to what the first showing got.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cozyd.auth.lists import every
from cozyd.documents import Documents
from cozyd.documents.store import Doc, Ref, Stored, Write
from cozyd.errors import Conflict, NotFound
from cozyd.files.tree import write_time

CODES = "io.cozy.oauth.access_codes"
GRANTS = "io.cozy.oauth.grants"
CODE_LIFE = timedelta(minutes=5)
PUBLIC_LIFE = timedelta(days=365)
"""How long a client without a secret may go on refreshing (OWASP ASVS 5, 10.4.8)."""


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code, with the answers that Authlib's grants ask of one."""

    stored: Stored

    @property
    def client_id(self) -> str:
        """Whom it was made for."""
        return str(self.stored.doc.get("client_id", ""))

    @property
    def code_challenge(self) -> str:
        """The PKCE challenge, empty without."""
        return str(self.stored.doc.get("code_challenge", ""))

    @property
    def code_challenge_method(self) -> str:
        """`S256` is the only one (RFC 9700, section 2.1.1)."""
        return "S256"

    def get_redirect_uri(self) -> str:
        """Where it was sent."""
        return str(self.stored.doc.get("redirect_uri", ""))

    def get_scope(self) -> str:
        """What the owner agreed to."""
        return str(self.stored.doc.get("scope", ""))


@dataclass(frozen=True, slots=True)
class Grant:
    """What a client may do by one code.

    :param id: empty for refresh tokens of the reference, which knows no grants.
    :param refresh: the id of the one refresh token that is good.
    :param bound: the code was bound by PKCE or to a client without a secret, so that whoever shows it again has stolen it or
        was robbed; of others it is a client's own second try, as its secret came with it.
    :param rev: the revision that was read; empty before it is kept.
    """

    id: str
    client_id: str
    scope: str
    refresh: str = ""
    bound: bool = True
    issued_at: str = ""
    rev: str = ""


class Grants:
    """The codes and grants of one instance."""

    def __init__(self, docs: Documents, now: Callable[[], datetime]) -> None:
        self._docs = docs
        self._now = now

    def new_code(self, client_id: str, scope: str, redirect_uri: str, challenge: str) -> str:
        """Make a code; those nobody came for are dropped.

        :param challenge: PKCE's, empty without.
        """
        self._purge()
        body: Doc = {"client_id": client_id, "issued_at": int(self._now().timestamp()), "scope": scope, "redirect_uri": redirect_uri}
        if challenge:
            body["code_challenge"] = challenge
        return self._docs.put(CODES, body | {"_id": secrets.token_hex(24)}).ref.id

    def find_code(self, code: str, client_id: str) -> Code | None:
        """A code that is good for this client. One that was used before takes away what its first use gave."""
        try:
            found = Code(self._docs.get(Ref(CODES, code)))
        except NotFound:
            self._revoke_used(code, client_id)
            return None
        if found.client_id != client_id or self._is_old(found.stored):
            return None
        return found

    def scopes(self) -> Mapping[str, Sequence[str]]:
        """What each client may do by the codes it had: its id -> scopes."""
        found: dict[str, list[str]] = {}
        for stored in every(self._docs, GRANTS):
            if not stored.ref.id.startswith("_design/"):
                found.setdefault(str(stored.doc.get("client_id", "")), []).append(str(stored.doc.get("scope", "")))
        return found

    def exchange(self, code: Code, grant: Grant) -> bool:
        """Use a code up, and keep the grant, in one step; False: somebody else was faster, and loses what it got."""
        batch = [
            Write(code.stored.ref, rev=code.stored.rev, deleted=True),
            Write(Ref(GRANTS, grant.id), body=_body(grant)),
        ]
        try:
            self._docs.commit(batch)
        except Conflict:
            self._revoke_used(code.stored.ref.id, code.client_id)
            return False
        return True

    def make(self, code: Code, *, is_public: bool) -> Grant:
        """The grant a code becomes; not kept yet."""
        id, bound = _grant_id(code.stored.ref.id), is_public or bool(code.code_challenge)
        return Grant(id, code.client_id, code.get_scope(), secrets.token_hex(16), bound, write_time(self._now()))

    def start(self, client_id: str, scope: str) -> Grant:
        """A grant without a code: the owner gave the client her passphrase."""
        grant = Grant(secrets.token_hex(16), client_id, scope, secrets.token_hex(16), True, write_time(self._now()))
        self._docs.put(GRANTS, _body(grant) | {"_id": grant.id})
        return grant

    def get(self, id: str) -> Grant:
        """A grant that is good.

        :raises NotFound: it was revoked.
        """
        stored = self._docs.get(Ref(GRANTS, id))
        client, scope, refresh, issued = (str(stored.doc.get(name, "")) for name in ("client_id", "scope", "refresh", "issued_at"))
        return Grant(id, client, scope, refresh, stored.doc.get("bound") is not False, issued, stored.rev)

    def rotate(self, grant: Grant, fresh: str) -> bool:
        """Have another refresh token be the good one; False: the old one was used twice at the same time, and all ends."""
        try:
            self._docs.commit([Write(Ref(GRANTS, grant.id), patch={"refresh": fresh}, rev=grant.rev)])
        except (Conflict, NotFound):
            self.revoke(grant.id)
            return False
        return True

    def is_over(self, grant: Grant) -> bool:
        """Whether a client without a secret has to ask the owner again."""
        return bool(grant.issued_at) and self._now() - datetime.fromisoformat(grant.issued_at) > PUBLIC_LIFE

    def revoke(self, id: str) -> None:
        """End a grant, and with it all tokens that name it; one that ended is fine."""

        def write() -> None:
            stored = self._docs.get(Ref(GRANTS, id))
            self._docs.delete(stored.ref, stored.rev)

        try:
            self._docs.retry(write)
        except NotFound:
            return

    def revoke_all(self, client_id: str) -> None:
        """End what a client has: codes and grants."""
        for doctype in (CODES, GRANTS):
            for stored in self._all(doctype):
                if stored.doc.get("client_id") == client_id:
                    self._drop(stored)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _revoke_used(self, code: str, client_id: str) -> None:
        try:
            grant = self.get(_grant_id(code))
        except NotFound:
            return
        if grant.client_id == client_id and grant.bound:
            self.revoke(grant.id)

    def _is_old(self, stored: Stored) -> bool:
        issued: Any = stored.doc.get("issued_at")
        if not isinstance(issued, int):
            return True
        return self._now() - datetime.fromtimestamp(issued, UTC) > CODE_LIFE

    def _purge(self) -> None:
        for stored in self._all(CODES):
            if self._is_old(stored):
                self._drop(stored)

    def _all(self, doctype: str) -> list[Stored]:
        try:
            return list(self._docs.all(doctype).rows)
        except NotFound:
            return []

    def _drop(self, stored: Stored) -> None:
        try:
            self._docs.delete(stored.ref, stored.rev)
        except (Conflict, NotFound):
            return


def _grant_id(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()[:32]


def _body(grant: Grant) -> Doc:
    body: Doc = {"client_id": grant.client_id, "scope": grant.scope, "refresh": grant.refresh, "issued_at": grant.issued_at}
    return body if grant.bound else body | {"bound": False}
