"""Every domain exception, with the status and title it is shown with (docs/architecture.md, section 3.1).

Rooms and drivers raise these and nothing else on purpose; the doors turn them into HTTP once: `blueprints/__init__.py`
for JSON and pages, `dav/access.py` for DAV. The texts are for people; programs read `status` and `error`.
"""

from collections.abc import Sequence
from typing import Any, ClassVar


class CozyError(Exception):
    """Base of all errors a client may see.

    :param detail: one sentence for a person; never a path, a query or a secret.
    :param source: what was wrong with the request: a parameter's name, or a JSON pointer when it starts with `/`.
    :param error: CouchDB's short name for the condition, where it differs from the class's own.
    :param retry_after: seconds after which trying again makes sense.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal Server Error"
    name: ClassVar[str] = "internal_server_error"

    def __init__(self, detail: str = "", *, source: str = "", error: str = "", retry_after: int | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.source = source
        self.error = error or self.name
        self.retry_after = retry_after


class BadRequest(CozyError):
    """The request is malformed: body, query, selector, `since`."""

    status, title, name = 400, "Bad Request", "bad_request"


class BadToken(CozyError):
    """A bearer token that is wrong or expired (RFC 6750 section 3.1, with the reference's status)."""

    status, title, name = 400, "Bad Request", "invalid_token"

    def __init__(self, detail: str = "Invalid JWT token", *, expired: bool = False) -> None:
        super().__init__("Expired token" if expired else detail)
        self.expired = expired


class Unauthorized(CozyError):
    """Nobody is known to be asking, or a log-in failed."""

    status, title, name = 401, "Unauthorized", "unauthorized"


class TermsNotSigned(CozyError):
    """The owner has to accept the terms of service first."""

    status, title, name = 402, "Payment Required", "payment_required"


class Blocked(CozyError):
    """The instance is blocked by its host.

    :param reason: why, as the instance record says (`PAYMENT_FAILED`, `LOGIN_FAILED`...).
    """

    status, title, name = 503, "Blocked", "blocked"

    def __init__(self, reason: str = "UNKNOWN") -> None:
        super().__init__(f"The instance is blocked ({reason})")
        self.reason = reason


class PaymentMissing(Blocked):
    """The instance is blocked until it is paid for."""

    status, title, name = 402, "Payment Required", "payment_required"
    REASON: ClassVar[str] = "PAYMENT_FAILED"

    def __init__(self) -> None:
        super().__init__(self.REASON)


class Forbidden(CozyError):
    """The principal is known but may not do this."""

    status, title, name = 403, "Forbidden", "forbidden"


class NotFound(CozyError):
    """There is no such thing; `detail` is CouchDB's reason (`missing`, `deleted`) where a document was asked for."""

    status, title, name = 404, "Not Found", "not_found"

    def __init__(self, detail: str = "missing", *, source: str = "", error: str = "") -> None:
        super().__init__(detail, source=source, error=error)


class TriggerUnparsable(BadRequest):
    """The arguments of a trigger cannot be read; answered as text, as the reference does."""


class JobFailed(CozyError):
    """A worker could not do its job; the text becomes the job's error.

    :param again: whether another try makes sense.
    :param ends_trigger: what its trigger is for is gone (a konnector, an account), so the trigger goes too.
    """

    status, title, name = 500, "Job failed", "job_failed"

    def __init__(self, detail: str, *, again: bool = True, ends_trigger: bool = False, retry_after: int | None = None) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.again = again and not ends_trigger
        self.ends_trigger = ends_trigger


class MethodNotAllowed(CozyError):
    """The resource has no such method.

    :param allow: the methods it has, as the Allow header tells them.
    """

    status, title, name = 405, "Method Not Allowed", "method_not_allowed"

    def __init__(self, detail: str = "", *, allow: str = "") -> None:
        super().__init__(detail)
        self.allow = allow


class NoVersion(NotFound):
    """A file has no such earlier content; titled as the reference's store calls it."""

    title = "not_found"


class Conflict(CozyError):
    """A write was based on something that has changed meanwhile.

    :param refs: what was stale: every one of a batch.
    :param done: what had been written before, on a driver that is not atomic.
    """

    status, title, name = 409, "Conflict", "conflict"

    def __init__(
        self, detail: str = "Document update conflict.", *, refs: Sequence[Any] = (), done: Sequence[Any] = (), source: str = ""
    ) -> None:
        super().__init__(detail, source=source)
        self.refs = tuple(refs)
        self.done = tuple(done)


class Counted(Conflict):
    """A tree was looked through, and something came into it or went meanwhile: looking again makes sense."""


class Gone(CozyError):
    """It was here and will not come back; an instance that moved says where to.

    :param location: the new domain, when there is one.
    """

    status, title, name = 410, "Gone", "gone"

    def __init__(self, detail: str = "", *, location: str = "") -> None:
        super().__init__(detail)
        self.location = location


class Moved(Gone):
    """The instance moved to another server, with everything; `location` is its address there."""

    name = "moved"


class SeqGone(Gone):
    """A sequence the store cannot continue from: of a lost future, or below the purged horizon."""


class PreconditionFailed(CozyError):
    """A condition the client made does not hold (If-Match, Content-MD5)."""

    status, title, name = 412, "Precondition Failed", "precondition_failed"


class TooLarge(CozyError):
    """Larger than the server accepts."""

    status, title, name = 413, "Request Entity Too Large", "too_large"


class QuotaExceeded(TooLarge):
    """The owner has no room left for it (507 for DAV clients)."""


class Unsupported(CozyError):
    """The content type is not one the route takes."""

    status, title, name = 415, "Unsupported Media Type", "bad_content_type"


class RangeNotSatisfiable(CozyError):
    """No byte of the asked range exists.

    :param size: the whole length in bytes, for Content-Range.
    """

    status, title, name = 416, "Requested Range Not Satisfiable", "range_not_satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size


class Invalid(CozyError):
    """Well formed, but against a rule of the data: names, dates, cron strings."""

    status, title, name = 422, "Unprocessable Entity", "doc_validation"


class UidTaken(Invalid):
    """Another card or calendar object of the collection has the UID.

    :param href: its name there.
    """

    def __init__(self, detail: str, *, href: str) -> None:
        super().__init__(detail, source="no-uid-conflict")
        self.href = href


class Locked(CozyError):
    """Somebody holds the lock."""

    status, title, name = 423, "Locked", "locked"


class TooManyRequests(CozyError):
    """A rate limit was passed."""

    status, title, name = 429, "Too Many Requests", "too_many_requests"


class ChecksumMismatch(CozyError):
    """The bytes of a request are not those of its checksum (tus 1.0, checksum extension)."""

    status, title, name = 460, "Checksum Mismatch", "checksum_mismatch"


class Infected(CozyError):
    """The antivirus hook refuses the content."""

    status, title, name = 451, "Unavailable For Legal Reasons", "antivirus_blocked"


class TokenRefused(CozyError):
    """A provider of accounts does not take a refresh token any more: the owner has to sign in there again."""

    status, title, name = 401, "Unauthorized", "oauth_refresh_invalid_token"


class BadGateway(CozyError):
    """Another server that is needed for the answer failed."""

    status, title, name = 502, "Bad Gateway", "bad_gateway"


class GatewayTimeout(CozyError):
    """Another server that is needed for the answer did not give one in time."""

    status, title, name = 504, "Gateway Timeout", "gateway_timeout"


class Unavailable(CozyError):
    """A service this server needs is away; trying again later makes sense."""

    status, title, name = 503, "Service Unavailable", "unavailable"


class StorageFull(CozyError):
    """The disk is full."""

    status, title, name = 507, "Insufficient Storage", "insufficient_storage"
