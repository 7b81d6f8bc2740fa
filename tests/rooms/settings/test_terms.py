"""Terms of service: which have to be signed, and from when on."""

from datetime import UTC, datetime, timedelta

import pytest

from cozyd.errors import BadRequest
from cozyd.settings import terms

SINCE = datetime(2027, 1, 1, tzinfo=UTC)
LATEST = "2.0.0-20270101"


@pytest.mark.parametrize(
    ("signed", "days", "state"),
    [
        ("1.0.0", -31, "fine"),
        ("1.0.0", -29, "soon"),
        ("1.0.0", 1, "late"),
        ("", 1, "late"),
        ("20180525", 1, "late"),
        ("2.0.0-20270101", 1, "fine"),
        ("v2.1.0", 1, "fine"),
        ("3.0.0", 1, "fine"),
    ],
)
def test_she_is_warned_thirty_days_before_new_terms_apply(signed: str, days: int, state: str):
    assert terms.state({"tos": signed, "tos_latest": LATEST}, SINCE + timedelta(days=days)) == state


@pytest.mark.parametrize("latest", ["", "2.0.0", "nonsense"])
def test_terms_without_a_date_ask_for_nothing(latest: str):
    assert terms.state({"tos_latest": latest}, SINCE) == "fine"


def test_a_new_version_waits_and_goes_when_it_is_signed():
    assert terms.changed({"tos": "1.0.0"}, latest=LATEST) == {"tos_latest": LATEST}
    assert terms.changed({"tos": "2.0.0"}, latest=LATEST) == {}
    assert terms.changed({"tos_latest": LATEST}, signed="1.0.0") == {"tos": "1.0.0"}
    assert terms.changed({"tos_latest": LATEST}, signed=LATEST) == {"tos": LATEST, "tos_latest": None}
    assert terms.changed({}, signed="20180525") == {"tos": "1.0.0-20180525"}


@pytest.mark.parametrize("version", ["x", "1", "1.0", "1.0.0-2018", "1.0.0-20181399", "2018052", "-1.0.0", "99999999"])
def test_what_is_no_version_is_refused(version: str):
    with pytest.raises(BadRequest):
        terms.parse(version)


def test_latest_terms_need_a_date():
    with pytest.raises(BadRequest):
        terms.changed({}, latest="2.0.0")
