"""Unit tests open no socket: what needs one belongs into another suite."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from pytest_socket import disable_socket, enable_socket


@pytest.fixture(autouse=True)
def no_sockets() -> Iterator[None]:
    """Refuse every socket for the length of a test."""
    disable_socket()
    yield
    enable_socket()


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A handler's log lines go to the output of its own test, which is closed after it."""
    logger = logging.getLogger("batch_processor")
    handlers, propagate, level = logger.handlers, logger.propagate, logger.level
    yield
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)
