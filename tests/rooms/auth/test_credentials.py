"""Sessions, tokens and device passwords: what they open, for how long, and what never does."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cozyd.auth import DEVICES, SESSIONS, Credentials
from cozyd.documents.store import Ref
from cozyd.errors import BadRequest, BadToken, Forbidden, Invalid, NotFound, Unauthorized
from cozyd.instance import Instance
from cozyd.stack import Stack
from tests.support.stack import Clock, open_stack


@pytest.fixture
def alice(stack: Stack) -> Instance:
    return stack.create("alice.localhost:8080", aliases=["localhost:8080"])


@pytest.fixture
def bob(stack: Stack) -> Instance:
    return stack.create("bob.localhost:8080")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Instance, Instance]]:
    """Two instances that no test changes, at a time that stands."""
    stack = open_stack(tmp_path_factory.mktemp("pair") / "data", Clock())
    yield stack.create("alice.localhost:8080"), stack.create("bob.localhost:8080")
    stack.close()


@pytest.fixture
def still(pair: tuple[Instance, Instance]) -> Instance:
    return pair[0]


def opens(instance: Instance, **shown: Any) -> bool:
    try:
        instance.auth.identify(Credentials(**shown))
    except (BadToken, Unauthorized):
        return False
    return True


# -- sessions ---------------------------------------------------------------------------------------------------------


def session(instance: Instance) -> str:
    return instance.auth.open_session(Credentials(address="192.0.2.1", agent="Browser"), long_run=True)


def test_a_session_opens_everything_of_its_own_instance_only(alice: Instance, bob: Instance):
    cookie = session(alice)
    assert alice.auth.identify(Credentials(session=cookie)).everything
    assert not opens(bob, session=cookie)


def test_a_session_dies_thirty_days_after_it_was_last_seen(alice: Instance, clock: Clock):
    cookie = session(alice)
    for _ in range(3):
        clock.passes(days=29)
        assert opens(alice, session=cookie)
    clock.passes(days=30, hours=1)
    assert not opens(alice, session=cookie)


def test_last_seen_is_written_once_a_day(alice: Instance, clock: Clock):
    cookie = session(alice)
    ref = Ref(SESSIONS, alice.auth.sessions.id_of(cookie))
    first = alice.docs.get(ref).rev
    clock.passes(hours=23)
    assert opens(alice, session=cookie)
    assert alice.docs.get(ref).rev == first
    clock.passes(hours=2)
    assert opens(alice, session=cookie)
    assert alice.docs.get(ref).rev != first


def test_logging_out_ends_this_session_alone_and_can_be_done_twice(alice: Instance):
    one, other = session(alice), session(alice)
    alice.auth.log_out(one)
    alice.auth.log_out(one)
    assert not opens(alice, session=one)
    assert opens(alice, session=other)


@pytest.mark.parametrize("forged", ["", "x", "é", "=", "A" * 10_000, "\x00", "AAAA.BBBB"])
def test_a_forged_cookie_is_nobody(still: Instance, forged: str):
    assert not opens(still, session=forged)
    still.auth.log_out(forged)


def test_a_cookie_with_one_letter_changed_is_nobody(alice: Instance):
    cookie = session(alice)
    for place in range(0, len(cookie), 7):
        changed = cookie[:place] + ("A" if cookie[place] != "A" else "B") + cookie[place + 1 :]
        assert not opens(alice, session=changed)


# -- tokens -----------------------------------------------------------------------------------------------------------


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def forged(instance: Instance, key: bytes | None, *, algorithm: str = "HS512", **claims: Any) -> str:
    """A token put together by hand."""
    issued = int(instance.now().timestamp())
    body = {"aud": ["cli"], "iss": instance.domain, "iat": issued, "sub": "", "scope": "io.cozy.files"} | claims
    signed = f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(body)}"
    digest = {"HS512": "sha512", "HS256": "sha256"}.get(algorithm)
    signature = hmac.digest(key, signed.encode(), digest) if key is not None and digest else b""
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def secret(instance: Instance, name: str) -> bytes:
    return base64.b64decode(instance.doc[name])


def test_a_cli_token_is_good_for_thirty_minutes_and_says_when_it_expired(alice: Instance, clock: Clock):
    token = alice.auth.cli_token("io.cozy.files:GET")
    found = alice.auth.identify(Credentials(bearer=token))
    assert (found.kind, found.everything) == ("cli", False)
    found.check("GET", "io.cozy.files")
    with pytest.raises(Forbidden):
        found.check("POST", "io.cozy.files")
    clock.passes(minutes=30)
    assert opens(alice, bearer=token)
    clock.passes(seconds=1)
    with pytest.raises(BadToken, match="Expired token") as refused:
        alice.auth.identify(Credentials(bearer=token))
    assert refused.value.expired


def test_an_app_token_lives_and_dies_with_its_session(alice: Instance, clock: Clock):
    cookie = session(alice)
    token = alice.auth.app_token("drive", "io.cozy.files", session_id=alice.auth.sessions.id_of(cookie))
    without = alice.auth.app_token("drive", "io.cozy.files")
    clock.passes(minutes=31)
    assert opens(alice, bearer=token)
    assert not opens(alice, bearer=without)
    alice.auth.log_out(cookie)
    assert not opens(alice, bearer=token)


def test_an_app_token_is_good_for_a_day(alice: Instance, clock: Clock):
    token = alice.auth.app_token("drive", "io.cozy.files", session_id=alice.auth.sessions.id_of(session(alice)))
    clock.passes(hours=24, seconds=1)
    assert not opens(alice, bearer=token)


def test_a_token_put_together_by_hand_with_the_right_key_opens(still: Instance):
    """So that the forgeries below fail for the reason they are there for."""
    assert opens(still, bearer=forged(still, secret(still, "cli_secret")))
    assert opens(still, bearer=forged(still, secret(still, "session_secret"), aud="app", sub="drive"))


@pytest.mark.parametrize("name", ["none", "None", "HS256 without key", "key of another audience", "key of another instance"])
def test_a_wrong_signature_opens_nothing(pair: tuple[Instance, Instance], name: str):
    still, bob = pair
    token = {
        "none": lambda: forged(still, None, algorithm="none"),
        "None": lambda: forged(still, None, algorithm="None"),
        "HS256 without key": lambda: forged(still, b"", algorithm="HS256"),
        "key of another audience": lambda: forged(still, secret(still, "session_secret")),
        "key of another instance": lambda: forged(still, secret(bob, "cli_secret")),
    }[name]()
    assert not opens(still, bearer=token)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "root"},
        {"aud": ["cli", "app"]},
        {"aud": []},
        {"aud": None},
        {"aud": {"cli": 1}},
        {"aud": "access"},
        {"aud": "share"},
        {"iss": "bob.localhost:8080"},
        {"iss": "localhost:8080"},
        {"iss": None},
        {"iat": None},
        {"iat": "now"},
        {"iat": True},
        {"iat": -1},
        {"iat": 1e300},
        {"iat": 0},
        {"scope": "*"},
        {"scope": ""},
        {"scope": 7},
        {"session_id": "0" * 32},
    ],
    ids=str,
)
def test_claims_that_do_not_hold_open_nothing_even_when_signed(still: Instance, claims: dict[str, Any]):
    token = forged(still, secret(still, "cli_secret"), **claims)
    with pytest.raises((BadToken, BadRequest)):
        still.auth.identify(Credentials(bearer=token))


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "é.é.é", "x" * 9000, "\x00", "e30.e30.", "e30.bnVsbA.e30", "e30.W10.e30"])
def test_what_is_no_token_is_refused(still: Instance, token: str):
    assert not opens(still, bearer=token)


def test_a_verified_token_is_refused_once_its_key_changes(stack: Stack, alice: Instance):
    token = alice.auth.app_token("drive", "io.cozy.files")
    assert opens(alice, bearer=token)
    stack.set_passphrase("alice.localhost:8080", "new")
    assert not opens(alice, bearer=token)


@pytest.mark.parametrize("scope", ["", " ", "*", "io.cozy.files:EAT", "Io.Cozy"])
def test_a_token_is_not_made_for_a_malformed_scope(still: Instance, scope: str):
    with pytest.raises(BadRequest):
        still.auth.cli_token(scope)
    with pytest.raises(BadRequest):
        still.auth.app_token("drive", scope)


# -- devices ----------------------------------------------------------------------------------------------------------


def test_a_device_reaches_what_it_was_given(alice: Instance):
    _, password = alice.auth.devices.add("phone", ["contacts", "calendars"], False)
    found = alice.auth.identify(Credentials(basic=("anything", password)))
    assert found.kind == "device"
    for doctype in ("io.cozy.contacts", "io.cozy.contacts.groups", "io.cozy.calendar.events", "io.cozy.calendar.todos"):
        found.check("PUT", doctype)
    for doctype in ("io.cozy.files", "io.cozy.settings", "io.cozy.devices", "io.cozy.calendarx"):
        with pytest.raises(Forbidden):
            found.check("GET", doctype)


def test_a_read_only_device_reads(alice: Instance):
    _, password = alice.auth.devices.add("frame", ["files"], True)
    found = alice.auth.identify(Credentials(basic=("me", password)))
    found.check("GET", "io.cozy.files")
    for action in ("POST", "PUT", "PATCH", "DELETE"):
        with pytest.raises(Forbidden):
            found.check(action, "io.cozy.files")


def test_a_device_password_is_128_random_bits_kept_as_sha256(alice: Instance, tmp_path: Path):
    device, password = alice.auth.devices.add("phone", ["files"], False)
    plain = password.replace("-", "")
    assert len(base64.b32decode(plain.upper() + "======")) == 16
    assert device.id == hashlib.sha256(plain.encode()).hexdigest()[:32]
    stored = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert device.id.encode() in stored
    assert plain.encode() not in stored
    assert password.encode() not in stored


def test_dashes_case_and_spaces_are_for_the_eye(alice: Instance):
    _, password = alice.auth.devices.add("phone", ["files"], False)
    for typed in (password.upper(), password.replace("-", ""), f" {password.replace('-', ' ')} "):
        assert opens(alice, basic=("me", typed))


@pytest.mark.parametrize("wrong", ["", "-", " ", "\ud800", "x" * 100_000, "é"])
def test_what_is_no_password_is_nobody(still: Instance, wrong: str):
    assert not opens(still, basic=("me", wrong))


def test_its_id_is_not_its_password_and_another_tenant_cannot_use_it(alice: Instance, bob: Instance):
    device, password = alice.auth.devices.add("phone", ["files"], False)
    assert not opens(alice, basic=("me", device.id))
    assert not opens(bob, basic=("me", password))
    assert not opens(alice, bearer=password)


def test_a_revoked_password_is_nobody_s_at_once(alice: Instance):
    device, password = alice.auth.devices.add("phone", ["files"], False)
    assert opens(alice, basic=("me", password))
    alice.auth.devices.remove(device.id)
    assert not opens(alice, basic=("me", password))
    with pytest.raises(NotFound):
        alice.auth.devices.remove(device.id)


def test_the_last_use_is_noted_to_the_hour_and_once_in_it(alice: Instance, clock: Clock):
    device, password = alice.auth.devices.add("phone", ["files"], False)
    clock.passes(minutes=25)
    assert opens(alice, basic=("me", password))
    (noted,) = alice.auth.devices.all()
    assert noted.last_used == clock.time.replace(minute=0)
    rev = alice.docs.get(Ref(DEVICES, device.id)).rev
    clock.passes(minutes=20)
    assert opens(alice, basic=("me", password))
    assert alice.docs.get(Ref(DEVICES, device.id)).rev == rev
    clock.passes(minutes=40)
    assert opens(alice, basic=("me", password))
    assert alice.auth.devices.all()[0].last_used == clock.time.replace(minute=0)


def test_a_bearer_is_looked_at_before_a_password_and_that_before_a_session(alice: Instance):
    _, password = alice.auth.devices.add("phone", ["files"], False)
    cookie = session(alice)
    assert not opens(alice, bearer="forged", basic=("me", password), session=cookie)
    assert not opens(alice, basic=("me", "wrong"), session=cookie)
    assert alice.auth.identify(Credentials(basic=("me", password), session=cookie)).kind == "device"


def test_a_text_to_show_is_found_by_its_key_in_its_instance_only(alice: Instance, bob: Instance):
    key = alice.auth.show_for_a_while("secret")
    assert alice.auth.shown(key) == "secret"
    assert bob.auth.shown(key) is None
    assert alice.auth.shown(key + "x") is None


def test_a_device_s_name_is_for_people_to_read(alice: Instance):
    device, _ = alice.auth.devices.add("  My\n\x1b[31m phone\x00 \u202e ", ["files"], False)
    assert device.name == "My [31m phone"
    assert len(alice.auth.devices.add("é" * 500, ["files"], False)[0].name) == 80


@pytest.mark.parametrize(("name", "reach"), [("", ["files"]), (" \x00", ["files"]), ("phone", []), ("phone", ["everything"])])
def test_a_device_needs_a_name_and_something_to_reach(alice: Instance, name: str, reach: list[Any]):
    with pytest.raises(Invalid):
        alice.auth.devices.add(name, reach, False)
    assert alice.auth.devices.all() == []
