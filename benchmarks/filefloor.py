"""The floor of downloads: bare waitress sending a file by `wsgi.file_wrapper`. `python -m benchmarks.filefloor PORT FILE`."""

import os
import sys
from collections.abc import Iterable
from typing import Any

import waitress


def main(port: int, path: str) -> None:
    """Serve one file."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        file = open(path, "rb")  # noqa: SIM115
        start_response("200 OK", [("Content-Length", str(os.path.getsize(path))), ("Content-Type", "application/octet-stream")])
        found: Iterable[bytes] = environ["wsgi.file_wrapper"](file, 1 << 18)
        return found

    waitress.serve(app, host="127.0.0.1", port=port, threads=8, _quiet=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
