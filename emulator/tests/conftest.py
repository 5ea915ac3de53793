"""One local AWS for all tests of the emulator, and a gate to hold its functions at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.testing import LocalAws
from emulator.tests.resources import Gate


@pytest.fixture(scope="session")
def local_aws() -> Iterator[LocalAws]:
    with LocalAws() as aws:
        yield aws


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(tmp_path)
    yield made
    made.open()
