"""Versions of the terms of service, and whether the owner has to sign (pure; docs/http/settings.md)."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from cozyd.errors import BadRequest

State = Literal["fine", "soon", "late"]
WARNED = timedelta(days=30)
_VERSION = re.compile(r"v?(?P<major>[0-9]{1,9})\.[^.]*\.[^.-]*(-(?P<date>[0-9]{8}))?")
_DATE = re.compile(r"[0-9]{8}")


def parse(version: str) -> tuple[int, datetime | None]:
    """Major number and date of `A.B.C-YYYYMMDD`; a date alone is version 1.

    :raises BadRequest: it is none.
    """
    if _DATE.fullmatch(version):
        return 1, _date(version)
    found = _VERSION.fullmatch(version)
    if found is None:
        raise _bad(version)
    return int(found["major"]), _date(found["date"]) if found["date"] else None


def whole(version: str) -> str:
    """A version in its long form."""
    return f"1.0.0-{version}" if _DATE.fullmatch(version) else version


def state(record: Mapping[str, Any], now: datetime) -> State:
    """Whether the latest terms wait for her signature: `soon` from 30 days before they apply, `late` from then on."""
    try:
        latest, since = parse(str(record.get("tos_latest") or ""))
    except BadRequest:
        return "fine"
    if since is None or _signed(record) >= latest or now < since - WARNED:
        return "fine"
    return "late" if now > since else "soon"


def changed(record: Mapping[str, Any], *, signed: str = "", latest: str = "") -> dict[str, Any]:
    """What changes in a record when terms are published or signed; None removes a field.

    :raises BadRequest: no version, or a latest one without a date.
    """
    found: dict[str, Any] = {}
    if latest:
        if parse(latest)[1] is None:
            raise _bad(latest)
        if parse(latest)[0] > _signed(record):
            found["tos_latest"] = whole(latest)
    if signed:
        parse(signed)
        found["tos"] = whole(signed)
        waiting = str(found.get("tos_latest") or record.get("tos_latest") or "")
        if waiting and parse(waiting)[0] <= parse(signed)[0]:
            found["tos_latest"] = None
    return found


def _signed(record: Mapping[str, Any]) -> int:
    try:
        return parse(str(record.get("tos") or ""))[0]
    except BadRequest:
        return 0


def _date(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        raise _bad(text) from None


def _bad(version: str) -> BadRequest:
    return BadRequest(f"{version!r} is no version of terms of service", source="tos")
