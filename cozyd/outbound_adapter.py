"""An adapter of requests that connects to one address, whatever the name of the host would resolve to."""

import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest
from requests.adapters import HTTPAdapter


class PinnedAdapter(HTTPAdapter):
    """As requests', to one address; certificates are checked against the name.

    :param address: where connections go.
    :param watch: is told of each connection that is opened.
    """

    def __init__(self, address: str, watch: Callable[[socket.socket], None]) -> None:
        self._address = address
        self._watch = watch
        super().__init__(max_retries=0)

    def build_connection_pool_key_attributes(self, request: PreparedRequest, verify: Any, cert: Any = None) -> Any:
        """The address in place of the name; the name in SNI and in what certificates are compared with."""
        host, options = super().build_connection_pool_key_attributes(request, verify, cert)
        parts = urlsplit(str(request.url))
        host["host"] = self._address
        if parts.scheme == "https":
            options |= {"server_hostname": parts.hostname, "assert_hostname": parts.hostname}
        return host, options

    def get_connection_with_tls_context(self, request: PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None) -> Any:  # noqa: ARG002
        """A pool without proxies whose connections are watched from their first byte on."""
        pool: Any = super().get_connection_with_tls_context(request, verify, None, cert)
        made = pool.ConnectionCls

        def watched(*arguments: Any, **options: Any) -> Any:
            connection: Any = made(*arguments, **options)
            opened = connection._new_conn

            def open_watched() -> socket.socket:
                found: socket.socket = opened()
                self._watch(found)
                return found

            connection._new_conn = open_watched
            return connection

        pool.ConnectionCls = watched
        return pool
