"""For all tests: how they share the processes (a file's tests stay together, the longest files first); logging;
Hypothesis.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent
SUITES = ("e2e", "emulator", "contract", "integration", "unit")
"""The order of the suites: the longest files first, so that no process is left alone with one at the end.

A process makes a deployment for its first end-to-end test and keeps it for its others.
"""
SLOWEST_FILES = (
    "test_documents.py",
    "test_agents_sharing_a_child.py",
    "test_bedrock_batches.py",
    "test_storage_modes.py",
    "test_crashes.py",
    "test_finishing.py",
)
"""They begin their suite, in this order."""

# How long an example takes says how busy the machine is, nothing of the product.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    places = {path: place_of(path) for path in {item.path for item in items}}
    items.sort(key=lambda item: places[item.path])


def place_of(path: Path) -> tuple[int, int]:
    """Where a test file comes in the order: that of its suite, which is a folder of ``tests``, then its own."""
    suite = path.relative_to(TESTS.parent).parts[path.is_relative_to(TESTS)]
    slowest = SLOWEST_FILES.index(path.name) if path.name in SLOWEST_FILES else len(SLOWEST_FILES)
    return SUITES.index(suite), slowest


@pytest.fixture(autouse=True)
def logging_afresh() -> None:
    """A handler's log lines go to the output of the test that called it, which is closed after it."""
    logger = logging.getLogger("batch_processor")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
