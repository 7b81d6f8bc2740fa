"""The second factor: codes by mail or of an authenticator app, recovery codes, trusted browsers (docs/http/auth.md, section 5).

A token says that the passphrase was right: a random salt and the time, under a MAC. Nothing is kept for it; a mailed code is
derived from the salt. Each code is good once, each token for fifteen minutes and ten tries.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from cozyd.auth.agents import browser_of, system_of
from cozyd.auth.attempts import Attempts
from cozyd.auth.lists import every
from cozyd.auth.values import Credentials, text_of, time_of
from cozyd.documents import Documents
from cozyd.documents.store import Doc, Ref, Stored, Write
from cozyd.errors import Conflict, Forbidden, Invalid, NotFound
from cozyd.seals import Seal

FACTORS = "io.cozy.auth.factors"
TRUSTED = "io.cozy.auth.trusted"
APP = Ref(FACTORS, "authenticator")
MAIL_MODE = 1
"""`auth_mode` of an instance record that asks for a second factor."""

LIFE = timedelta(minutes=15)
TRIES, TRIES_OF_ALL = 10, 60
TRUSTED_FOR = timedelta(days=180)
STEP = 30
RECOVERY_CODES = 10
WRONG = "The two-factor passcode is invalid"
_SALT, _MAC = 16, 16


@dataclass(frozen=True, slots=True)
class Setup:
    """An authenticator app that is being set up.

    :param secret: base32, for who types it.
    :param uri: `otpauth://...`, for a QR code.
    """

    secret: str
    uri: str


class Factors:
    """The second factor of one instance.

    :param record: gives the instance record.
    :param amend: changes it.
    :param mail: sends a mail of a template to the owner.
    """

    def __init__(
        self,
        docs: Documents,
        record: Callable[[], Mapping[str, Any]],
        amend: Callable[..., object],
        attempts: Attempts,
        mail: Callable[[str, Mapping[str, Any]], object],
        now: Callable[[], datetime],
    ) -> None:
        self._docs = docs
        self._record = record
        self._amend = amend
        self._attempts = attempts
        self._mail = mail
        self._now = now

    @property
    def kind(self) -> Literal["", "mail", "app"]:
        """Where the codes come from; empty: no second factor is asked for."""
        if self._record().get("auth_mode") != MAIL_MODE:
            return ""
        return "app" if self._app() is not None else "mail"

    # -- logging in -------------------------------------------------------------------------------------------------

    def challenge(self) -> str:
        """The token of who gave the right passphrase; a code goes out by mail, unless an app makes them."""
        raw = secrets.token_bytes(_SALT) + int(self._now().timestamp()).to_bytes(8, "big")
        token = base64.urlsafe_b64encode(raw + self._mac(b"token", raw)[:_MAC]).decode().rstrip("=")
        if self.kind == "mail" and self._attempts.allows("two-factor mails", 20, 3600):
            self._mail("two_factor", {"code": self._passcode(raw)})
        return token

    def check(self, token: str, passcode: str) -> Literal["mail", "app", "recovery"]:
        """Pass with a token and its code, or a recovery code; each once. Which of them it was.

        :raises Forbidden: the token is none or too old, or the code is not right.
        :raises TooManyRequests: too many codes were tried.
        """
        raw = self._opened(token)
        name = raw.hex()
        self._attempts.limit(f"factor/{name}", TRIES, int(LIFE.total_seconds()))
        self._attempts.limit("factors", TRIES_OF_ALL, 3600)
        code = "".join(passcode.split()).replace("-", "").lower()
        way = self._way(raw, code)
        if way is None or not self._attempts.allows(f"factor-used/{name}", 1, int(LIFE.total_seconds())):
            raise Forbidden(WRONG)
        return way

    def _way(self, raw: bytes, code: str) -> Literal["mail", "app", "recovery"] | None:
        app = self._app()
        if app is None:
            return "mail" if self.kind == "mail" and hmac.compare_digest(code.encode(), self._passcode(raw).encode()) else None
        if self._is_of_app(app, code):
            return "app"
        return "recovery" if self._is_recovery(app, code) else None

    def _opened(self, token: str) -> bytes:
        """What is in a token of ours that is not too old."""
        try:
            found = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            raise Forbidden(WRONG) from None
        raw, mac = found[: _SALT + 8], found[_SALT + 8 :]
        if len(raw) != _SALT + 8 or not hmac.compare_digest(mac, self._mac(b"token", raw)[:_MAC]):
            raise Forbidden(WRONG)
        if self._now() - datetime.fromtimestamp(int.from_bytes(raw[_SALT:], "big"), UTC) > LIFE:
            raise Forbidden(WRONG)
        return raw

    def _passcode(self, raw: bytes) -> str:
        return f"{int.from_bytes(self._mac(b'passcode', raw)[:8], 'big') % 10**6:06}"

    # -- trusted browsers -------------------------------------------------------------------------------------------

    def trust(self, seen: Credentials) -> str:
        """The token of a browser that is asked for no code from now on; its SHA-256 is what is kept."""
        token = secrets.token_urlsafe(32)
        for old in every(self._docs, TRUSTED):
            if self._now() - time_of(old.doc["created_at"]) >= TRUSTED_FOR:
                self._docs.delete(old.ref, old.rev)
        body = {"browser": browser_of(seen.agent), "os": system_of(seen.agent), "created_at": text_of(self._now())}
        self._docs.put(TRUSTED, body | {"_id": _hashed(token)})
        return token

    def is_trusted(self, token: str, seen: Credentials) -> bool:
        """Whether a browser has a token of its own that is not too old."""
        if not token:
            return False
        try:
            doc = self._docs.get(Ref(TRUSTED, _hashed(token))).doc
        except NotFound:
            return False
        like = (doc.get("browser"), doc.get("os")) == (browser_of(seen.agent), system_of(seen.agent))
        return like and self._now() - time_of(doc["created_at"]) < TRUSTED_FOR

    def trusted(self) -> Sequence[Stored]:
        """The trusted browsers."""
        return [one for one in every(self._docs, TRUSTED) if self._now() - time_of(one.doc["created_at"]) < TRUSTED_FOR]

    def distrust_all(self) -> None:
        """Ask every browser for a code again."""
        for stored in every(self._docs, TRUSTED):
            self._docs.delete(stored.ref, stored.rev)

    # -- on and off -------------------------------------------------------------------------------------------------

    def ask_for_mail(self) -> None:
        """Send the code that turns codes by mail on; it shows that mails arrive."""
        self._attempts.limit("factor activation", 10, 3600)
        self._mail("two_factor", {"code": self._activation(0)})

    def turn_on_mail(self, code: str) -> None:
        """Ask for codes by mail from now on.

        :raises Invalid: another code.
        :raises TooManyRequests: too many were tried.
        """
        self._attempts.limit("factor activation tries", TRIES, int(LIFE.total_seconds()))
        given = "".join(code.split()).encode()
        if not any(hmac.compare_digest(given, self._activation(back).encode()) for back in (0, 1)):
            raise Invalid(WRONG, source="two_factor_activation_code")
        self._amend(auth_mode=MAIL_MODE)

    def new_app(self, account: str) -> Setup:
        """A secret for an authenticator app; nothing is asked for before `turn_on_app`.

        :param account: what the app shows.
        """
        import pyotp

        secret = pyotp.random_base32()
        return Setup(secret, pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name="cozyd"))

    def turn_on_app(self, secret: str, code: str) -> Sequence[str]:
        """Ask for the codes of an app from now on, as it shows one; the recovery codes, which nobody can show again.

        :raises Invalid: the code is not of this secret.
        """
        self._attempts.limit("factor activation tries", TRIES, int(LIFE.total_seconds()))
        step = self._step_of(secret, "".join(code.split()), -1)
        if step is None:
            raise Invalid(WRONG, source="two_factor_activation_code")
        codes = _new_recovery_codes()
        body = {"secret": self._seal().seal(secret), "last_step": step, "created_at": text_of(self._now()), "recovery": self._kept(codes)}
        self._put_app(body)
        self._amend(auth_mode=MAIL_MODE)
        return codes

    def renew_recovery_codes(self) -> Sequence[str]:
        """Other recovery codes; those of before are void.

        :raises NotFound: there is no authenticator app.
        """
        app = self._app()
        if app is None:
            raise NotFound
        codes = _new_recovery_codes()
        self._docs.commit([Write(APP, patch={"recovery": self._kept(codes)}, rev=app.rev)])
        return codes

    def recovery_left(self) -> int:
        """How many recovery codes are good."""
        app = self._app()
        return len(app.doc.get("recovery") or ()) if app is not None else 0

    def turn_off(self) -> None:
        """Ask for no second factor; what belonged to one is gone."""
        app = self._app()
        self._amend(auth_mode=0)
        if app is not None:
            self._docs.delete(app.ref, app.rev)
        self.distrust_all()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _app(self) -> Stored | None:
        try:
            return self._docs.get(APP)
        except NotFound:
            return None

    def _put_app(self, body: Doc) -> None:
        known = self._app()
        self._docs.put(FACTORS, body | {"_id": APP.id} | ({"_rev": known.rev} if known is not None else {}))

    def _is_of_app(self, app: Stored, code: str) -> bool:
        """Whether the app shows this code now, or did just before; each step is good once (RFC 6238, section 5.2)."""
        step = self._step_of(str(self._seal().open(app.doc["secret"])), code, int(app.doc["last_step"]))
        return step is not None and self._note(app, {"last_step": step})

    def _is_recovery(self, app: Stored, code: str) -> bool:
        kept: list[str] = list(app.doc.get("recovery") or ())
        given = self._kept([code])[0]
        found = [one for one in kept if hmac.compare_digest(one, given)]
        return bool(found) and self._note(app, {"recovery": [one for one in kept if one not in found]})

    def _note(self, app: Stored, fields: Doc) -> bool:
        """Use a code up; False: it was used at the same time."""
        try:
            self._docs.commit([Write(APP, patch=fields, rev=app.rev)])
        except (Conflict, NotFound):
            return False
        return True

    def _step_of(self, secret: str, code: str, after: int) -> int | None:
        """The step whose code this is: the present one or one beside it, later than one that was used."""
        import pyotp

        now = int(self._now().timestamp()) // STEP
        otp = pyotp.TOTP(secret)
        fits = [step for step in (now - 1, now, now + 1) if hmac.compare_digest(otp.at(step * STEP).encode(), code.encode())]
        return next((step for step in fits if step > after), None)

    def _kept(self, codes: Sequence[str]) -> list[str]:
        """Recovery codes as they are kept: under a key of the instance, which a new passphrase does not change."""
        key = base64.b64decode(self._record()["oauth_secret"])
        return [hmac.new(key, b"recovery" + code.replace("-", "").lower().encode(), hashlib.sha256).hexdigest() for code in codes]

    def _activation(self, back: int) -> str:
        """The code that turns mails on, of this quarter of an hour or of one before."""
        quarter = int(self._now().timestamp()) // int(LIFE.total_seconds()) - back
        return f"{int.from_bytes(self._mac(b'activation', str(quarter).encode())[:8], 'big') % 10**6:06}"

    def _seal(self) -> Seal:
        return Seal(str(self._record()["oauth_secret"]), FACTORS)

    def _mac(self, what: bytes, raw: bytes) -> bytes:
        return hmac.digest(base64.b64decode(self._record()["session_secret"]), b"two-factor/" + what + b"/" + raw, "sha256")


def _new_recovery_codes() -> list[str]:
    """Codes of 50 random bits."""
    letters = (base64.b32encode(secrets.token_bytes(7)).decode().lower()[:10] for _ in range(RECOVERY_CODES))
    return [f"{code[:5]}-{code[5:]}" for code in letters]


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()[:32]
