"""One local AWS for all contract tests of the emulator."""

from collections.abc import Iterator

import pytest

from tests.support.local_aws import LocalAws


@pytest.fixture(scope="session")
def local_aws() -> Iterator[LocalAws]:
    with LocalAws() as aws:
        yield aws
