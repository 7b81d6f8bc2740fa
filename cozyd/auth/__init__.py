"""`Auth`: credentials -> `Principal`; log in, log out; device passwords (docs/http/auth.md).

Sessions, devices and the instance record are asked on each request (from memory, exact), so that a revocation counts from
the next one on.
"""

import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from cozyd.auth import passwords, tokens
from cozyd.auth.agents import device_of
from cozyd.auth.attempts import Attempts, Gate
from cozyd.auth.bearer import REGISTERING, Bearer, decoded, secret_of
from cozyd.auth.clients import CLIENTS, Client, Clients
from cozyd.auth.devices import DEVICES, REACH, Devices
from cozyd.auth.factors import Factors
from cozyd.auth.grants import GRANTS, Grants
from cozyd.auth.guesses import Guesses, source_of
from cozyd.auth.handover import Handover
from cozyd.auth.letters import Letters
from cozyd.auth.links import Links, Maker, maker_of
from cozyd.auth.once import OneTime
from cozyd.auth.passkeys import Passkeys
from cozyd.auth.passphrase import BITWARDEN, NewPassphrase, Passphrase, check_strength
from cozyd.auth.sessions import LOGINS, SESSIONS, Sessions
from cozyd.auth.sets import PERMISSIONS, Sets
from cozyd.auth.tokens import Audience, Claims
from cozyd.auth.trail import Trail
from cozyd.auth.values import Credentials, Device, Kdf, Mails, Reach, time_of
from cozyd.cache import Cache
from cozyd.documents import Documents
from cozyd.documents.store import Stored
from cozyd.errors import BadRequest, BadToken, Forbidden, NotFound, Unauthorized
from cozyd.permissions import Principal, parse_scope

if TYPE_CHECKING:
    from cozyd.auth.oauth import OAuth

SHOWN_FOR = 600.0
PRESENT_FOR = timedelta(minutes=10)
REGISTRATIONS = 50
SECURITY = "/auth/security"
"""The page where the owner sees her sessions and secrets."""

OWNER = Principal("owner", "", everything=True)
REVOKING = frozenset((SESSIONS, DEVICES, CLIENTS, GRANTS, PERMISSIONS))
"""Doctypes whose changes may end somebody's rights."""

__all__ = ["BITWARDEN", "DEVICES", "LOGINS", "OWNER", "REACH", "REVOKING", "SESSIONS", "Auth", "Credentials", "Device", "Kdf", "Reach"]


@dataclass(frozen=True, slots=True)
class Owner:
    """How to write to the owner.

    :param mails: the post.
    :param email: her address; empty when unknown.
    :param url: an address on her main domain, of a path.
    """

    mails: Callable[[], Mails]
    email: Callable[[], str]
    url: Callable[[str], str]


class Record(Protocol):
    """The instance record, as this room needs it."""

    def __call__(self) -> Mapping[str, Any]:
        """The current document of doctype `instances`."""


class Auth:
    """Who is asking, for one instance.

    :param record: gives the instance record: domain, secrets, passphrase hash.
    :param verified: the process's memory of verified tokens.
    :param now: the clock, aware UTC.
    :param amend: changes fields of the instance record; None removes one.
    :param gate: lets few threads of the process hash at a time.
    :param owner: how to write to the owner, and what her pages are called.
    """

    def __init__(
        self,
        docs: Documents,
        record: Record,
        cache: Cache,
        verified: tokens.VerifiedTokens,
        now: Callable[[], datetime],
        *,
        amend: Callable[..., object],
        gate: Gate,
        owner: Owner,
    ) -> None:
        domain = str(record()["domain"])
        self._owner = owner
        self._docs = docs
        self._record = record
        self._cache = cache
        self._verified = verified
        self._now = now
        self._gate = gate
        self.attempts = Attempts(cache, record)
        self.once = OneTime(cache, domain)
        self.sessions = Sessions(docs, record, now)
        self.devices = Devices(docs, now)
        self.factors = Factors(docs, record, amend, self.attempts, self._mail, now)
        self.passphrase = Passphrase(docs, record, amend, gate, self._end_all)
        self.passkeys = Passkeys(docs, self.once, str(record()["prefix"]), now)
        self.letters = Letters(self.once, self.attempts, self.passphrase, record, self._mail, owner.url)
        self.trail = Trail(docs, now)
        self.sets = Sets(docs, now)
        self.clients = Clients(docs, self._hosts, now)
        self.grants = Grants(docs, now)
        self.handover = Handover(record, cache)
        self.links = Links(
            docs, self.sets, lambda name: self._sign("share", name, id=secrets.token_hex(16)), self._keep, self._matches, now
        )
        self._guesses = Guesses(cache, domain)
        self._bearer = Bearer(docs, record, verified, now, self.sets, self.sessions.is_of, self._guesses)
        self.passphrase.complete()

    def _keep(self, password: str) -> str:
        """What is stored of a link's password: hashed as the passphrase is."""
        return self._gate(passwords.keep, password, like=str(self._record().get("passphrase_hash") or ""))

    def _matches(self, password: str, kept: str) -> bool:
        """Whether it is the password that was kept of a link."""
        return self._gate(passwords.matches, password, kept)

    def _end_all(self) -> None:
        """What ends with a passphrase: sessions, whose cookies are signed anew, and the trust in browsers."""
        self.sessions.end_others()
        self.factors.distrust_all()

    def identify(self, credentials: Credentials) -> Principal:
        """Who shows these credentials: a bearer token, a device password (Basic) or a session cookie, in this order.

        :raises BadToken: the bearer token is forged, expired, or its session ended.
        :raises Unauthorized: nothing was shown, or the password or session is unknown.
        """
        if credentials.bearer:
            return self._bearer.identify(credentials)
        if credentials.basic is not None:
            return self.devices.identify(credentials.basic[1])
        if credentials.session:
            return self._by_session(credentials.session)
        raise Unauthorized("No token in request")

    # -- passphrase and sessions ------------------------------------------------------------------------------------

    def check_passphrase(self, derived: str, seen: Credentials) -> None:
        """Pass with the derived passphrase; the attempt was counted before.

        :raises Unauthorized: it is not hers; the first failure of an address in an hour stands in the trail.
        """
        try:
            self.passphrase.check(derived)
        except Unauthorized:
            if self.attempts.allows("failures noted", 1, 3600, source_of(seen.address)) and self.attempts.allows(
                "failures noted", 20, 3600
            ):
                self.trail.note("login_failed", seen)
            raise
        self.attempts.succeeded(seen)

    def log_in(self, derived: str, seen: Credentials, *, long_run: bool = False) -> str:
        """Open a session for the derived passphrase; the attempt was counted before.

        :returns: the session cookie's value.
        :raises Unauthorized: it is not hers.
        """
        self.check_passphrase(derived, seen)
        return self.open_session(seen, "passphrase", long_run=long_run)

    def open_session(self, seen: Credentials, by: str = "", *, long_run: bool, short_run: bool = False, told: bool = True) -> str:
        """A new session's cookie value; it stands in the trail, and in the history of log-ins.

        :param by: what opened it: `passphrase`, `passkey`, `magic link`, `session code`...
        :param short_run: for one errand: it ends after five minutes.
        :param told: whether she is written to when it is opened where she never was.
        """
        is_new = told and not self.attempts.knows(seen.known) and not self.sessions.is_usual(seen)
        cookie = self.sessions.open(seen, long_run=long_run, short_run=short_run, for_client=short_run)
        self.trail.note("logged_in", seen, by)
        if is_new:
            values = {"device": device_of(seen.agent), "place": seen.address, "time": self._moment(), "link": self._owner.url(SECURITY)}
            self._mail("new_connection", values)
        return cookie

    def confirm_presence(self, session_id: str) -> None:
        """She showed her passphrase or a passkey again: for ten minutes her pages change secrets."""
        self._cache.set(self._present_key(session_id), b"", PRESENT_FOR.total_seconds())

    def is_present(self, session: Stored) -> bool:
        """Whether she logged in, or confirmed that it is her, in the last ten minutes."""
        is_new = self._now() - time_of(session.doc["created_at"]) < PRESENT_FOR
        return is_new or self._cache.get(self._present_key(session.ref.id)) is not None

    def _present_key(self, session_id: str) -> str:
        return f"present/{self._record()['domain']}/{session_id}"

    def log_out(self, cookie: str, seen: Credentials | None = None) -> None:
        """End a session; one that ended already is fine."""
        if self.sessions.end(cookie):
            self.trail.note("logged_out", seen)

    def replace_passphrase(
        self,
        new: NewPassphrase,
        seen: Credentials | None = None,
        what: str = "passphrase_changed",
        *,
        current: str = "",
        is_judged: bool = True,
    ) -> None:
        """Have another passphrase be the one: see `Passphrase.put`; every session ends with the old one.

        :param what: how the trail calls it.
        """
        self.passphrase.put(new, current=current, is_judged=is_judged)
        self.trail.note(what, seen)
        if what != "passphrase_chosen":
            self._mail("passphrase_changed", {"link": self._owner.url("/auth/passphrase_reset"), "time": self._moment()})

    def new_session_code(self) -> str:
        """A code that opens a session once, within a week: an application that has everything hands it to a browser."""
        return self.once.make("session")

    def take_session_code(self, code: str) -> bool:
        """Use a session code up; whether it was good."""
        return self.once.take("session", code) is not None

    def app_session(self, cookie: str, host: str) -> str | None:
        """The session that a cookie of an app's host carries on, while it goes on; None: it does not."""
        session_id = self.handover.session_id(cookie, host)
        return session_id if session_id is not None and self.sessions.alive(session_id) is not None else None

    # -- what can be lost -------------------------------------------------------------------------------------------

    def request_reset(self, seen: Credentials, query: str = "") -> None:
        """Mail a link to renew the passphrase, if one may leave: see `Letters.send_reset`."""
        if self.letters.send_reset(query):
            self.trail.note("passphrase_reset", seen)

    def renew_passphrase(self, token: str, new: NewPassphrase, seen: Credentials) -> None:
        """Another passphrase for the token of a mail; the token is good once, and what only the old one opened is removed.

        :raises Invalid: see `Passphrase.put`; the token stays good.
        :raises BadRequest: the token is used, too old, or none.
        """
        new.check()
        if not new.iterations:
            check_strength(new.value, str(self._record()["domain"]))
        if self.once.take("reset", token) is None:
            raise BadRequest("invalid_token")
        self.replace_passphrase(new, seen, "passphrase_renewed")
        self.passphrase.drop_lost_ciphers()
        self.attempts.succeeded(seen)

    def request_magic_link(self, seen: Credentials, query: str = "") -> None:
        """Mail a link that logs in, if one may leave: see `Letters.send_magic_link`."""
        if self.letters.send_magic_link(query):
            self.trail.note("magic_link_sent", seen)

    def turn_off_factor(self, seen: Credentials) -> None:
        """Ask for no second factor any more."""
        if self.factors.kind:
            self.factors.turn_off()
            self.trail.note("factor_off", seen)

    def check_factor(self, token: str, passcode: str, seen: Credentials) -> None:
        """Pass with a token and its code: see `Factors.check`; what failed, and a recovery code, stand in the trail."""
        try:
            way = self.factors.check(token, passcode)
        except Forbidden:
            if self.attempts.allows("factor failures noted", 20, 3600):
                self.trail.note("factor_failed", seen)
            raise
        if way == "recovery":
            self.trail.note("recovery_used", seen, f"{self.factors.recovery_left()} left")

    def add_device(self, name: str, reach: Sequence[Reach], read_only: bool, seen: Credentials | None = None) -> tuple[Device, str]:
        """A new device password: see `Devices.add`."""
        device, password = self.devices.add(name, reach, read_only)
        self.trail.note("device_added", seen, device.name)
        return device, password

    def remove_device(self, id: str, seen: Credentials | None = None) -> None:
        """Revoke a device password: see `Devices.remove`."""
        self.devices.remove(id)
        self.trail.note("device_removed", seen)

    # -- tokens -----------------------------------------------------------------------------------------------------

    def cli_token(self, scope: str) -> str:
        """A token for the operator's scripts, good for 30 minutes.

        :raises BadRequest: the scope is empty or malformed.
        """
        parse_scope(scope)
        return self._sign("cli", "", scope=scope)

    def app_token(self, slug: str, scope: str | None = None, *, session_id: str = "") -> str:
        """A token as a web app has it; with a session it lives as long as that, at most 24 hours.

        :param scope: None: what the app's permission document says when the token is shown.
        :raises BadRequest: the scope is empty or malformed.
        """
        if scope is not None:
            parse_scope(scope)
        return self._sign("app", slug, scope=scope or "", session_id=session_id)

    def konnector_token(self, slug: str) -> str:
        """A token as a konnector has it, good for 30 minutes.

        :raises NotFound: it is not installed.
        """
        if self.sets.of_app("konnector", slug) is None:
            raise NotFound
        return self._sign("konn", slug)

    def minted(self, audience: Audience, subject: str, scope: str, life: timedelta | None = None) -> str:
        """A token of any kind, for the operator.

        :param life: how long it is good for; None: as usual.
        :raises BadRequest: the scope is malformed, or empty where it must not be.
        :raises NotFound: there is no such client.
        """
        if audience in ("access", "refresh"):
            self.clients.note(self.clients.get(subject), pending=...)
        elif scope or audience == "cli":
            parse_scope(scope)
        usual = Claims(audience, "", "", self._now()).life
        earlier = usual - life if usual is not None and life is not None else timedelta()
        return self._sign(audience, subject, scope=scope, issued_at=self._now() - earlier)

    def register_principal(self, token: str) -> Principal:
        """Who finishes the making of this instance, by the token of the invitation (hexadecimal).

        :raises BadToken: another one, or it is finished.
        """
        kept = self._record().get("register_token")
        if not kept or not hmac.compare_digest(token.lower().encode(), decoded(str(kept)).hex().encode()):
            raise BadToken
        return Principal("register", "", REGISTERING)

    # -- OAuth and share links --------------------------------------------------------------------------------------

    def oauth(self, issuer: str) -> "OAuth":
        """The authorization server, as the client asked for it.

        :param issuer: scheme and host of the request.
        """
        from cozyd.auth.oauth import OAuth, Tokens

        def sign(audience: Audience, client: str, scope: str, grant: str, id: str) -> str:
            return self._sign(audience, client, scope=scope, grant=grant, id=id)

        return OAuth(self.clients, self.grants, Tokens(str(self._record()["domain"]), sign, self._bearer.read), issuer)

    def registration_token(self, client: Client) -> str:
        """What a client shows to read, change or remove its registration (RFC 7592)."""
        return self._sign("registration", client.id)

    def registered(self, id: str, token: str) -> Client:
        """A client that shows its registration token.

        :raises NotFound: there is none.
        :raises Unauthorized: another token.
        """
        try:
            client = self.clients.get(id)
        except NotFound:
            raise NotFound("Client not found") from None
        try:
            claims = self._bearer.read(token)
        except BadToken as cause:
            raise Unauthorized("invalid_token") from cause
        if claims.audience != "registration" or claims.subject != client.id:
            raise Unauthorized("invalid_token")
        return client

    def note_client(self, client: Client, seen: Credentials) -> None:
        """The owner let a client in that has not been here before: she is told by mail."""
        self.trail.note("client_added", seen, client.name)
        self._mail("new_client", {"client": client.name, "time": self._moment(), "link": self._owner.url(SECURITY)})

    def ask_certificate(self, client: Client) -> str:
        """Mail the code with which the owner certifies a client for everything; the token that goes with it."""
        code = f"{secrets.randbelow(10**6):06}"
        if self.attempts.allows("certificates mailed", 5, 3600):
            self._mail("flagship_code", {"code": code})
        return self.once.make("certify", f"{client.id} {code}".encode())

    def certify(self, client: Client, token: str, code: str, seen: Credentials) -> None:
        """Certify a client by the mailed code.

        :raises Unauthorized: another code or client, or it is too old.
        :raises TooManyRequests: too many codes were tried.
        """
        self.attempts.limit("certificates", 10, 900)
        kept = self.once.look("certify", token)
        shown = f"{client.id} {''.join(code.split())}".encode("utf-8", "replace")
        if kept is None or not hmac.compare_digest(kept, shown) or self.once.take("certify", token) is None:
            raise Unauthorized("The code is not right")
        self.clients.note(client, flagship=True, certified_from_store=...)
        self.trail.note("client_certified", seen, client.name)

    def remove_client(self, client: Client, seen: Credentials | None = None) -> None:
        """Forget a client; its tokens are dead from the next request on."""
        self.clients.remove(client)
        self.trail.note("client_removed", seen, client.name)
        self.grants.revoke_all(client.id)

    def count_registration(self) -> bool:
        """Count a client that registers or changes; False: too many in this hour."""
        return self.attempts.allows("registrations", REGISTRATIONS, 3600)

    def maker(self, principal: Principal) -> Maker:
        """A principal as the maker of share links."""
        linked = self.clients.get(principal.id).linked_app if principal.kind == "client" else ""
        return maker_of(principal, linked, str(self._record()["domain"]))

    def link_of(self, code: str, address: str) -> Stored:
        """The share link of a token or short code: see `Bearer.link`."""
        return self._bearer.link(code, address)

    def unlock_link(self, id: str, password: str, seen: Credentials) -> str | None:
        """The value of the cookie `pass<id>`, for the password of a share link; None: it has none.

        :raises NotFound, Forbidden: no such link; another password.
        :raises TooManyRequests: too many were tried.
        """
        self._guesses.count_password(id, seen.address)
        value = self.links.unlock(id, password, decoded(self._record()["session_secret"]))
        self._guesses.forget_password(id, seen.address)
        return value

    def show_for_a_while(self, text: str) -> str:
        """Keep a text in memory for ten minutes, for pages that show it; answers its key."""
        key = secrets.token_urlsafe(16)
        self._cache.set(self._shown_key(key), text.encode(), SHOWN_FOR)
        return key

    def shown(self, key: str) -> str | None:
        """A text that was kept lately."""
        found = self._cache.get(self._shown_key(key))
        return found.decode() if found is not None else None

    def _shown_key(self, key: str) -> str:
        return f"shown/{self._record()['domain']}/{key}"

    # -- inside -----------------------------------------------------------------------------------------------------

    def _mail(self, template: str, values: Mapping[str, Any]) -> bool:
        """Write to the owner; False: nobody knows her address."""
        if not self._owner.email():
            return False
        self._owner.mails().send(template, values)
        return True

    def _moment(self) -> str:
        return f"{self._now():%Y-%m-%d %H:%M} UTC"

    def _by_session(self, cookie: str) -> Principal:
        self.sessions.get(cookie)
        return replace(OWNER)

    def _sign(
        self,
        audience: Audience,
        subject: str,
        *,
        scope: str = "",
        session_id: str = "",
        grant: str = "",
        id: str = "",
        issued_at: datetime | None = None,
    ) -> str:
        record = self._record()
        secret = secret_of(record, audience)
        assert secret is not None
        claims = Claims(audience, str(record["domain"]), subject, issued_at or self._now(), scope, session_id, grant, id)
        return tokens.sign(claims, secret)

    def _hosts(self) -> frozenset[str]:
        record = self._record()
        return frozenset((record["domain"], *record.get("domain_aliases", ())))
