"""Whatever one tenant's credentials are made into, they are nobody at another tenant."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from random import Random

import pytest

from cozyd.auth import Credentials, tokens
from cozyd.auth.bearer import decoded, secret_of
from cozyd.auth.links import Maker, Wanted
from cozyd.auth.once import Kind
from cozyd.auth.passkeys import Place
from cozyd.auth.tokens import Audience, Claims
from cozyd.errors import BadRequest, BadToken, Forbidden, NotFound, TooManyRequests, Unauthorized
from cozyd.instance import Instance
from cozyd.permissions import Principal, parse_scope
from cozyd.stack import Stack
from tests.support.stack import Clock, open_stack

SCOPE = "io.cozy.files io.cozy.contacts"
KINDS: tuple[Audience, ...] = ("app", "konn", "access", "refresh", "registration", "share", "cli")
Make = Callable[[Random], str]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = open_stack(tmp_path_factory.mktemp("tenants") / "data", Clock())
    stack.create("alice.localhost:8080", aliases=["localhost:8080"])
    stack.create("bob.localhost:8080", aliases=["127.0.0.1:8080"])
    yield stack
    stack.close()


def credentials_of(alice: Instance, bob: Instance) -> Mapping[str, Make]:
    """How to make each kind of credential of alice's, also as she would forge it with all her secrets."""
    auth = alice.auth
    client = auth.clients.register({"redirect_uris": ["app://x"], "client_name": "N", "software_id": "x"})
    session = auth.open_session(Credentials(), long_run=True)
    _, password = auth.devices.add("phone", ["contacts"], read_only=False)
    maker = Maker(Principal("cli", "", parse_scope(SCOPE)), "")
    link = auth.links.create(maker, Wanted({"permissions": {"a": {"type": "io.cozy.files"}}}, names=("a",))).doc
    theirs = bob.auth.clients.register({"redirect_uris": ["app://x"], "client_name": "N", "software_id": "x"})

    def forged(random: Random) -> str:
        audience = random.choice(KINDS)
        claims = Claims(
            audience,
            random.choice((bob.domain, alice.domain, "", "127.0.0.1:8080", bob.domain.upper())),
            random.choice((client.id, theirs.id, "drive", "settings", "")),
            alice.now(),
            random.choice((SCOPE, "*", "", "@io.cozy.apps/drive")),
            session_id=random.choice(("", auth.sessions.id_of(session))),
            id=secrets.token_hex(4),
        )
        key = secret_of(alice.doc, random.choice(KINDS))
        assert key is not None
        return tokens.sign(claims, key)

    def signed(audience: Audience) -> Make:
        claims = Claims(audience, alice.domain, client.id, alice.now(), SCOPE)
        key = secret_of(alice.doc, audience)
        assert key is not None
        return lambda _: tokens.sign(replace(claims, id=secrets.token_hex(4)), key)

    fixed = {"session": session, "password": password, "link": link["codes"]["a"], "short": link["shortcodes"]["a"]}
    found: dict[str, Make] = {kind: signed(kind) for kind in KINDS}
    return found | {"forged": forged} | {name: (lambda _, value=value: value) for name, value in fixed.items()}


def changed(random: Random, text: str) -> str:
    """The credential as it is, or with something about it changed."""
    place = random.randrange(len(text))
    ways = (
        text,
        text,
        text[:place],
        text[:place] + random.choice("AZaz09-_.=\x00é") + text[place + 1 :],
        text + random.choice(("=", ".", " ", "\n", "x")),
        text.swapcase(),
        f"Bearer {text}",
        text[place:] + text[:place],
    )
    return random.choice(ways)


def shown(random: Random, text: str) -> Credentials:
    """Through one of the doors: a bearer token, a password, a cookie, a link's cookie beside it."""
    kind = random.choice(("bearer", "basic", "session", "passes"))
    if kind == "basic":
        return Credentials(basic=("me", text), address="192.0.2.1")
    if kind == "session":
        return Credentials(session=text)
    return Credentials(bearer=text, session=random.choice((None, "", text)), passes={"passx": text} if kind == "passes" else {})


def throw(stack: Stack, seed: int, count: int) -> None:
    alice, bob = stack.instance("alice.localhost:8080"), stack.instance("bob.localhost:8080")
    makes = credentials_of(alice, bob)
    random = Random(seed)
    passed = []
    for _ in range(count):
        name = random.choice(sorted(makes))
        text = changed(random, makes[name](random))
        try:
            passed.append((name, text, bob.auth.identify(shown(random, text))))
        except (BadRequest, BadToken, Unauthorized, Forbidden, NotFound, TooManyRequests):
            continue
    assert passed == []


def test_her_credentials_are_good_at_home(stack: Stack):
    alice, bob = stack.instance("alice.localhost:8080"), stack.instance("bob.localhost:8080")
    makes = credentials_of(alice, bob)
    for name in ("access", "cli", "app", "konn", "link", "short"):
        assert alice.auth.identify(Credentials(bearer=makes[name](Random(1)))).kind != "owner"
    assert alice.auth.identify(Credentials(session=makes["session"](Random(1)))).everything
    assert alice.auth.identify(Credentials(basic=("me", makes["password"](Random(1))))).kind == "device"


def test_none_of_300_credentials_of_a_tenant_passes_at_another(stack: Stack):
    throw(stack, seed=7, count=300)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_none_of_5000_credentials_of_a_tenant_passes_at_another(stack: Stack):
    throw(stack, seed=11, count=5_000)


# -- what mails, pages and browsers carry ---------------------------------------------------------------------------------

ONCE: tuple[Kind, ...] = ("session", "reset", "magic", "mailed", "confirmed", "passkey", "setup", "certify")


def carried_of(alice: Instance) -> Mapping[str, Callable[[], str]]:
    """How to make what alice's mails, pages and browsers carry."""
    auth, seen = alice.auth, Credentials(agent="Browser")
    session = auth.open_session(seen, long_run=True)
    found: dict[str, Callable[[], str]] = {f"once {kind}": (lambda kind=kind: auth.once.make(kind, b"getx")) for kind in ONCE}  # type: ignore[misc]
    return found | {
        "invitation": lambda: decoded(str(alice.doc["register_token"])).hex(),
        "code of the second factor": auth.factors.challenge,
        "trusted browser": lambda: auth.factors.trust(seen),
        "known browser": auth.attempts.new_browser,
        "session": lambda: session,
        "session of an app's host": lambda: auth.handover.cookie(auth.sessions.id_of(session), f"drive.{alice.domain}"),
    }


def passes(bob: Instance, text: str) -> list[str]:
    """What of bob's takes it."""
    auth, seen, place = bob.auth, Credentials(agent="Browser", address="192.0.2.1"), Place("bob.localhost", "http://bob.localhost:8080")
    found = [f"once {kind}" for kind in ONCE if auth.once.look(kind, text) is not None or auth.once.take(kind, text) is not None]
    found += ["trusted"] if auth.factors.is_trusted(text, seen) else []
    found += ["known"] if auth.attempts.knows(text) else []
    found += ["app session"] if auth.app_session(text, f"drive.{bob.domain}") is not None else []
    for name, step in (
        ("invitation", lambda: auth.register_principal(text)),
        ("factor", lambda: auth.factors.check(text, "000000")),
        ("session", lambda: auth.sessions.get(text)),
        ("passkey", lambda: auth.passkeys.check(place, text, "{}")),
        ("new passkey", lambda: auth.passkeys.add(place, text, "{}", "x")),
    ):
        try:
            step()
        except (BadRequest, BadToken, Unauthorized, Forbidden, NotFound, TooManyRequests):
            continue
        found.append(name)
    return found


def throw_carried(stack: Stack, seed: int, count: int) -> None:
    alice, bob = stack.instance("alice.localhost:8080"), stack.instance("bob.localhost:8080")
    stack.modify(bob.domain, auth_mode=1)
    makes, random = carried_of(alice), Random(seed)
    passed = []
    for number in range(count):
        name = sorted(makes)[number % len(makes)]
        text = changed(random, makes[name]())
        passed += [(name, text, taken) for taken in passes(bob, text)]
    assert passed == []


def test_none_of_300_secrets_of_mails_and_browsers_passes_at_another_tenant(stack: Stack):
    throw_carried(stack, seed=3, count=300)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_none_of_5000_secrets_of_mails_and_browsers_passes_at_another_tenant(stack: Stack):
    throw_carried(stack, seed=5, count=5_000)
