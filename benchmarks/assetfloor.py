"""The floor of a file: bare WSGI on waitress with its file wrapper. `python -m benchmarks.assetfloor PORT FILE`."""

import logging
import os
import sys
from collections.abc import Iterable
from typing import Any

import waitress


def main(port: int, path: str) -> None:
    """Serve one file on every path."""
    size = str(os.path.getsize(path))

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/javascript"), ("Content-Length", size)])
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](open(path, "rb"), 1 << 18)  # noqa: SIM115
        return wrapped

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    waitress.serve(app, host="127.0.0.1", port=port, threads=8, _quiet=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
