"""Web Push: what a device reads, what its push service sees, and what its answers mean (RFC 8030, 8291, 8292)."""

import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cozyd.config import ConfigError
from cozyd.errors import BadGateway, Gone, Invalid, TooLarge, Unavailable
from cozyd.outbound import Outbound
from cozyd.webpush import LONGEST, Subscription, VapidKeys, WebPush
from tests.support.pushservice import PushService


@pytest.fixture(scope="module")
def service() -> Iterator[PushService]:
    with PushService() as running:
        yield running


class Clock:
    now = datetime(2026, 11, 26, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def sender(folder: Path, clock: Clock | None = None) -> WebPush:
    return WebPush(Outbound(["127.0.0.1"]), VapidKeys(folder / "vapid.pem"), "mailto:ops@example.org", clock or Clock())


def subscribed(service: PushService, path: str = "/x") -> Subscription:
    service.status, service.retry_after = 201, ""
    service.messages.clear()
    return Subscription.read(service.origin + path, service.device.p256dh, service.device.secret)


def test_a_device_reads_what_was_sent_and_its_service_only_how(service: PushService, tmp_path: Path):
    push = sender(tmp_path)
    push.send(subscribed(service, "/device"), b"secret words", ttl=60, urgency="high", topic="abc")
    got = service.messages[0]
    assert (got.path, got.text) == ("/device", b"secret words")
    assert {name: got.headers[name] for name in ("ttl", "urgency", "topic")} == {"ttl": "60", "urgency": "high", "topic": "abc"}
    assert got.claims["aud"] == service.origin
    assert got.claims["sub"] == "mailto:ops@example.org"
    assert got.key == push.keys.public


def test_a_token_is_used_again_for_half_a_day_and_never_lives_longer_than_a_day(service: PushService, tmp_path: Path):
    clock = Clock()
    push, subscription = sender(tmp_path, clock), subscribed(service)
    for hours in (0, 11, 2):
        clock.now += timedelta(hours=hours)
        push.send(subscription, b"x", ttl=0)
        assert 0 < int(str(service.messages[-1].claims["exp"])) - clock.now.timestamp() < 24 * 3600
    expiries = [message.claims["exp"] for message in service.messages]
    assert expiries[0] == expiries[1] != expiries[2]


def test_the_longest_message_fits_in_what_services_take(service: PushService, tmp_path: Path):
    push, subscription = sender(tmp_path), subscribed(service)
    push.send(subscription, b"x" * LONGEST, ttl=0)
    assert int(service.messages[0].headers["content-length"]) <= 4096
    with pytest.raises(TooLarge):
        push.send(subscription, b"x" * (LONGEST + 1), ttl=0)


@pytest.mark.parametrize(
    ("status", "error"), [(404, Gone), (410, Gone), (413, TooLarge), (429, Unavailable), (503, Unavailable), (403, BadGateway)]
)
def test_answers_of_the_service_say_what_to_do(service: PushService, tmp_path: Path, status: int, error: type[Exception]):
    subscription = subscribed(service)
    service.status = status
    with pytest.raises(error):
        sender(tmp_path).send(subscription, b"x", ttl=0)


def test_a_private_address_is_not_asked(service: PushService, tmp_path: Path):
    push = WebPush(Outbound(), VapidKeys(tmp_path / "vapid.pem"), "mailto:ops@example.org", Clock())
    with pytest.raises(BadGateway):
        push.send(subscribed(service), b"x", ttl=0)
    assert service.messages == []


def test_a_service_that_is_away_is_asked_again_later(tmp_path: Path):
    with PushService() as gone:
        subscription = subscribed(gone)
    with pytest.raises(Unavailable):
        sender(tmp_path).send(subscription, b"x", ttl=0)


def test_the_service_says_how_long_to_wait(service: PushService, tmp_path: Path):
    subscription = subscribed(service)
    service.status, service.retry_after = 429, "17"
    with pytest.raises(Unavailable) as refused:
        sender(tmp_path).send(subscription, b"x", ttl=0)
    assert refused.value.retry_after == 17


@pytest.mark.parametrize(
    ("endpoint", "key", "auth", "source"),
    [
        ("ftp://x/", "good", "good", "endpoint"),
        ("https://", "good", "good", "endpoint"),
        (7, "good", "good", "endpoint"),
        ("https://x/", "AAAA", "good", "p256dh"),
        ("https://x/", "B" + "A" * 86, "good", "p256dh"),
        ("https://x/", "good", "AAAA", "auth"),
        ("https://x/", "good", None, "auth"),
    ],
)
def test_what_cannot_be_a_subscription_is_refused_by_name(service: PushService, endpoint, key, auth, source: str):
    with pytest.raises(Invalid) as refused:
        Subscription.read(endpoint, service.device.p256dh if key == "good" else key, service.device.secret if auth == "good" else auth)
    assert refused.value.source == source


def test_keys_are_made_once_for_the_server_and_are_for_its_eyes_only(tmp_path: Path):
    file = tmp_path / "vapid.pem"
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(VapidKeys(file).public)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert VapidKeys(file, given=True).public == found[0]
    assert [one.name for one in tmp_path.iterdir()] == ["vapid.pem"]


def test_renewed_keys_count_in_every_process_and_the_old_ones_sign_once_more(service: PushService, tmp_path: Path):
    push, other = sender(tmp_path), sender(tmp_path)
    before = other.keys.public
    former = push.keys.renew()
    assert push.keys.public == other.keys.public != before
    assert stat.S_IMODE((tmp_path / "vapid.pem").stat().st_mode) == 0o600
    subscription = subscribed(service)
    push.send(subscription, b"x", ttl=0)
    push.send(subscription, b"x", ttl=0, keys=former)
    assert [message.key for message in service.messages] == [push.keys.public, before]


def test_a_key_file_of_the_operator_that_is_none_stops_the_start(tmp_path: Path):
    (tmp_path / "key.pem").write_text("no key")
    for name in ("key.pem", "missing.pem"):
        with pytest.raises(ConfigError, match=r"push\.key_file"):
            VapidKeys(tmp_path / name, given=True)


def test_without_a_place_for_keys_there_are_none(tmp_path: Path):
    assert not VapidKeys(tmp_path / "no folder" / "vapid.pem").are_there()
