"""One deployment for all end-to-end tests of a session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.deployment import Deployment, local_variables, terraform
from tests.support.local_aws import LocalAws, RunningLocalAws
from tests.support.output_bucket import output_variables


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On a real account, skip what is for the local AWS only, with its reason."""
    if os.environ.get("BATCH_PROCESSOR_ENV", "local") == "local":
        return
    for item in items:
        marker = item.get_closest_marker("local_only")
        if marker:
            item.add_marker(pytest.mark.skip(reason=f"on the local AWS only: {marker.args[0]}"))


@pytest.fixture(scope="session")
def deployment() -> Iterator[Deployment]:
    """The environment that ``BATCH_PROCESSOR_ENV`` names, else a local one, started and applied here.

    ``BATCH_PROCESSOR_ENV=local`` is the one that ``make up`` started.
    """
    environment = os.environ.get("BATCH_PROCESSOR_ENV")
    if environment == "local":
        yield Deployment.of("local", {}, RunningLocalAws(os.environ.get("LOCAL_AWS_PORT", "4566")))
        return
    if environment:
        yield Deployment.of(environment, {})
        return
    # The batch processor looks again when it wakes, so no test sits out the minute that the owner of a lease gets.
    with LocalAws(
        {"SFN_LONGEST_WAITS": "WaitForOwner*=10 WaitForRows=10 WaitForAggregation=10 WaitUntilQuiet=10"}
    ) as local_aws:
        variables = local_variables(local_aws) | {"TF_VAR_config_file": "../tests/e2e/batch-processor-config.yaml"}
        variables |= output_variables(local_aws.client("s3"), local_aws.client("kms"))
        terraform(["apply", "--env", "local"], variables)
        yield Deployment.of("local", variables, local_aws)
