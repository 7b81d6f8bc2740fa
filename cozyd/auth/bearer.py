"""Bearer tokens -> `Principal`: one way for every door (docs/http/auth.md, docs/http/permissions.md).

The signature is checked once for each token and process; what may change (time, session, client, grant, permission document) is
asked on each request, from memory where this process is the only writer. Rules are compiled once for each scope or revision.
"""

import base64
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from cozyd.auth.clients import CLIENTS, Client
from cozyd.auth.grants import GRANTS
from cozyd.auth.guesses import Guesses
from cozyd.auth.links import Links
from cozyd.auth.sets import SHORT_CODE, Sets, rules_of
from cozyd.auth.tokens import Claims, VerifiedTokens
from cozyd.auth.values import Credentials
from cozyd.documents import Documents
from cozyd.documents.store import Ref, Stored
from cozyd.errors import BadRequest, BadToken, Forbidden, Moved, NotFound
from cozyd.permissions import Kind, Principal, Rule, parse_scope

LONGEST_TOKEN = 8192
MOST_COMPILED = 1000
SETTINGS = Ref("io.cozy.settings", "io.cozy.settings.instance")
EVERYTHING, LOGIN = "*", "login"
LINKED = "@io.cozy.apps/"
REGISTERING = (Rule("rule0", "io.cozy.settings", frozenset(("GET",)), None, ("io.cozy.settings.instance",)),)

_SECRETS = {
    "cli": "cli_secret",
    "app": "session_secret",
    "konn": "session_secret",
    "access": "oauth_secret",
    "refresh": "oauth_secret",
    "registration": "oauth_secret",
    "share": "oauth_secret",
}


def secret_of(record: Mapping[str, Any], audience: str) -> bytes | None:
    """The key a kind of token is signed with."""
    name = _SECRETS.get(audience)
    return decoded(record[name]) if name is not None else None


@lru_cache(maxsize=1024)
def decoded(text: str) -> bytes:
    """A secret of the instance record as bytes."""
    return base64.b64decode(text)


class Bearer:
    """Who a bearer token is, for one instance.

    :param record: gives the instance record.
    :param session: whether a session goes on, and is the one whose cookie was shown.
    """

    def __init__(
        self,
        docs: Documents,
        record: Callable[[], Mapping[str, Any]],
        verified: VerifiedTokens,
        now: Callable[[], datetime],
        sets: Sets,
        session: Callable[[str, str | None], bool],
        guesses: Guesses,
    ) -> None:
        self._docs = docs
        self._record = record
        self._verified = verified
        self._now = now
        self._sets = sets
        self._session = session
        self._guesses = guesses
        self._by_scope: dict[str, tuple[Rule, ...]] = {}
        self._by_rev: dict[tuple[str, str], tuple[Rule, ...]] = {}

    def identify(self, shown: Credentials) -> Principal:
        """Who shows this token, or this short code.

        :raises BadToken: forged, expired, revoked, of another instance, or its session ended.
        :raises Forbidden: a share code that no link has.
        :raises TooManyRequests: short codes are being guessed.
        """
        token = shown.bearer or ""
        if len(token) <= 13 and SHORT_CODE.fullmatch(token):
            token = self._long(token, shown.address)
        claims = self.read(token)
        if claims.session_id and not self._session(claims.session_id, shown.session):
            raise BadToken
        match claims.audience:
            case "access":
                return self._client(claims)
            case "app" | "konn":
                return self._app(claims)
            case "share":
                return self._link(token, shown)
            case "cli":
                return Principal("cli", claims.subject, self._scoped(claims.scope))
        raise BadToken(f"Unrecognized token audience {claims.audience}")

    def read(self, token: str) -> Claims:
        """The claims of a token of this instance that is not too old.

        :raises BadToken: forged, too old, or of another instance.
        """
        if len(token) > LONGEST_TOKEN:
            raise BadToken
        record = self._record()
        claims = self._verified.read(token, lambda audience: secret_of(record, audience))
        if claims.issuer not in (record["domain"], record.get("old_domain"), *record.get("former_domains", ())):
            raise BadToken
        if claims.life is not None and claims.issued_at + claims.life < self._now():
            raise BadToken(expired=True)
        return claims

    def link(self, code: str, address: str) -> Stored:
        """The share link that a token or short code is of, whether its password was given or not.

        :raises Forbidden, BadRequest, BadToken: it is none's, or its time is over.
        :raises TooManyRequests: this address guessed too many.
        """
        return self._sets.of_code(code if "." in code else self._long(code, address))

    # -- inside -----------------------------------------------------------------------------------------------------

    def _long(self, short: str, address: str) -> str:
        """The token a short code stands for; who guesses is slowed down."""
        self._guesses.check(address)
        try:
            return self._sets.token_of(short)
        except Forbidden:
            self._guesses.missed(address)
            raise

    def _client(self, claims: Claims) -> Principal:
        """A client, while it and the grant of its token are there.

        :raises Moved: the instance is elsewhere now, where it gets new tokens.
        """
        if self._record().get("moved"):
            known = self._docs.get_many(SETTINGS.doctype, [SETTINGS.id])[0]
            raise Moved("The Cozy has been moved to a new address", location=str(known.doc.get("moved_to") or "") if known else "")
        try:
            client = self._docs.get(Ref(CLIENTS, claims.subject))
            if claims.grant and self._docs.get(Ref(GRANTS, claims.grant)).doc.get("client_id") != claims.subject:
                raise BadToken
        except NotFound:
            raise BadToken from None
        if claims.scope == EVERYTHING:
            if client.doc.get("flagship") is not True:
                raise BadToken
            return Principal("client", claims.subject, everything=True)
        if claims.scope.startswith(LINKED):
            return Principal("client", claims.subject, self._linked(client, claims.scope))
        return Principal("client", claims.subject, self._scoped(claims.scope))

    def _linked(self, client: Stored, scope: str) -> tuple[Rule, ...]:
        """What the app has now that a client is linked to."""
        slug = scope.removeprefix(LINKED)
        stored = self._sets.of_app("app", slug)
        if stored is None or Client(client).linked_app != slug:
            raise BadToken(expired=True)
        return self._compiled(stored)

    def _app(self, claims: Claims) -> Principal:
        """An app or konnector: its permission document, or the scope that the operator gave a token of its shape."""
        kind: Kind = "app" if claims.audience == "app" else "konnector"
        if claims.scope:
            return Principal(kind, claims.subject, self._scoped(claims.scope))
        stored = self._sets.of_app(kind, claims.subject)
        if stored is None:
            raise BadToken(expired=True)
        return Principal(kind, claims.subject, self._compiled(stored))

    def _link(self, token: str, shown: Credentials) -> Principal:
        stored = self._sets.of_code(token)
        key = secret_of(self._record(), "app") or b""
        if not Links.is_unlocked(stored, shown.passes.get(f"pass{stored.ref.id}", ""), key):
            raise BadToken
        return Principal("link", stored.ref.id, self._compiled(stored))

    def _scoped(self, scope: str) -> tuple[Rule, ...]:
        rules = self._by_scope.get(scope)
        if rules is None:
            try:
                rules = parse_scope(scope)
            except BadRequest as cause:
                raise BadToken(cause.detail) from cause
            if len(self._by_scope) >= MOST_COMPILED:
                self._by_scope.clear()
            self._by_scope[scope] = rules
        return rules

    def _compiled(self, stored: Stored) -> tuple[Rule, ...]:
        name = (stored.ref.id, stored.rev)
        rules = self._by_rev.get(name)
        if rules is None:
            rules = rules_of(stored)
            if len(self._by_rev) >= MOST_COMPILED:
                self._by_rev.clear()
            self._by_rev[name] = rules
        return rules
