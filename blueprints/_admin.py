"""What the operator's services share: the stack, paths of this machine, answers that tell progress."""

import logging
from collections.abc import Generator, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from flask import Response, current_app

from cozyd import jsons
from cozyd.errors import BadRequest, CozyError
from cozyd.stack import Stack

log = logging.getLogger("cozyd.admin")
Steps = Generator[Mapping[str, Any], None, None]


def stack() -> Stack:
    """The process's object graph."""
    found: Stack = current_app.extensions["cozyd"]
    return found


def reported(steps: Steps) -> Response:
    """Lines of progress; what is refused at once is told by the status, what fails later by a last line with `error`.

    :param steps: has one step at least.
    """
    first = next(steps)

    def lines() -> Iterator[bytes]:
        try:
            for step in chain([first], steps):
                yield jsons.dump(step) + b"\n"
        except CozyError as error:
            yield jsons.dump({"error": error.detail}) + b"\n"
        except Exception:
            log.exception("what the operator asked for failed")
            yield jsons.dump({"error": "An unexpected error occurred; the log has it"}) + b"\n"
        finally:
            steps.close()

    return Response(lines(), content_type="application/x-ndjson")


def absolute_path(text: str, *, source: str = "Path") -> Path:
    """An absolute path of this machine.

    :raises BadRequest: it is none.
    """
    if not text.startswith("/") or "\0" in text:
        raise BadRequest(f"{source} must be absolute", source=source)
    return Path(text)
