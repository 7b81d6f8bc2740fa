"""Radicale's `Storage`, `Auth` and `Rights` over `instance.pim`: as much as the methods need that are Radicale's own."""

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from radicale import auth, pathutils, rights, storage

from cozyd.errors import NotFound
from cozyd.pim import Collection as PimCollection
from dav.access import Visit
from dav.properties import USER

_visit: ContextVar[Visit | None] = ContextVar("visit")


@contextlib.contextmanager
def visiting(visit: Visit | None) -> Iterator[None]:
    """Have a visitor for the plugins, which get no environ."""
    token = _visit.set(visit)
    try:
        yield
    finally:
        _visit.reset(token)


def _visitor() -> Visit:
    found = _visit.get()
    assert found is not None
    return found


class Auth(auth.BaseAuth):
    """Whoever comes here was identified before."""

    def get_external_login(self, environ: Any) -> tuple[()] | tuple[str, str]:
        """The one principal of an instance."""
        return (USER, "") if "cozyd.visit" in environ else ()

    def _login(self, login: str, password: str) -> str:  # noqa: ARG002
        return login


class Rights(rights.BaseRights):
    """The visitor's rules, in Radicale's letters."""

    def authorization(self, user: str, user_groups: Any, path: str) -> str:  # noqa: ARG002
        """What may be done with a path: read and write plain collections (R, W), address books and calendars (r, w)."""
        parts = pathutils.strip_path(path).split("/")
        if user != USER or parts[0] not in ("", USER) or len(parts) != 2:
            return "R" if user == USER else ""
        try:
            known = _visitor().collection(parts[1])
        except NotFound:
            return ""
        return "rw" if any(_visitor().manages(known, action) for action in ("PUT", "DELETE")) else "r"


class Collection(storage.BaseCollection):
    """An address book or calendar, or the plain collections above them."""

    def __init__(self, path: str, known: PimCollection | None) -> None:
        self._path = path
        self._known = known

    @property
    def path(self) -> str:
        """Without slashes at the ends."""
        return self._path

    @property
    def etag(self) -> str:
        """Moves with the content."""
        return f'"{self._known.token}"' if self._known is not None else '"home"'

    @property
    def last_modified(self) -> str:
        """Not kept: the time of the answer."""
        return format_datetime(datetime.now(UTC), usegmt=True)

    def get_meta(self, key: str | None = None) -> Any:
        """The tag that tells its kind; properties are answered before Radicale."""
        tags = {"calendar": "VCALENDAR", "book": "VADDRESSBOOK"}
        meta: Mapping[str, str] = {"tag": tags[self._known.kind]} if self._known is not None else {}
        return meta if key is None else meta.get(key)

    def delete(self, href: str | None = None) -> None:
        """Remove it with all that is in it; resources are removed before Radicale."""
        assert self._known is not None
        assert href is None
        _visitor().pim.remove(self._known)


class Storage(storage.BaseStorage):
    """The address books and calendars of the visited instance."""

    _is_collision_free = _supports_unicode = _supports_trailing_whitespace = _supports_problematic_chars = True

    def discover(self, path: str, *_: Any, **__: Any) -> Iterator[Collection]:
        """The collection of a path."""
        parts = [part for part in pathutils.strip_path(path).split("/") if part]
        if len(parts) < 2:
            yield Collection("/".join(parts), None)
        elif len(parts) == 2:
            with contextlib.suppress(NotFound):
                yield Collection("/".join(parts), _visitor().collection(parts[1]))

    @contextlib.contextmanager
    def acquire_lock(self, *_: Any, **__: Any) -> Iterator[None]:
        """Each change is one commit: nothing to lock here."""
        yield

    def verify(self) -> bool:
        """`cozyd fsck` checks the data."""
        return True
