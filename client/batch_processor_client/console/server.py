"""Serves the console on loopback, on a free port, until it is interrupted."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

import uvicorn

from batch_processor_client.console.app import create_app
from batch_processor_client.deployment import Deployment
from batch_processor_client.loopback import LOOPBACK, listening

TOKEN_BYTES = 32


def serve(deployment: Deployment, announce: Callable[[str], None], port: int = 0) -> None:
    """Serve until Ctrl-C. ``announce`` gets the address with the token, once it can be opened."""
    logging.getLogger("batch_processor_client.console").setLevel(logging.WARNING)
    with listening(port) as (opened, chosen):
        token = secrets.token_urlsafe(TOKEN_BYTES)
        # No access log: it would have the token. No Server header, no headers of a proxy.
        config = uvicorn.Config(
            create_app(deployment, token, chosen),
            access_log=False,
            log_level="warning",
            server_header=False,
            ws="none",
            proxy_headers=False,
            timeout_graceful_shutdown=2,
        )
        announce(f"http://{LOOPBACK}:{chosen}/?token={token}")
        uvicorn.Server(config).run(sockets=[opened])
