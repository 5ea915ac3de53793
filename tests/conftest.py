"""For all tests: how they share two processes (what shares a deployment stays together, the longest first); logging;
Hypothesis.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent
END_TO_END = sorted(path.name for path in (TESTS / "e2e").glob("test_*.py"))
SLOWEST_FIRST = ("e2e", "emulator", "contract", "integration", "unit")

# How long an example takes says how busy the machine is, nothing of the product.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test a group for ``--dist loadgroup`` and put the longest suites first."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(group_of(item.path)))
    items.sort(key=lambda item: suite_order(item.path))


def suite_of(path: Path) -> str:
    """The suite of a test file: a folder of ``tests``, or ``emulator`` for the local AWS's own tests."""
    return path.relative_to(TESTS.parent).parts[path.is_relative_to(TESTS)]


def group_of(path: Path) -> str:
    """The tests of a file stay together. The files of the end-to-end tests are dealt to two groups.

    Each group makes a deployment of its own, which takes a minute, and mostly waits for it: two of them halve the time.
    """
    if suite_of(path) != "e2e":
        return path.as_posix()
    return f"e2e {END_TO_END.index(path.name) % 2}"


def suite_order(path: Path) -> int:
    """Where a suite comes in the order; unknown folders last."""
    suite = suite_of(path)
    return SLOWEST_FIRST.index(suite) if suite in SLOWEST_FIRST else len(SLOWEST_FIRST)


@pytest.fixture(autouse=True)
def logging_afresh() -> None:
    """A handler's log lines go to the output of the test that called it, which is closed after it."""
    logger = logging.getLogger("batch_processor")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
