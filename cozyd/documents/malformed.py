"""`Malformed`: what CouchDB itself calls a bad request."""

from cozyd.errors import BadRequest


class Malformed(BadRequest):
    """A revision, a sequence or a replication body of no such form; `/data` shows it in CouchDB's own shape."""

    name = "malformed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, error="bad_request")
