"""A port of this machine that no other machine reaches."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LOOPBACK = "127.0.0.1"


@contextmanager
def listening(port: int) -> Iterator[tuple[socket.socket, int]]:
    """A socket that listens on a port, 0 for a free one, and that port. Raises OSError if the port is taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((LOOPBACK, port))
        opened.listen()
        yield opened, int(opened.getsockname()[1])


def serve_application(application: Any, opened: socket.socket) -> None:
    """Serve an ASGI application on a socket until Ctrl-C."""
    import uvicorn  # noqa: PLC0415 (of the extras console and mcp)

    config = uvicorn.Config(
        application,
        access_log=False,  # It would have the token, which is in the address.
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[opened])
