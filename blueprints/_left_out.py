"""What an OAuth client does not see of files: those below folders that it leaves out."""

from collections.abc import Callable

from blueprints._request import instance, principal
from cozyd.documents.store import Stored
from cozyd.files.tree import Reference


def left_out() -> Callable[[Stored], bool] | None:
    """Tells of documents whether they are hidden from who asks; None when none is."""
    asking = principal()
    if asking.kind != "client":
        return None
    return instance().files.left_out(Reference("io.cozy.oauth.clients", asking.id))
