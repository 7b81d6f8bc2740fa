"""How often who may try to log in; which browsers are known; how many passphrases are hashed at once (docs/http/auth.md).

Nobody waits for a punishment: who tried too often is refused at once, before anything is hashed. Whoever has the cookie of a
browser in which the owner logged in before is counted by that cookie alone, so that strangers cannot shut her out.
"""

import base64
import hmac
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from cozyd.auth.guesses import source_of
from cozyd.auth.values import Credentials
from cozyd.cache import Cache
from cozyd.errors import TooManyRequests

T = TypeVar("T")

ATTEMPTS, ATTEMPTS_WINDOW = 10, 300
ACCOUNT_ATTEMPTS, ACCOUNT_WINDOW = 300, 3600
KNOWN_FOR = 30 * 24 * 3600.0
NICE = 10
"""How far threads that hash step back: about a tenth of a busy processor is theirs, all of an idle one."""
OFTEN = "Too many attempts, try again in a few minutes"


class Gate:
    """Hashes in a few threads of low priority, has as many calls wait, and refuses the rest, so that a storm leaves the others their share.

    :param at_once: how many; half of the processors when None.
    """

    def __init__(self, at_once: int | None = None) -> None:
        self.at_once = at_once or max(1, (os.cpu_count() or 2) // 2)
        self.room = 2 * self.at_once + 1
        """How many hash or wait."""
        self._threads = ThreadPoolExecutor(self.at_once, "hash", initializer=_step_back)
        self._lock = threading.Lock()
        self._inside = 0

    @property
    def waiting(self) -> int:
        """How many hash or wait now."""
        return self._inside

    def __call__(self, work: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """What the work gives; the caller waits.

        :param work: hashes, and leaves the interpreter to others meanwhile.
        :raises TooManyRequests: all threads are at work, and enough wait already.
        """
        with self._lock:
            if self._inside >= self.room:
                raise TooManyRequests("The server is busy with log-ins, try again in a moment", retry_after=2)
            self._inside += 1
        try:
            return self._threads.submit(work, *arguments, **named).result()
        finally:
            with self._lock:
                self._inside -= 1


def _step_back() -> None:
    """Give this thread less of the processors than the others: on Linux each thread has a priority of its own."""
    this = threading.get_native_id()
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, this, os.getpriority(os.PRIO_PROCESS, this) + NICE)


class Attempts:
    """The attempts at one instance.

    :param record: gives the instance record: its domain keeps tenants apart, its `session_secret` signs the cookies.
    """

    def __init__(self, cache: Cache, record: Callable[[], Mapping[str, Any]]) -> None:
        self._cache = cache
        self._record = record

    def count(self, seen: Credentials) -> None:
        """Count an attempt to log in, before anything costly is done for it.

        :raises TooManyRequests: too many of this browser, from this address, or for this account.
        """
        if self.knows(seen.known):
            if self._cache.hit(self._key("browser", seen.known), ATTEMPTS_WINDOW) > ATTEMPTS:
                raise TooManyRequests(OFTEN, retry_after=ATTEMPTS_WINDOW)
            return
        here = self._cache.hit(self._key("attempts", source_of(seen.address)), ATTEMPTS_WINDOW)
        account = self._cache.hit(self._key("account"), ACCOUNT_WINDOW)
        is_known = self._cache.get(self._key("known", source_of(seen.address))) is not None
        if here > ATTEMPTS or (account > ACCOUNT_ATTEMPTS and not is_known):
            raise TooManyRequests(OFTEN, retry_after=ATTEMPTS_WINDOW)

    def succeeded(self, seen: Credentials) -> None:
        """It was right: this browser and address start anew, and are known."""
        source = source_of(seen.address)
        if self.knows(seen.known):
            self._cache.delete(self._key("browser", seen.known))
        else:
            self._cache.delete(self._key("attempts", source))
        self._cache.set(self._key("known", source), b"", KNOWN_FOR)

    def limit(self, what: str, most: int, window: int, who: str = "") -> None:
        """Count something else that somebody does, and refuse what is too much.

        :param window: seconds.
        :raises TooManyRequests: more than `most` in the window.
        """
        if not self.allows(what, most, window, who):
            raise TooManyRequests(OFTEN, retry_after=window)

    def allows(self, what: str, most: int, window: int, who: str = "") -> bool:
        """As `limit`, for what is left out without a word."""
        return self._cache.hit(self._key(f"limit/{what}", who), window) <= most

    def new_browser(self) -> str:
        """The value of a cookie that makes a browser known."""
        name = secrets.token_bytes(16)
        return base64.urlsafe_b64encode(name + self._mac(name)).decode().rstrip("=")

    def knows(self, browser: str) -> bool:
        """Whether this is a cookie of this instance; a new passphrase ends them all."""
        try:
            raw = base64.urlsafe_b64decode(browser + "=" * (-len(browser) % 4))
        except ValueError:
            return False
        return len(raw) == 48 and hmac.compare_digest(raw[16:], self._mac(raw[:16]))

    def _mac(self, name: bytes) -> bytes:
        return hmac.digest(base64.b64decode(self._record()["session_secret"]), b"known" + name, "sha256")

    def _key(self, what: str, who: str = "") -> str:
        return f"login/{what}/{self._record()['domain']}/{who}"
