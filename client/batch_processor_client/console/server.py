"""Serves the console on loopback, on a free port, until it is interrupted."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

from batch_processor_client.console.app import create_app
from batch_processor_client.deployment import Deployment
from batch_processor_client.loopback import LOOPBACK, listening, serve_application

TOKEN_BYTES = 32


def serve(deployment: Deployment, announce: Callable[[str], None], port: int = 0) -> None:
    """Serve until Ctrl-C. ``announce`` gets the address with the token, once it can be opened."""
    logging.getLogger("batch_processor_client.console").setLevel(logging.WARNING)
    with listening(port) as (opened, chosen):
        token = secrets.token_urlsafe(TOKEN_BYTES)
        application = create_app(deployment, token, chosen)
        announce(f"http://{LOOPBACK}:{chosen}/?token={token}")
        serve_application(application, opened)
