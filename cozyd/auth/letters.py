"""What the owner asks to be mailed before she is logged in: a link to renew the passphrase, a link that logs in, her hint.

Who asks is never told whether a mail left: not by words, and not by time, as mails are sent by a worker.
"""

from collections.abc import Callable, Mapping
from typing import Any

from cozyd.auth.attempts import Attempts
from cozyd.auth.once import LIVES, OneTime
from cozyd.auth.passphrase import Passphrase

HINTS = 2
"""Hints in an hour."""
MAGIC_LINKS = 5
"""Links in a quarter of an hour."""


class Letters:
    """The letters of one instance.

    :param record: gives the instance record.
    :param mail: writes to the owner; whether her address is known.
    :param url: an address on her main domain, of a path.
    """

    def __init__(
        self,
        once: OneTime,
        attempts: Attempts,
        passphrase: Passphrase,
        record: Callable[[], Mapping[str, Any]],
        mail: Callable[[str, Mapping[str, Any]], bool],
        url: Callable[[str], str],
    ) -> None:
        self._once = once
        self._attempts = attempts
        self._passphrase = passphrase
        self._record = record
        self._mail = mail
        self._url = url

    def send_reset(self, query: str = "") -> bool:
        """Mail a link to renew the passphrase; whether one left: not before she has one, nor while another is good.

        :param query: goes along in the link, with `&` before it.
        """
        if not self._has_begun() or not self._attempts.allows("reset", 1, int(LIVES["reset"].total_seconds())):
            return False
        link = self._url(f"/auth/passphrase_renew?token={self._once.make('reset').encode().hex()}{query}")
        return self._mail("passphrase_reset", {"link": link})

    def send_magic_link(self, query: str = "") -> bool:
        """Mail a link that logs in once; whether one left."""
        if not self._has_begun() or not self._attempts.allows("magic", MAGIC_LINKS, int(LIVES["magic"].total_seconds())):
            return False
        link = self._url(f"/auth/magic_link?code={self._once.make('magic')}{query}")
        return self._mail("magic_link", {"link": link})

    def send_hint(self) -> bool:
        """Mail her hint; whether it left."""
        hint = self._passphrase.hint()
        return bool(hint) and self._attempts.allows("hint", HINTS, 3600) and self._mail("passphrase_hint", {"hint": hint})

    def send_onboarding(self) -> bool:
        """Mail her invitation again; whether it left: not once she has a passphrase."""
        token = self._record().get("register_token")
        if not token or self._has_begun() or not self._attempts.allows("onboarding", HINTS, 3600):
            return False
        from cozyd.auth.bearer import decoded

        return self._mail("onboarding", {"link": self._url(f"/auth/passphrase?registerToken={decoded(str(token)).hex()}")})

    @property
    def has_magic_links(self) -> bool:
        """Whether she may log in by mail; the operator says so."""
        return self._record().get("magic_link") is True

    # -- inside -----------------------------------------------------------------------------------------------------

    def _has_begun(self) -> bool:
        return self._record().get("onboarding_finished") is True
