"""One local AWS for all tests of the emulator, and a gate to hold its functions at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.testing import LocalAws
from emulator.tests.resources import Gate

TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process, with ``--dist loadgroup``."""
    for item in items:
        if item.path.is_relative_to(TESTS) and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.as_posix()))


@pytest.fixture(scope="session")
def local_aws() -> Iterator[LocalAws]:
    with LocalAws() as aws:
        yield aws


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(tmp_path)
    yield made
    made.open()
