"""`cozyd` on the evening when the lived-in cozy was dumped: what ends after hours, weeks or a month has not ended yet."""

import time
from datetime import UTC, datetime, timedelta

from cozyd.cli import main
from cozyd.stack import Stack

THEN = datetime(2026, 11, 23, 22, 56, tzinfo=UTC)
BEGAN = time.monotonic()


def now() -> datetime:
    """The clock of the server."""
    return THEN + timedelta(seconds=time.monotonic() - BEGAN)


if __name__ == "__main__":
    assert Stack.__init__.__kwdefaults__ is not None
    Stack.__init__.__kwdefaults__["now"] = now
    main()
