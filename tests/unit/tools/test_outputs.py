"""What a deployment without Bedrock batches answers to commands that are about them."""

from __future__ import annotations

import pytest

from tools import resync, seed_lake
from tools.errors import CommandError
from tools.outputs import Deployment

ROW_BATCHES_ONLY = Deployment("stage", {"region": "us-east-1", "lake_agencies": ["osha"], "data_bucket": None})


@pytest.mark.parametrize("name", ["data_bucket", "lake_table_bucket_arn"])
def test_an_output_that_is_null_or_absent_names_the_variable_to_set(name: str) -> None:
    with pytest.raises(CommandError, match=r"bedrock_batches = true in terraform/envs/stage\.tfvars"):
        ROW_BATCHES_ONLY.bedrock_output(name)


def test_the_lake_of_a_deployment_without_one_is_explained() -> None:
    with pytest.raises(CommandError, match="no Bedrock batches"):
        seed_lake.lake_of(ROW_BATCHES_ONLY)


def test_resync_without_bedrock_batches_is_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Deployment, "of", lambda env: ROW_BATCHES_ONLY)
    assert resync.main(["--env", "stage"]) == 1
    assert "no Bedrock batches" in capsys.readouterr().err
