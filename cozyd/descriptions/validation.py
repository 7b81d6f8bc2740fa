"""What is done about a document that is not as its doctype says: nothing, a line in the log, or a refusal."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from cozyd.descriptions import problems
from cozyd.errors import Invalid

log = logging.getLogger("cozyd.doctypes")

Check = Callable[[str, Mapping[str, Any]], None]


def check_of(mode: str) -> Check | None:
    """What looks at each document that is written; None: nobody does.

    :param mode: `off`, `warn` or `strict`, of `[documents] validation`.
    """
    return {"off": None, "warn": warn, "strict": refuse}[mode]


def warn(doctype: str, doc: Mapping[str, Any]) -> None:
    """Tell the log where a document is not as described; its values stay out of it."""
    for problem in problems(doctype, doc):
        log.warning("a document of %s is not as described: %s: %s", doctype, problem.path, problem.text)


def refuse(doctype: str, doc: Mapping[str, Any]) -> None:
    """Refuse a document that is not as described.

    :raises Invalid: it is not; names the first member.
    """
    for problem in problems(doctype, doc):
        raise Invalid(f"{doctype}: {problem.text}", source=problem.path)
