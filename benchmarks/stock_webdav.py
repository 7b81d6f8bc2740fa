"""The yardstick: WsgiDAV as it is, over a folder, on waitress. `python -m benchmarks.stock_webdav PORT FOLDER`."""

import logging
import sys

import waitress
from wsgidav.fs_dav_provider import FilesystemProvider
from wsgidav.wsgidav_app import WsgiDAVApp


def main(port: int, folder: str) -> None:
    """Serve a folder to everybody."""
    config = {"provider_mapping": {"/": FilesystemProvider(folder)}, "simple_dc": {"user_mapping": {"*": True}}, "verbose": 1}
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    waitress.serve(WsgiDAVApp(config), host="127.0.0.1", port=port, threads=8, max_request_body_size=1 << 40, _quiet=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
