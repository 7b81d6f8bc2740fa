"""The passphrase: what clients derive, how it is kept, how often one may try."""

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cozyd.auth import BITWARDEN, Auth, Credentials, Owner
from cozyd.auth.attempts import ACCOUNT_ATTEMPTS, ATTEMPTS, ATTEMPTS_WINDOW, NICE, Gate
from cozyd.auth.passwords import derive, keep, matches
from cozyd.auth.tokens import VerifiedTokens
from cozyd.auth.values import Kdf
from cozyd.cache import LocalCache
from cozyd.errors import BadRequest, TooManyRequests, Unauthorized
from cozyd.instance import Instance
from cozyd.stack import Stack
from tests.support.identity import private_key_of
from tests.support.stack import Clock

PASSPHRASE = "correct horse battery"


@pytest.fixture
def alice(stack: Stack) -> Instance:
    return stack.create("alice.localhost:8080", passphrase=PASSPHRASE)


class Seconds:
    """A cache's clock."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def auth(alice: Instance, clock: Clock, seconds: Seconds) -> Auth:
    """Alice's room over a cache whose time stands."""
    return Auth(
        alice.docs,
        lambda: alice.doc,
        LocalCache(clock=seconds),
        VerifiedTokens(),
        clock,
        amend=alice.amend,
        gate=Gate(),
        owner=Owner(lambda: alice.mails, alice.email, alice.url),
    )


@pytest.mark.parametrize(
    ("passphrase", "kdf", "sent"),
    [
        (PASSPHRASE, Kdf("me@alice.localhost", 650_000), "Yt0mkOBiDFaFk/CF47ydoYqUyvoEVZX9I7EsyDjjc9c="),
        ("é€ñ", Kdf("me@zoe.example.org", 100_000), "nHPiO+XI8H7FYc/ZIJgVHwpn/VpwLga4LDbbeCBRBo4="),
    ],
)
def test_the_derivation_is_the_one_of_official_clients(passphrase: str, kdf: Kdf, sent: str):
    """The values are openssl's: two rounds of `openssl kdf ... PBKDF2`."""
    assert derive(passphrase, kdf) == sent


def test_the_salt_has_no_port_and_the_iterations_are_told(alice: Instance):
    assert alice.auth.passphrase.kdf() == Kdf("me@alice.localhost", 650_000)


def test_what_is_kept_is_argon2id_of_the_derived_and_never_twice_the_same(alice: Instance):
    kept = alice.doc["passphrase_hash"]
    assert kept.startswith("$argon2id$v=19$m=19456,t=3,p=1$")
    assert derive(PASSPHRASE, alice.auth.passphrase.kdf()) not in kept
    assert matches(derive(PASSPHRASE, alice.auth.passphrase.kdf()), kept)
    assert keep("x") != keep("x")


@pytest.mark.parametrize("kept", ["", "x", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv", None])
def test_a_record_without_a_usable_hash_lets_nobody_in(stack: Stack, kept: str | None):
    bob = stack.create("bob.localhost")
    if kept is not None:
        stack.modify("bob.localhost", passphrase_hash=kept)
    for tried in ("", "x", derive("", bob.auth.passphrase.kdf())):
        with pytest.raises(Unauthorized):
            bob.auth.log_in(tried, Credentials())


def test_the_clear_passphrase_is_not_what_opens(alice: Instance):
    with pytest.raises(Unauthorized):
        alice.auth.log_in(PASSPHRASE, Credentials())
    assert alice.auth.log_in(alice.auth.passphrase.derive(PASSPHRASE), Credentials())


def test_a_new_passphrase_replaces_the_old_one(stack: Stack, alice: Instance):
    old = alice.auth.log_in(alice.auth.passphrase.derive(PASSPHRASE), Credentials())
    stack.set_passphrase("alice.localhost:8080", "another")
    with pytest.raises(Unauthorized):
        alice.auth.log_in(alice.auth.passphrase.derive(PASSPHRASE), Credentials())
    with pytest.raises(Unauthorized):
        alice.auth.identify(Credentials(session=old))
    assert alice.auth.log_in(alice.auth.passphrase.derive("another"), Credentials())
    with pytest.raises(BadRequest):
        stack.set_passphrase("alice.localhost:8080", "")


def attempt(auth: Auth, address: str, times: int = 1) -> None:
    for _ in range(times):
        auth.attempts.count(Credentials(address=address))


def test_an_address_has_ten_attempts_in_five_minutes(auth: Auth, seconds: Seconds):
    attempt(auth, "192.0.2.1", ATTEMPTS)
    with pytest.raises(TooManyRequests) as refused:
        attempt(auth, "192.0.2.1")
    assert refused.value.retry_after == ATTEMPTS_WINDOW
    attempt(auth, "192.0.2.2")
    seconds.now += ATTEMPTS_WINDOW
    attempt(auth, "192.0.2.1", ATTEMPTS)


def test_a_log_in_gives_the_attempts_back(auth: Auth):
    attempt(auth, "192.0.2.1", ATTEMPTS)
    auth.log_in(auth.passphrase.derive(PASSPHRASE), Credentials(address="192.0.2.1"))
    attempt(auth, "192.0.2.1", ATTEMPTS)


def test_one_ipv6_network_is_one_address(auth: Auth):
    for number in range(ATTEMPTS):
        attempt(auth, f"2001:db8::{number:x}:1")
    with pytest.raises(TooManyRequests):
        attempt(auth, "2001:db8::ffff")
    attempt(auth, "2001:db8:0:1::1")


def test_strangers_cannot_shut_the_owner_out(auth: Auth):
    auth.log_in(auth.passphrase.derive(PASSPHRASE), Credentials(address="192.0.2.1"))
    for number in range(ACCOUNT_ATTEMPTS):
        attempt(auth, f"198.51.{number // 250}.{number % 250}")
    with pytest.raises(TooManyRequests):
        attempt(auth, "203.0.113.1")
    attempt(auth, "192.0.2.1")


def test_the_attempts_of_one_instance_are_not_another_s(stack: Stack, alice: Instance):
    bob = stack.create("bob.localhost", passphrase="b")
    attempt(alice.auth, "192.0.2.1", ATTEMPTS)
    attempt(bob.auth, "192.0.2.1", ATTEMPTS)


def test_a_cozy_of_long_ago_sends_the_passphrase_itself_once(stack: Stack, alice: Instance):
    salt = bytes(range(16))
    key = hashlib.scrypt(PASSPHRASE.encode(), salt=salt, n=32768, r=8, p=1, maxmem=1 << 26, dklen=32)
    stack.modify(alice.domain, passphrase_hash=f"scrypt$32768$8$1${salt.hex()}${key.hex()}")
    alice.docs.delete(BITWARDEN, alice.docs.get(BITWARDEN).rev)
    auth = stack.instance(alice.domain).auth
    assert auth.passphrase.kdf().iterations == 0
    with pytest.raises(Unauthorized):
        auth.log_in(auth.passphrase.derive("another"), Credentials())
    assert auth.log_in(auth.passphrase.derive(PASSPHRASE), Credentials())
    assert auth.passphrase.kdf().iterations == 650_000
    assert private_key_of(alice.docs.get(BITWARDEN).doc, PASSPHRASE, "alice.localhost")
    assert auth.log_in(derive(PASSPHRASE, auth.passphrase.kdf()), Credentials())
    with pytest.raises(Unauthorized):
        auth.log_in(PASSPHRASE, Credentials())


def test_hashing_steps_back_for_everybody_else_and_more_than_a_few_are_refused_at_once():
    gate, began, ends = Gate(1), threading.Semaphore(0), threading.Event()

    def hashes() -> int:
        began.release()
        ends.wait(10)
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    with ThreadPoolExecutor(gate.room) as callers:
        calls = [callers.submit(gate, hashes) for _ in range(gate.room)]
        began.acquire()
        while gate.waiting < gate.room:
            threading.Event().wait(0.01)
        with pytest.raises(TooManyRequests):
            gate(hashes)
        assert not began.acquire(blocking=False), "one at a time"
        ends.set()
        usual = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        assert {call.result(10) for call in calls} == {min(usual + NICE, 19)}
    assert gate(lambda: 7) == 7


def test_what_a_cozy_stack_kept_is_known():
    salt = bytes(range(16))
    key = hashlib.scrypt(b"derived", salt=salt, n=32768, r=8, p=1, maxmem=1 << 26, dklen=32)
    kept = f"scrypt$32768$8$1${salt.hex()}${key.hex()}"
    assert matches("derived", kept)
    for wrong in (kept.replace("$8$", "$9$"), "scrypt$", "scrypt$a$b$c$d$e", "scrypt$1048576$64$1$00$00", kept.replace(key.hex(), "")):
        assert not matches("derived", wrong)
    assert not matches("other", kept)
