"""`AccountSecrets`: what an `io.cozy.accounts` document keeps of passwords: sealed, in every place it travels to.

The members and their names are the reference's (docs/http/data.md): `auth.password` becomes `auth.credentials_encrypted`, others
get `_encrypted` behind their name. The key is derived from the instance's own secret, so a backup can be read again; where the operator
of a cozy-stack gives its key files, values are sealed as it does, so that one can go back. Sealing is deterministic: the same edit gives
the same revision here as everywhere.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cozyd.documents.store import Doc
from cozyd.errors import BadRequest
from cozyd.naclbox import NaclBoxes
from cozyd.seals import Seal

ACCOUNTS = "io.cozy.accounts"
SOFT_DELETED = "io.cozy.accounts.soft_deleted"
"""Copies of deleted ones, for konnectors that clean up; no door leads there."""
SECRET = frozenset(("secret", "dob", "code", "answer", "access_token", "refresh_token", "appSecret", "session"))
CREDENTIALS = "credentials_encrypted"
_SUFFIX = "_encrypted"


class AccountSecrets:
    """Seals and opens the secrets of one instance's accounts.

    :param secret: the instance's own, from its record.
    :param boxes: those of a cozy-stack, where its keys are known.
    """

    def __init__(self, secret: str, boxes: NaclBoxes | None = None) -> None:
        self._own = Seal(secret, ACCOUNTS)
        self._boxes = boxes

    def seal(self, doc: Doc) -> Doc:
        """A document with every secret in `auth`, `oauth` and `data.auth` sealed."""
        return self._each(doc, self._sealed)

    def open(self, doc: Doc) -> Doc:
        """A document with the secrets in clear; what was sealed by another key stays as it is."""
        return self._each(doc, self._opened)

    @staticmethod
    def _each(doc: Doc, change: Any) -> Doc:
        found = dict(doc)
        for name in ("auth", "oauth"):
            if isinstance(found.get(name), dict):
                found[name] = change(found[name])
        data = found.get("data")
        if isinstance(data, dict) and isinstance(data.get("auth"), dict):
            found["data"] = data | {"auth": change(data["auth"])}
        return found

    def _sealed(self, auth: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in auth.items():
            if name == "password":
                found[CREDENTIALS] = self._seal([auth.get("login"), value], credentials=True)
            elif name in SECRET:
                found[name + _SUFFIX] = self._seal(value)
            elif name not in found:
                found[name] = value
        return found

    def _opened(self, auth: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in auth.items():
            clear = self._unseal(value, credentials=name == CREDENTIALS) if name.endswith(_SUFFIX) else ...
            if clear is ...:
                found[name] = value
            elif name == CREDENTIALS:
                found |= dict(zip(("login", "password"), clear, strict=True))
            else:
                found[name.removesuffix(_SUFFIX)] = clear
        return found

    def _seal(self, value: Any, *, credentials: bool = False) -> str:
        return self._boxes.seal(value, credentials=credentials) if self._boxes is not None else self._own.seal(value)

    def _unseal(self, text: Any, *, credentials: bool) -> Any:
        """The value that was sealed; `...`: it was not, or not by a key that is known."""
        with suppress(BadRequest):
            return self._own.open(text)
        with suppress(BadRequest):
            return self._boxes.open(text, credentials=credentials) if self._boxes is not None else ...
        return ...


def name_of(doc: Mapping[str, Any]) -> str | None:
    """What an account is called: the member of `auth` that `identifier` names, else its login."""
    auth = doc.get("auth")
    name = auth.get(doc.get("identifier") or "login") if isinstance(auth, dict) else None
    return name if isinstance(name, str) else None
