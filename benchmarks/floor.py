"""The floor: bare Flask on waitress, answering a JSON body as long as a document's. `python -m benchmarks.floor PORT BYTES`."""

import json
import logging
import sys

import waitress
from flask import Flask, Response, request


def main(port: int, size: int) -> None:
    """Serve GET and PUT of one document."""
    app = Flask("floor")
    body = json.dumps({"text": "x" * (size - 12)}).encode()

    @app.get("/data/<doctype>/<id>")
    def read(doctype: str, id: str) -> Response:  # noqa: ARG001
        return Response(body, content_type="application/json")

    @app.put("/data/<doctype>/<id>")
    def write(doctype: str, id: str) -> Response:  # noqa: ARG001
        request.get_json()
        return Response(body, content_type="application/json")

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # eight clients are more than it has threads free at times
    waitress.serve(app, host="127.0.0.1", port=port, threads=8, _quiet=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
