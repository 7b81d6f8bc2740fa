"""`Mails`: what the instance writes to its owner and, in her name, to others (docs/mails.md).

`send` pushes a `sendmail` job; `mailings` is what its worker sends. Codes and links that open things lie sealed in the job's
document: applications may read those, and must not log in with what they find there.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from email.headerregistry import Address
from typing import Any

from cozyd.config import Mail
from cozyd.errors import BadRequest, Invalid
from cozyd.mails import letter
from cozyd.mails.compose import SIZE, Header, Mailing, address_of, compose
from cozyd.seals import Seal

__all__ = ["SIZE", "Address", "Mailing", "Mails"]

Push = Callable[[str, Mapping[str, Any]], object]
_MODES = ("noreply", "pending", "from", "support", "campaign")


class Mails:
    """One tenant's mails.

    :param config: `[mail]`: what stands in From.
    :param seal: closes what only the worker may read.
    :param settings: the instance's settings: `email`, `pending_email`, `public_name`.
    :param locale: her language.
    :param read: a file's content by its id, at most `SIZE` bytes.
    :param push: pushes a job: the worker's name, and its message.
    """

    def __init__(
        self,
        config: Mail,
        domain: str,
        seal: Seal,
        *,
        settings: Callable[[], Mapping[str, Any]],
        locale: Callable[[], str],
        read: Callable[[str], bytes],
        push: Push,
        now: Callable[[], datetime],
    ) -> None:
        self.config = config
        self._domain = domain
        self._seal = seal
        self._settings = settings
        self._locale = locale
        self._read = read
        self._push = push
        self._now = now

    def send(self, template: str, values: Mapping[str, Any], *, to: Address | None = None, files: Mapping[str, str] | None = None) -> None:
        """Have a mail of ours written and sent, by a job.

        :param template: one of `cozyd/mails/words/`.
        :param values: JSON values, those that the template names.
        :param to: None: the owner's address, as it is when the mail leaves.
        :param files: name -> id of files of hers that go along.
        :raises Invalid: there is no such template, or it takes other values.
        """
        letter.check(template, values)
        hidden: dict[str, Any] = {"values": dict(values)}
        if to is not None:
            hidden["to"] = {"name": to.display_name, "email": to.addr_spec}
        if files:
            hidden["attachments"] = [{"filename": name, "file_id": id} for name, id in files.items()]
        self._push("sendmail", {"mode": "noreply", "template_name": template, "sealed": self._seal.seal(hidden)})

    def mailings(self, message: Any) -> list[Mailing]:
        """The mails that a `sendmail` job asks for: one, and for support one more to those who give it.

        :raises Invalid, TooLarge: it asks for what cannot be sent.
        """
        if not isinstance(message, Mapping):
            raise Invalid("A mail is an object", source="message")
        message = self._opened(message)
        mode = message.get("mode")
        if mode not in _MODES:
            raise Invalid(f"There is no mode of mails {mode!r}", source="mode")
        header = self._header(mode, message)
        written = self._written(message, header)
        made = compose(message, header, written, domain=self._domain, now=self._now(), read=self._read)
        return [self._request(message), made] if mode == "support" else [made]

    def _opened(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """A message with what is sealed in it; only we seal, so only we write to others without her name."""
        if "sealed" not in message:
            _check_contents(message.get("attachments"))
            return {name: value for name, value in message.items() if name != "trusted_to"}
        try:
            hidden = self._seal.open(message["sealed"])
        except BadRequest as cause:
            raise Invalid("The mail was not written by this instance", source="sealed") from cause
        return {
            **message,
            "template_values": hidden["values"],
            "trusted_to": hidden.get("to"),
            "attachments": hidden.get("attachments") or (),
        }

    # -- who ----------------------------------------------------------------------------------------------------------

    def _header(self, mode: str, message: Mapping[str, Any]) -> Header:
        config = self.config
        sender = address_of({"name": config.name, "email": config.sender or self._noreply()})
        reply_to = address_of({"name": config.name, "email": config.reply_to}) if config.reply_to else None
        if mode == "from":
            owner = self._owner("email")
            to = message.get("to") or []
            if not isinstance(to, list):
                raise Invalid("The recipients of a mail are an array", source="to")
            return Header(Address(owner.display_name, sender.username, sender.domain), [address_of(one) for one in to], owner)
        if message.get("trusted_to"):
            return Header(sender, [address_of(message["trusted_to"])], reply_to)
        return Header(sender, [self._owner("pending_email" if mode == "pending" else "email")], reply_to)

    def _noreply(self) -> str:
        host = self._domain.partition(":")[0]
        return f"noreply@{host}"

    def _owner(self, key: str) -> Address:
        settings = self._settings()
        if not settings.get(key):
            raise Invalid(f"The settings of {self._domain} have no {key}", source="to")
        return address_of({"name": str(settings.get("public_name") or ""), "email": settings[key]})

    # -- what ---------------------------------------------------------------------------------------------------------

    def _written(self, message: Mapping[str, Any], header: Header) -> letter.Letter | None:
        name = message.get("template_name")
        if not name:
            return None
        given = message.get("template_values") or {}
        if not isinstance(given, Mapping) or not isinstance(name, str):
            raise Invalid("The values of a template are an object", source="template_values")
        first = header.to[0] if header.to else None
        reader = message.get("recipient_name") or (first and (first.display_name or first.username)) or ""
        values = {"name": reader, "domain": self._domain, **given}
        return letter.letter(name, str(message.get("locale") or self._locale()), values)

    def _request(self, message: Mapping[str, Any]) -> Mailing:
        """What those get who give support: her words, as plain text."""
        config = self.config
        support = config.support or config.reply_to
        if not support:
            raise Invalid("Nobody gives support here ([mail] support)", source="mode")
        values = message.get("template_values")
        given = values if isinstance(values, Mapping) else {}
        subject, body = given.get("subject") or message.get("subject"), given.get("body")
        owner = self._owner("email")
        sender = address_of({"name": owner.display_name, "email": config.sender or self._noreply()})
        asked = {"subject": subject, "parts": [{"type": "text/plain", "body": f"{self._domain}\n\n{body or ''}\n"}]}
        return compose(asked, Header(sender, [address_of(support)], owner), None, domain=self._domain, now=self._now(), read=self._read)


def _check_contents(attachments: Any) -> None:
    """Who may push jobs may not read files by it: only mails of ours name files.

    :raises Invalid: an attachment is named by its id.
    """
    if isinstance(attachments, list) and any(isinstance(one, Mapping) and "file_id" in one for one in attachments):
        raise Invalid("An attachment brings its content along, as base64", source="attachments")
