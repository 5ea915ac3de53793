"""The errors of the client: each says what is wrong and what to do."""

from __future__ import annotations


class ClientError(Exception):
    """Raised when an operation cannot be done; the message says why and what to do."""
