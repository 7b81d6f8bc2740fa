"""`Auth`: credentials -> `Principal`; log in, log out; device passwords (docs/http/auth.md).

Sessions, devices and the instance record are asked on each request (from memory, exact), so that a revocation counts from
the next one on.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, cast

from cozyd.auth import passwords, tokens
from cozyd.auth.bearer import REGISTERING, Bearer, decoded, secret_of
from cozyd.auth.clients import CLIENTS, Client, Clients
from cozyd.auth.grants import GRANTS, Grants
from cozyd.auth.guesses import Guesses, source_of
from cozyd.auth.links import Links, Maker, maker_of
from cozyd.auth.sets import PERMISSIONS, Sets
from cozyd.auth.tokens import Audience, Claims
from cozyd.auth.values import Credentials, Device, Kdf, Reach
from cozyd.cache import Cache
from cozyd.documents import Documents
from cozyd.documents.store import Ref, Stored, Write
from cozyd.errors import BadToken, Conflict, Invalid, NotFound, StorageFull, TooManyRequests, Unauthorized, Unavailable
from cozyd.permissions import ACTIONS, Action, Principal, Rule, parse_scope

if TYPE_CHECKING:
    from cozyd.auth.oauth import OAuth

SESSIONS = "io.cozy.sessions"
LOGINS = "io.cozy.sessions.logins"
DEVICES = "io.cozy.devices"
BITWARDEN = Ref("io.cozy.settings", "io.cozy.settings.bitwarden")

SESSION_IDLE = timedelta(days=30)
SHORT_SESSION = timedelta(seconds=300)
SEEN_EVERY = timedelta(hours=24)
USED_EVERY = timedelta(hours=1)

SHOWN_FOR = 600.0
ATTEMPTS, ATTEMPTS_WINDOW = 10, 300
ACCOUNT_ATTEMPTS, ACCOUNT_WINDOW = 300, 3600
KNOWN_FOR = 30 * 24 * 3600.0
REGISTRATIONS = 50
SESSION_CODE_FOR = 7 * 24 * 3600.0

LONGEST_NAME = 80

REACH: Mapping[Reach, tuple[str, ...]] = {
    "contacts": ("io.cozy.contacts", "io.cozy.contacts.*"),
    "calendars": ("io.cozy.calendar.*",),
    "files": ("io.cozy.files",),
}
OWNER = Principal("owner", "", everything=True)
REVOKING = frozenset((SESSIONS, DEVICES, CLIENTS, GRANTS, PERMISSIONS))
"""Doctypes whose changes may end somebody's rights."""

__all__ = ["OWNER", "REACH", "REVOKING", "Auth", "Credentials", "Device", "Kdf", "Reach"]


class Record(Protocol):
    """The instance record, as this room needs it."""

    def __call__(self) -> Mapping[str, Any]:
        """The current document of doctype `instances`."""


class Auth:
    """Who is asking, for one instance.

    :param record: gives the instance record: domain, secrets, passphrase hash.
    :param verified: the process's memory of verified tokens.
    :param now: the clock, aware UTC.
    """

    def __init__(
        self,
        docs: Documents,
        record: Record,
        cache: Cache,
        verified: tokens.VerifiedTokens,
        now: Callable[[], datetime],
    ) -> None:
        self._docs = docs
        self._record = record
        self._cache = cache
        self._verified = verified
        self._now = now
        self.sets = Sets(docs, now)
        self.clients = Clients(docs, self._hosts, now)
        self.grants = Grants(docs, now)
        self.links = Links(docs, self.sets, lambda name: self._sign("share", name, id=secrets.token_hex(16)), now)
        self._guesses = Guesses(cache, str(record()["domain"]))
        self._bearer = Bearer(docs, record, verified, now, self.sets, self._session_of, self._guesses)

    def identify(self, credentials: Credentials) -> Principal:
        """Who shows these credentials: a bearer token, a device password (Basic) or a session cookie, in this order.

        :raises BadToken: the bearer token is forged, expired, or its session ended.
        :raises Unauthorized: nothing was shown, or the password or session is unknown.
        """
        if credentials.bearer:
            return self._bearer.identify(credentials)
        if credentials.basic is not None:
            return self._by_device(credentials.basic[1])
        if credentials.session:
            return self._by_session(credentials.session)
        raise Unauthorized("No token in request")

    # -- passphrase and sessions ------------------------------------------------------------------------------------

    def kdf(self) -> Kdf:
        """How clients derive what they send from the passphrase; the salt has no port."""
        try:
            iterations = self._docs.get(BITWARDEN).doc.get("passphrase_kdf_iterations")
        except NotFound:
            iterations = None
        host = str(self._record()["domain"]).split(":", 1)[0]
        return Kdf(f"me@{host}", iterations if isinstance(iterations, int) and iterations > 0 else passwords.ITERATIONS)

    def derive(self, passphrase: str) -> str:
        """What an official client would send for this passphrase; costs as much as there (about 0.3 s)."""
        return passwords.derive(passphrase, self.kdf())

    def count_attempt(self, seen: Credentials) -> None:
        """Count an attempt to log in, before anything costly is done for it.

        Strangers can use up what the account has; who logged in from her address lately is not shut out by that.

        :raises TooManyRequests: too many from this address, or for this account.
        """
        here = self._cache.hit(self._key("attempts", seen), ATTEMPTS_WINDOW)
        account = self._cache.hit(self._key("attempts"), ACCOUNT_WINDOW)
        is_known = self._cache.get(self._key("known", seen)) is not None
        if here > ATTEMPTS or (account > ACCOUNT_ATTEMPTS and not is_known):
            raise TooManyRequests("Too many attempts, try again in a few minutes", retry_after=ATTEMPTS_WINDOW)

    def log_in(self, derived: str, seen: Credentials, *, long_run: bool = False) -> str:
        """Open a session for the derived passphrase; the attempt was counted before.

        :returns: the session cookie's value.
        :raises Unauthorized: it is not hers.
        """
        self.check_passphrase(derived, seen)
        return self.open_session(seen, long_run=long_run)

    def check_passphrase(self, derived: str, seen: Credentials) -> None:
        """Pass with the derived passphrase; the attempt was counted before.

        :raises Unauthorized: it is not hers.
        """
        kept = self._record().get("passphrase_hash")
        if not passwords.matches(derived, str(kept or passwords.NOBODY)):
            raise Unauthorized("The credentials you entered are incorrect, please try again.")
        self._cache.delete(self._key("attempts", seen))
        self._cache.set(self._key("known", seen), b"", KNOWN_FOR)

    def open_session(self, seen: Credentials, *, long_run: bool, short_run: bool = False) -> str:
        """A new session's cookie value; the log-in is kept in her history.

        :param short_run: for one errand: it ends after five minutes.
        """
        now = self._text(self._now())
        session_id = secrets.token_hex(16)
        session = {"created_at": now, "last_seen": now, "long_run": long_run, "short_run": short_run}
        login = {"session_id": session_id, "ip": seen.address, "user_agent": seen.agent, "created_at": now}
        self._docs.commit([Write(Ref(SESSIONS, session_id), body=session), Write(Ref(LOGINS, self._docs.new_id()), body=login)])
        return self._cookie(session_id)

    def new_session_code(self) -> str:
        """A code that opens a session once, within a week: an application that has everything hands it to a browser."""
        code = secrets.token_urlsafe(32)
        self._cache.set(self._code_key(code), b"", SESSION_CODE_FOR)
        return code

    def take_session_code(self, code: str) -> bool:
        """Use a session code up; whether it was good."""
        key = self._code_key(code)
        is_good = self._cache.get(key) is not None and self._cache.hit(f"{key}/uses", SESSION_CODE_FOR) == 1
        self._cache.delete(key)
        return is_good

    def _code_key(self, code: str) -> str:
        return f"session-code/{self._record()['domain']}/{hashlib.sha256(code.encode('utf-8', 'replace')).hexdigest()}"

    def log_out(self, cookie: str) -> None:
        """End a session; one that ended already is fine."""
        try:
            session = self._session(cookie)
            self._docs.delete(session.ref, session.rev)
        except (Unauthorized, Conflict):
            return

    def session_id(self, cookie: str) -> str:
        """The id of a live session.

        :raises Unauthorized: forged, ended, or too old.
        """
        return self._session(cookie).ref.id

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

    def remove_client(self, client: Client) -> None:
        """Forget a client; its tokens are dead from the next request on."""
        self.clients.remove(client)
        self.grants.revoke_all(client.id)

    def count_registration(self) -> bool:
        """Count a client that registers or changes; False: too many in this hour."""
        return self._cache.hit(self._key("registrations"), 3600) <= REGISTRATIONS

    def maker(self, principal: Principal) -> Maker:
        """A principal as the maker of share links."""
        linked = self.clients.get(principal.id).linked_app if principal.kind == "client" else ""
        return maker_of(principal, linked, str(self._record()["domain"]))

    def unlock_link(self, id: str, password: str, seen: Credentials) -> str | None:
        """The value of the cookie `pass<id>`, for the password of a share link; None: it has none.

        :raises NotFound, Forbidden: no such link; another password.
        :raises TooManyRequests: too many were tried.
        """
        self._guesses.count_password(id, seen.address)
        value = self.links.unlock(id, password, decoded(self._record()["session_secret"]))
        self._guesses.forget_password(id, seen.address)
        return value

    # -- devices ----------------------------------------------------------------------------------------------------

    def devices(self) -> Sequence[Device]:
        """Her device passwords, oldest first."""
        try:
            found = self._docs.all(DEVICES).rows
        except NotFound:
            return ()
        return sorted((_device(stored) for stored in found), key=lambda device: device.created_at)

    def add_device(self, name: str, reach: Sequence[Reach], read_only: bool) -> tuple[Device, str]:
        """A new device password: 128 random bits; only its SHA-256 is kept.

        :param name: for people; what cannot be printed is left out, what is over 80 characters is cut.
        :returns: the device, and the password, which nobody can show again.
        :raises Invalid: it has no name, or reaches nothing.
        """
        name = "".join(letter for letter in " ".join(name.split()) if letter.isprintable())[:LONGEST_NAME].strip()
        if not name or not reach or any(one not in REACH for one in reach):
            raise Invalid("A device needs a name, and reaches contacts, calendars or files", source="reach")
        letters = base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()
        password = "-".join(letters[start : start + 5] for start in range(0, len(letters), 5))
        body = {"name": name, "reach": list(reach), "read_only": read_only, "created_at": self._text(self._now())}
        stored = self._docs.put(DEVICES, body | {"_id": _device_id(password)})
        return _device(stored), password

    def remove_device(self, id: str) -> None:
        """Revoke a device password; counts from the next request on.

        :raises NotFound: there is none of this id.
        """
        stored = self._docs.get(Ref(DEVICES, id))
        self._docs.delete(stored.ref, stored.rev)

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

    def _by_device(self, password: str) -> Principal:
        try:
            stored = self._docs.get(Ref(DEVICES, _device_id(password)))
        except NotFound:
            raise Unauthorized("The password is unknown") from None
        doc = stored.doc
        used = doc.get("last_used")
        if not used or self._now() - _time(used) >= USED_EVERY:
            self._note_use(stored)
        return Principal("device", stored.ref.id, _reaching(tuple(doc["reach"]), doc["read_only"] is True))

    def _note_use(self, stored: Stored) -> None:
        hour = self._now().replace(minute=0, second=0, microsecond=0)
        try:
            self._docs.commit([Write(stored.ref, patch={"last_used": self._text(hour)}, rev=stored.rev)])
        except (Conflict, NotFound, StorageFull, Unavailable):
            return  # another request noted it, or it was revoked just now; a full disk is no reason to refuse a reader

    def _by_session(self, cookie: str) -> Principal:
        self._session(cookie)
        return replace(OWNER)

    def _session(self, cookie: str) -> Stored:
        try:
            raw = base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4))
        except ValueError:
            raise Unauthorized("The session is unknown") from None
        session_id = raw[:16].hex()
        if not hmac.compare_digest(cookie, self._cookie(session_id)):
            raise Unauthorized("The session is unknown")
        stored = self._alive(session_id)
        if stored is None:
            raise Unauthorized("The session has ended")
        return stored

    def _alive(self, session_id: str) -> Stored | None:
        """A session that is neither ended nor too old; its last use is noted once a day."""
        try:
            stored = self._docs.get(Ref(SESSIONS, session_id))
        except NotFound:
            return None
        now, seen = self._now(), _time(stored.doc["last_seen"])
        if now - seen > (SHORT_SESSION if stored.doc.get("short_run") else SESSION_IDLE):
            return None
        if now - seen >= SEEN_EVERY:
            try:
                self._docs.commit([Write(stored.ref, patch={"last_seen": self._text(now)}, rev=stored.rev)])
            except Conflict:
                return self._alive(session_id)
        return stored

    def _cookie(self, session_id: str) -> str:
        key = base64.b64decode(self._record()["session_secret"])
        raw = bytes.fromhex(session_id)
        return base64.urlsafe_b64encode(raw + hmac.digest(key, b"cozysessid" + raw, "sha256")).decode().rstrip("=")

    def _session_of(self, session_id: str, cookie: str | None) -> bool:
        """Whether a session goes on, and a door that reads cookies was shown this session's."""
        return self._alive(session_id) is not None and (cookie is None or hmac.compare_digest(cookie, self._cookie(session_id)))

    def _sign(self, audience: Audience, subject: str, *, scope: str = "", session_id: str = "", grant: str = "", id: str = "") -> str:
        record = self._record()
        secret = secret_of(record, audience)
        assert secret is not None
        claims = Claims(audience, str(record["domain"]), subject, self._now(), scope, session_id, grant, id)
        return tokens.sign(claims, secret)

    def _hosts(self) -> frozenset[str]:
        record = self._record()
        return frozenset((record["domain"], *record.get("domain_aliases", ())))

    def _key(self, what: str, seen: Credentials | None = None) -> str:
        return f"login/{what}/{self._record()['domain']}/{source_of(seen.address) if seen else ''}"

    @staticmethod
    def _text(time: datetime) -> str:
        return time.isoformat().replace("+00:00", "Z")


@lru_cache(maxsize=64)
def _reaching(reach: tuple[Reach, ...], read_only: bool) -> tuple[Rule, ...]:
    """The rules of a device password."""
    actions: frozenset[Action] = frozenset(("GET",)) if read_only else ACTIONS
    return tuple(Rule(name, name, actions) for one in reach for name in REACH[one])


def _device_id(password: str) -> str:
    """Dashes, spaces and case are for the eye only."""
    plain = "".join(password.split()).replace("-", "").lower()
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()[:32]


def _device(stored: Stored) -> Device:
    doc = stored.doc
    used = doc.get("last_used")
    return Device(
        id=stored.ref.id,
        name=str(doc["name"]),
        reach=cast(tuple[Reach, ...], tuple(doc["reach"])),
        read_only=doc["read_only"] is True,
        created_at=_time(doc["created_at"]),
        last_used=_time(used) if used else None,
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
