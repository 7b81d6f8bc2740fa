"""`Settings`: what the owner and the operator choose for one instance, and what clients ask about it (docs/http/settings.md)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from cozyd.auth import BITWARDEN
from cozyd.auth.clients import Client, Clients
from cozyd.cache import Cache
from cozyd.documents import Documents
from cozyd.documents.store import Doc, Ref, Stored, Write
from cozyd.errors import Invalid, NotFound
from cozyd.settings import flags, logos, owner, terms
from cozyd.settings.address import AddressChange, Mail
from cozyd.settings.avatar import Avatar
from cozyd.settings.flags import Flags

INSTANCE = Ref("io.cozy.settings", "io.cozy.settings.instance")
MOST_CLIENTS = "cozy.oauthclients.max"
"""The flag that says how many devices may be connected."""

__all__ = ["INSTANCE", "ClientsUsage", "Flags", "Settings", "Surroundings"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the room is given of its instance and of the process.

    :param record: gives the instance record.
    :param amend: changes fields of the record; None removes one.
    :param context: gives what the configuration says of its context.
    :param common: documents of tenant `global`, for flags of all instances.
    :param contexts: what the configuration says of all of them, by name.
    :param able: what the server can do, by the names of clients.
    :param provider: gives what the configuration says of who else may log her in; None: nobody.
    :param address: the address of a path of the instance.
    :param now: the clock, aware UTC.
    """

    record: Callable[[], Mapping[str, Any]]
    amend: Callable[..., object]
    context: Callable[[], Mapping[str, Any]]
    common: Documents
    contexts: Mapping[str, Mapping[str, Any]]
    able: Mapping[str, bool]
    provider: Callable[[], Mapping[str, Any] | None]
    address: Callable[[str], str]
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class ClientsUsage:
    """How many devices are connected.

    :param limit: None: as many as she likes.
    """

    count: int
    limit: int | None

    @property
    def reached(self) -> bool:
        """Whether no further one may come."""
        return self.limit is not None and self.count >= self.limit

    @property
    def exceeded(self) -> bool:
        """Whether there are too many."""
        return self.limit is not None and self.count > self.limit


class Settings:
    """The settings of one instance.

    :param clients: its OAuth clients.
    :param avatar: the owner's picture.
    :param mail: sends a mail.
    """

    def __init__(self, docs: Documents, clients: Clients, around: Surroundings, avatar: Avatar, mail: Mail, cache: Cache) -> None:
        self.avatar = avatar
        self.address = AddressChange(self.document, self.note, mail, cache, around.address, str(around.record()["domain"]))
        self._docs = docs
        self._clients = clients
        self._around = around

    # -- the instance's own -----------------------------------------------------------------------------------------

    def document(self) -> Doc:
        """The settings document, empty when there is none."""
        stored = self._stored()
        return {} if stored is None else stored.doc

    def instance(self) -> tuple[Doc, str]:
        """The instance settings as they are read, and the document's revision."""
        stored = self._stored()
        document = {} if stored is None else stored.doc
        shown = owner.shown(self._around.record(), document, self._around.context())
        logout = (self._around.provider() or {}).get("logout_url")
        return shown | ({"oidc_logout_url": logout} if logout else {}), stored.rev if stored is not None else ""

    def replace(self, attributes: Mapping[str, Any], rev: str, *, operator: bool) -> None:
        """Replace the instance settings; when nothing changes, any revision will do.

        :param operator: whether guarded members, and those of the host, may change too; from others they are ignored.
        :raises Invalid: a member of the wrong type, or no revision.
        :raises BadRequest: no such way to log in, no version of terms.
        :raises Conflict: the revision is not the current one.
        """
        stored, record = self._stored(), self._around.record()
        old = {} if stored is None else {name: value for name, value in stored.doc.items() if name not in ("_id", "_rev")}
        if not operator:
            attributes = {name: value for name, value in attributes.items() if name not in owner.OF_THE_OPERATOR}
        new, changes = owner.taken_apart(attributes, record, old, owner.redirection(self._around.context()))
        if not operator:
            new = self._guarded(new, old)
        if new != old:
            if stored is not None and not rev:
                raise Invalid("meta.rev has to be the revision that is replaced", source="/data/meta/rev")
            self._docs.commit([Write(INSTANCE, body=new, rev=rev or None)])
        if changes:
            self._around.amend(**changes)

    def merge(self, attributes: Mapping[str, Any]) -> None:
        """Change some of the instance settings, as the operator may.

        :raises Invalid, BadRequest: as `replace`.
        """
        document, changes = owner.taken_apart(attributes, self._around.record(), self.document(), "")
        if document:
            self.note(**document)
        if changes:
            self._around.amend(**changes)

    def note(self, **fields: Any) -> None:
        """Change members of the settings document; `...` removes one."""

        def write() -> None:
            stored = self._stored()
            if stored is None:
                body = {name: value for name, value in fields.items() if value is not ...}
                self._docs.commit([Write(INSTANCE, body=body)])
            elif any(stored.doc.get(name, ...) != value for name, value in fields.items()):
                self._docs.commit([Write(INSTANCE, patch=fields, rev=stored.rev)])

        self._docs.retry(write)

    def guarded(self, ref: Ref) -> Doc | None:
        """Of a settings document that has such: the members that no door writes, as they are now (None: absent)."""
        names = {INSTANCE: owner.guarded(self._around.context()), BITWARDEN: owner.GUARDED_OF_VAULT}.get(ref)
        known = self._docs.get_many(ref.doctype, [ref.id])[0] if names else None
        return None if known is None else {name: known.doc.get(name) for name in names or ()}

    def keeps_address(self) -> bool:
        """Whether her address is kept elsewhere, by the service she signed up at."""
        return bool(self._around.context().get("signup_url"))

    def _guarded(self, new: Doc, old: Doc) -> Doc:
        names = owner.guarded(self._around.context())
        return {name: value for name, value in new.items() if name not in names} | {name: old[name] for name in names if name in old}

    def _stored(self) -> Stored | None:
        try:
            return self._docs.get(INSTANCE)
        except NotFound:
            return None

    # -- what clients ask -------------------------------------------------------------------------------------------

    def context(self) -> Doc:
        """What the operator tells every application: the context, with the logos of sponsors."""
        antivirus = {"enabled": False, "notifications": {"email_on_infected": False}}
        names = self._around.record().get("sponsorships") or ()
        sponsors = {name: self._around.contexts[name] for name in names if name in self._around.contexts}
        return {"antivirus": antivirus} | logos.with_sponsors(self._around.context(), sponsors)

    def capabilities(self) -> Mapping[str, bool]:
        """What this server can do for her."""
        magic = self._around.record().get("magic_link") is True
        by_provider = self._around.provider() is not None or bool(self._around.record().get("franceconnect_id"))
        closed = by_provider and self._around.context().get("disable_password_authentication") is True
        ways = {"can_auth_with_password": not magic and not closed, "can_auth_with_magic_links": magic, "can_auth_with_oidc": by_provider}
        return {**self._around.able, **ways}

    def flags(self) -> Flags:
        """The feature flags."""
        record = self._around.record()
        name = str(record.get("context") or "")
        own, sets = record.get("feature_flags") or {}, record.get("feature_sets") or ()
        shares, defaults = self._common(flags.ratios_of(name)), self._common(flags.DEFAULTS)
        return flags.decide(str(record.get("_id", "")), own, sets, self._around.context(), shares, defaults)

    def _common(self, ref: Ref) -> Doc:
        try:
            return {name: value for name, value in self._around.common.get(ref).doc.items() if not name.startswith("_")}
        except NotFound:
            return {}

    def clients_usage(self) -> ClientsUsage:
        """How many devices are connected, and how many may be."""
        found = self.flags().values.get(MOST_CLIENTS)
        limit = int(found) if isinstance(found, int | float) and not isinstance(found, bool) and found >= 0 else None
        return ClientsUsage(len(self.connected()), limit)

    def connected(self) -> Sequence[Client]:
        """The clients that count as devices of hers."""
        return [client for client in self._clients.all() if client.name and client.stored.doc.get("client_kind")]

    # -- terms of service, moves ------------------------------------------------------------------------------------

    def terms(self) -> terms.State:
        """Whether the latest terms of service wait for her signature."""
        return terms.state(self._around.record(), self._around.now())

    def sign_terms(self) -> None:
        """She agrees to the latest terms; without new ones that is fine too."""
        latest = self._around.record().get("tos_latest")
        if latest:
            self._around.amend(tos=latest, tos_latest=None)

    def moved_to(self) -> str | None:
        """Where she moved to with everything, empty when that is not known; None: she is here."""
        if not self._around.record().get("moved"):
            return None
        return str(self.document().get("moved_to") or "")

    def manager_url(self, page: str = "") -> str:
        """An address at the service that manages this instance; empty when nobody does.

        :param page: `tos`, `premium`, `blocked`, or the base itself.
        """
        base = str(self._around.context().get("manager_url") or "").rstrip("/")
        uuid = quote(str(self._around.record().get("uuid") or ""), safe="")
        if not base or (page and not uuid):
            return ""
        return f"{base}/cozy/instances/{uuid}/{page}" if page else base
