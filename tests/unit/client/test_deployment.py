"""Finding a deployment: an outputs file, or the clone's own Terraform."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batch_processor_client import deployment as deployments
from batch_processor_client import lake
from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError, explain
from batch_processor_client.resync import resync
from foundation.aws.errors import message_of, translated
from foundation.errors import DeploymentError
from tests.unit.client.fakes import OUTPUTS, refusal

ROW_BATCHES_ONLY = Deployment.model_validate({**OUTPUTS, "lake_agencies": ["osha"], "data_bucket": None})
PRINTS_ITS_ARGUMENTS = """#!/bin/sh
if [ "$4" = stage ]; then echo '{outputs}'; else echo "ENV=$4: $PWD" >&2; exit 1; fi
"""


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone whose Python answers with the outputs of stage."""
    for folder in ("tools", "terraform/envs", ".venv/bin", "notebooks/new"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tools" / "output.py").touch()
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(PRINTS_ITS_ARGUMENTS.replace("{outputs}", json.dumps(OUTPUTS)))
    python.chmod(0o755)
    monkeypatch.chdir(tmp_path / "notebooks" / "new")
    return tmp_path


@pytest.mark.usefixtures("clone")
def test_the_clone_around_the_current_folder_knows_the_outputs() -> None:
    assert Deployment.find("stage") == Deployment.model_validate(OUTPUTS)


def test_what_the_clone_says_is_the_error(clone: Path) -> None:
    with pytest.raises(ClientError, match=f"ENV=nope: {clone}"):
        Deployment.find("nope")


@pytest.mark.usefixtures("clone")
def test_a_file_of_outputs_replaces_the_environment(tmp_path: Path) -> None:
    (tmp_path / "outputs.json").write_text(json.dumps({**OUTPUTS, "region": "eu-west-1"}))
    assert Deployment.find("nope", tmp_path / "outputs.json").region == "eu-west-1"


def test_without_a_clone_the_outputs_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(deployments, "__file__", str(tmp_path / "site-packages" / "deployment.py"))
    with pytest.raises(ClientError, match="--outputs <file>"):
        Deployment.find("stage")


@pytest.mark.parametrize("text", ["{}", "no json", b"\xff"])
def test_a_file_that_holds_no_outputs_is_named(text: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "outputs.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ClientError, match=f"{path} holds no outputs of a deployment"):
        Deployment.read(path)


def test_an_output_of_bedrock_batches_that_is_missing_names_the_variable_to_set() -> None:
    with pytest.raises(ClientError, match=r"bedrock_batches = true in terraform/envs/stage\.tfvars"):
        ROW_BATCHES_ONLY.bedrock(ROW_BATCHES_ONLY.data_bucket)


def test_the_lake_of_a_deployment_without_one_is_explained() -> None:
    with pytest.raises(ClientError, match="no Bedrock batches"):
        lake.lake_of(ROW_BATCHES_ONLY)


def test_resync_without_bedrock_batches_is_explained() -> None:
    with pytest.raises(ClientError, match="no Bedrock batches"):
        list(resync(ROW_BATCHES_ONLY))


def test_a_permission_that_a_person_lacks_belongs_into_the_policies_of_their_credentials() -> None:
    refused = refusal("AccessDeniedException", "UpdateItem")
    with pytest.raises(DeploymentError) as denied, translated("dynamodb:UpdateItem", "runs"):
        raise refused
    said = f"dynamodb:UpdateItem on runs was denied (AccessDeniedException: {message_of(refused)})"
    allow = "Allow dynamodb:UpdateItem on it in the policies of your credentials"
    assert explain(denied.value) == f"{said}. {allow}."
