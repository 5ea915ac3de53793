"""Unit tests open no socket: what needs one belongs into another suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_socket import disable_socket, enable_socket


@pytest.fixture(autouse=True)
def no_sockets() -> Iterator[None]:
    """Refuse every socket for the length of a test."""
    disable_socket()
    yield
    enable_socket()
