"""The owner's passphrase: checked, chosen, changed, and what of the vault goes with it (docs/http/auth.md, section 2)."""

import base64
import binascii
import secrets
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cozyd.auth import passwords, vault
from cozyd.auth.attempts import Gate
from cozyd.auth.lists import every
from cozyd.auth.values import Kdf
from cozyd.auth.vault import VaultKeys
from cozyd.documents import Documents
from cozyd.documents.store import Doc, Ref, Write
from cozyd.errors import BadRequest, Conflict, Invalid, NotFound, Unauthorized

CHANGE = Ref("io.cozy.auth.factors", "passphrase-change")
"""The note of a change that is not at its end."""
BITWARDEN = Ref("io.cozy.settings", "io.cozy.settings.bitwarden")
CIPHERS = "com.bitwarden.ciphers"
LEAST_ITERATIONS, MOST_ITERATIONS = 50_000, 5_000_000
SHORTEST, JUDGED = 8, 72
WEAKEST = 2
"""The least score of zxcvbn, of 0 to 4: it would take 10^8 guesses."""
LONGEST = 1024
WRONG = "The credentials you entered are incorrect, please try again."


@dataclass(frozen=True, slots=True)
class NewPassphrase:
    """What a client sends for a passphrase that is to be.

    :param value: derived by the client; in clear when `iterations` is 0.
    :param keys: what the client made for the vault; empty: none.
    :param hint: None: it stays as it is.
    """

    value: str
    iterations: int = 0
    keys: VaultKeys = VaultKeys()
    hint: str | None = None

    def check(self) -> None:
        """:raises BadRequest: there is none.
        :raises Invalid: it is very long, or the number of iterations is out of bounds.
        """
        check_iterations(self.iterations)
        if not self.value:
            raise BadRequest("Missing new passphrase")
        if len(self.value) > LONGEST:
            raise Invalid("The passphrase is too long", source="passphrase")


class Passphrase:
    """The passphrase of one instance.

    :param record: gives the instance record.
    :param amend: changes it: None removes a field.
    :param end_all: ends what goes with an old passphrase; doing so twice is fine.
    """

    def __init__(
        self,
        docs: Documents,
        record: Callable[[], Mapping[str, Any]],
        amend: Callable[..., object],
        gate: Gate,
        end_all: Callable[[], object],
    ) -> None:
        self._docs = docs
        self._record = record
        self._amend = amend
        self._gate = gate
        self._end_all = end_all

    # -- checking ---------------------------------------------------------------------------------------------------

    def kdf(self) -> Kdf:
        """How clients derive what they send from the passphrase; the salt has no port, and outlives a new domain.

        No iterations at all: a cozy of long ago has moved in, whose clients sent the passphrase itself.
        """
        iterations = self._settings().get("passphrase_kdf_iterations")
        host = str(self._record().get("old_domain") or self._record()["domain"]).split(":", 1)[0]
        if not isinstance(iterations, int) or iterations <= 0:
            iterations = 0 if passwords.is_of_cozy_stack(str(self._record().get("passphrase_hash") or "")) else passwords.ITERATIONS
        return Kdf(f"me@{host}", iterations)

    def derive(self, passphrase: str) -> str:
        """What an official client would send for this passphrase; costs as much as there (about 0.3 s).

        :raises TooManyRequests: others are at it, and enough wait.
        """
        kdf = self.kdf()
        return self._gate(passwords.derive, passphrase[:LONGEST], kdf) if kdf.iterations else passphrase[:LONGEST]

    def check(self, derived: str) -> None:
        """Pass with the derived passphrase, for one hash, whether there is a passphrase or not.

        :raises Unauthorized: it is not hers.
        :raises TooManyRequests: as `derive`.
        """
        self.complete()
        kept = str(self._record().get("passphrase_hash") or passwords.NOBODY)
        if not self._gate(passwords.matches, derived[:LONGEST], kept):
            raise Unauthorized(WRONG)
        if not self.kdf().iterations:
            self.put(NewPassphrase(derived), is_judged=False)

    @property
    def exists(self) -> bool:
        """Whether there is one, with its vault, whether she knows it or not."""
        return bool(self._record().get("passphrase_hash"))

    @property
    def is_defined(self) -> bool:
        """Whether she has one that she knows; who logs in by mail or by a provider was given one that nobody does."""
        return self.exists and self._record().get("password_defined") is not False

    @staticmethod
    def is_derived(value: str) -> bool:
        """Whether a text has the form of what clients derive: 32 bytes in base64."""
        try:
            return len(value) == 44 and len(base64.b64decode(value, validate=True)) == 32
        except (binascii.Error, ValueError):
            return False

    # -- changing ---------------------------------------------------------------------------------------------------

    def put(self, new: NewPassphrase, *, current: str = "", is_judged: bool = True) -> None:
        """Have another passphrase be the one; every session and app token, and every browser's trust, ends with it.

        :param current: the one it replaces, in clear: the vault's key goes over to the new one. Without it, and without keys of the
            client, a passphrase in clear gets a vault of its own.
        :param is_judged: whether one in clear has to be strong enough.
        :raises BadRequest: there is none.
        :raises Invalid: it is too weak, or comes with a number of iterations that is out of bounds.
        """
        new.check()
        self.complete()
        kdf = Kdf(self.kdf().salt, new.iterations or passwords.ITERATIONS)
        derived, keys = new.value, new.keys
        if not new.iterations:
            if is_judged:
                check_strength(new.value, str(self._record()["domain"]))
            derived, keys = self._gate(self._made, new.value, current, kdf, str(self._settings().get("key") or ""))
        old = str(self._record().get("passphrase_hash") or "")
        kept = self._gate(passwords.keep, derived, like=old)
        fresh = base64.b64encode(secrets.token_bytes(64)).decode()
        hint = {} if new.hint is None else {"passphrase_hint": new.hint or ...}
        fields = _key_fields(keys) | hint | {"passphrase_kdf_iterations": kdf.iterations, "security_stamp": str(uuid.uuid4())}
        self._put_settings(fields, Write(CHANGE, body={"replaces": old, "passphrase_hash": kept, "session_secret": fresh}))
        self.complete()

    def complete(self) -> None:
        """Bring a change of the passphrase to its end: its first commit has the vault's settings and a note of the rest.

        The instance record lies in another database: after a crash between the two, whoever asks next does the rest.
        """
        noted = self._docs.get_many(CHANGE.doctype, [CHANGE.id])[0]
        if noted is None:
            return
        change = noted.doc
        if str(self._record().get("passphrase_hash") or "") == change["replaces"]:
            done = {"password_defined": True, "onboarding_finished": True, "register_token": None}
            self._amend(passphrase_hash=change["passphrase_hash"], session_secret=change["session_secret"], **done)
        self._end_all()
        with suppress(Conflict, NotFound):  # another process did it, too
            self._docs.delete(noted.ref, noted.rev)

    def drop_lost_ciphers(self) -> int:
        """Remove what is in the vault under a key that nobody can open any more; how many there were.

        What others share with her is under their key.
        """
        lost = [stored for stored in every(self._docs, CIPHERS) if stored.doc.get("shared_with_cozy") is not True]
        lost = [stored for stored in lost if not stored.ref.id.startswith("_design/")]
        if lost:
            self._docs.commit_each([Write(stored.ref, rev=stored.rev, deleted=True) for stored in lost])
        return len(lost)

    # -- hint -------------------------------------------------------------------------------------------------------

    def has_ciphers(self) -> bool:
        """Whether there is something in her vault."""
        try:
            return bool(self._docs.all(CIPHERS, limit=1, docs=False).rows)
        except NotFound:
            return False

    def hint(self) -> str:
        """What she wrote to remember it by; empty without."""
        return str(self._settings().get("passphrase_hint") or "")

    def put_hint(self, hint: str) -> None:
        """Keep another hint; an empty one removes it.

        :raises Invalid: it is the passphrase itself.
        """
        if hint and self._gate(passwords.matches, self.derive(hint), str(self._record().get("passphrase_hash") or passwords.NOBODY)):
            raise Invalid("The hint cannot be the same as the password", source="hint")
        self._put_settings({"passphrase_hint": hint[:LONGEST] or ...})

    # -- inside -----------------------------------------------------------------------------------------------------

    def _made(self, passphrase: str, current: str, kdf: Kdf, known: str) -> tuple[str, VaultKeys]:
        """Of a passphrase in clear what a client would derive, and the vault's keys under it.

        :param known: the vault's key under the passphrase that it replaces.
        """
        master = vault.master_key(passphrase, kdf)
        derived = passwords.derive(passphrase, kdf)
        old = self.kdf()
        kept = vault.rewrapped(known, vault.master_key(current, old), master) if known and current and old.iterations else None
        return derived, VaultKeys(kept) if kept else vault.new_keys(master)

    def _settings(self) -> Doc:
        try:
            return self._docs.get(BITWARDEN).doc
        except NotFound:
            return {}

    def _put_settings(self, fields: Mapping[str, Any], *further: Write) -> None:
        """Change some of the vault's settings; `...` removes one.

        :param further: what is written in the same commit.
        """

        def write() -> None:
            stored = self._docs.get_many(BITWARDEN.doctype, [BITWARDEN.id])[0]
            if stored is None:
                first = Write(BITWARDEN, body={name: value for name, value in fields.items() if value is not ...})
            else:
                first = Write(BITWARDEN, patch=dict(fields), rev=stored.rev)
            self._docs.commit([first, *further])

        self._docs.retry(write)


def check_iterations(number: int) -> None:
    """:raises Invalid: so often nobody derives; 0 is for a passphrase in clear."""
    if number and not LEAST_ITERATIONS <= number <= MOST_ITERATIONS:
        raise Invalid("The KDF iterations parameter is out of bounds", source="KdfIterations")


def check_strength(passphrase: str, domain: str = "") -> None:
    """Whether a passphrase would withstand guessing.

    :raises Invalid: it is short, or zxcvbn knows how to guess it.
    """
    if len(passphrase) < SHORTEST or passphrase.isspace():
        raise Invalid("The passphrase is too short: eight characters are the least", source="passphrase")
    from zxcvbn import zxcvbn

    if zxcvbn(passphrase[:JUDGED], user_inputs=[domain, domain.partition(".")[0]])["score"] < WEAKEST:
        raise Invalid("The passphrase is too easy to guess", source="passphrase")


def _key_fields(keys: VaultKeys) -> dict[str, Any]:
    named = {"key": keys.key, "public_key": keys.public, "private_key": keys.private}
    return {name: value for name, value in named.items() if value}
