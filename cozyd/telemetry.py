"""Log lines that name the request and the domain they belong to; never a token, a query or a document."""

import logging
import sys
from contextvars import ContextVar

from cozyd import jsons

_request: ContextVar[tuple[str, str]] = ContextVar("request", default=("", ""))
NO_REQUEST = "-"


def about_request(request_id: str, domain: str) -> None:
    """Name what this thread is working on now.

    :param domain: of a known instance; never a Host that a client made up.
    """
    _request.set((request_id, domain))


class _Named(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Add the request's id and domain to every line."""
        record.request_id, record.domain = (value or NO_REQUEST for value in _request.get())
        return True


class _TextLines(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """One line, whatever a client put into a path."""
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in super().formatMessage(record))


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One JSON object a line."""
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "request_id": getattr(record, "request_id", NO_REQUEST),
            "domain": getattr(record, "domain", NO_REQUEST),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return jsons.dump(line).decode()


def set_up(level: str, form: str) -> None:
    """Send log lines to standard error.

    :param level: `debug`, `info`, `warning` or `error`.
    :param form: `text` or `json`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Named())
    handler.setFormatter(
        _JsonLines() if form == "json" else _TextLines("%(asctime)s %(levelname)s [%(request_id)s %(domain)s] %(message)s")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("waitress", "radicale", "wsgidav"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a burst is no fault
