"""`cozyMetadata`: who made, changed, uploaded and trashed a folder or file, when and where (pure; docs/http/files.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cozyd.documents.store import Doc

Metadata = Mapping[str, Any]
_MOST_APPS = 100


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes something.

    :param at: when, as documents have times.
    :param on: the address of the instance.
    :param slug: the app; empty for people at a command line.
    :param client: `id`, `kind`, `name` of an OAuth client.
    :param account: `sourceAccount`, `sourceAccountIdentifier` of a konnector's file.
    """

    at: str
    on: str
    slug: str = ""
    version: str = ""
    client: Mapping[str, str] = field(default_factory=dict)
    account: Mapping[str, str] = field(default_factory=dict)

    def created(self) -> Doc:
        """Of something new."""
        found: Doc = {"doctypeVersion": "1", "metadataVersion": 1, "createdAt": self.at, "updatedAt": self.at, "createdOn": self.on}
        if self.slug:
            found |= {"createdByApp": self.slug} | self._versioned("createdByAppVersion")
            found["updatedByApps"] = [self._update()]
        return found | dict(self.account)

    def changed(self, old: Metadata) -> Doc:
        """Of something that changes: one entry for each app and instance, the newest last."""
        found = dict(old) if old else self.created()
        found["updatedAt"] = self.at
        if self.slug:
            entries = [one for one in found.get("updatedByApps") or () if (one.get("slug"), one.get("instance")) != (self.slug, self.on)]
            found["updatedByApps"] = [*entries, self._update()][-_MOST_APPS:]
        return found

    def uploaded(self, old: Metadata | None = None) -> Doc:
        """Of a file that gets a content, its first (`old` None) or its next one."""
        found = self.created() if old is None else self.changed(old)
        found.pop("uploadedBy", None)
        for name, value in self.account.items():
            found.setdefault(name, value)
        found |= {"uploadedAt": self.at, "uploadedOn": self.on}
        if self.slug:
            found["uploadedBy"] = (
                {"slug": self.slug} | self._versioned("version") | ({"oauthClient": dict(self.client)} if self.client else {})
            )
        return found

    def trashed(self, old: Metadata, by: Metadata | None) -> Doc:
        """Of something that goes to the trash.

        :param by: `kind`, `displayName`, `domain` of the person.
        """
        found = self.changed(old) | {"trashedAt": self.at}
        found.pop("trashedBy", None)
        return found | ({"trashedBy": dict(by)} if by else {})

    def _versioned(self, name: str) -> Doc:
        return {name: self.version} if self.version else {}

    def _update(self) -> Doc:
        return {"slug": self.slug, **self._versioned("version"), "date": self.at, "instance": self.on}
