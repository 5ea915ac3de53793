"""Writing an output anew: the operation and the command around the use case."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from batch_processor_client import cli
from batch_processor_client import remap as remaps
from batch_processor_client.errors import ClientError
from batch_processor_client.files import writable_file
from foundation.errors import InvalidInputError
from tests.support.batches import EXECUTION
from tests.unit.client.fakes import OUTPUTS, fake_deployment
from tests.unit.row_batches.run.test_remap import NEW, three_rows

ARN = f"arn:aws:states:us-east-1:000000000000:execution:batch-processor:{EXECUTION}"


class Downloads:
    """S3 as the command itself uses it."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects

    def download_file(self, bucket: str, key: str, path: str) -> None:
        Path(path).write_bytes(self._objects[key])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the outputs of a deployment that has a run of three rows."""
    execution = three_rows()
    fake_deployment(monkeypatch, s3=Downloads(execution.store.objects), dynamodb=None)
    monkeypatch.setattr(remaps, "S3ObjectStore", lambda _client, _bucket: execution.store)
    (tmp_path / "outputs.json").write_text(json.dumps(OUTPUTS))
    return tmp_path


def remap(folder: Path, output_mapping: object, *arguments: str) -> Result:
    document = folder / "batch.json"
    document.write_text(json.dumps({"output_mapping": output_mapping}))
    command = ["--outputs", str(folder / "outputs.json"), "remap", "--input", str(document), *arguments]
    return CliRunner().invoke(cli.app, command)


@pytest.mark.parametrize("given", [EXECUTION, ARN])
def test_an_execution_is_named_by_its_name_or_its_arn_and_the_file_is_fetched(folder: Path, given: str) -> None:
    new = folder / "new.csv"

    done = remap(folder, NEW, "--output", str(new), given)

    assert done.exit_code == 0, done.output
    assert new.read_text().splitlines()[1].startswith("1,a,red,")
    assert f"s3://results/results/{EXECUTION}/remapped/" in done.output


def test_a_mistake_in_the_mapping_is_named(folder: Path) -> None:
    done = remap(folder, {"columns": [{"name": "a", "source": "b"}]}, EXECUTION)

    assert isinstance(done.exception, InvalidInputError)
    assert "output_mapping.columns[0].source: not a JSONPath" in str(done.exception)


def test_an_output_file_needs_a_folder(tmp_path: Path) -> None:
    assert writable_file(str(tmp_path / "new.csv")) == tmp_path / "new.csv"
    for wrong in (tmp_path, tmp_path / "none" / "new.csv"):
        with pytest.raises(ClientError, match="name a file in a folder that exists"):
            writable_file(str(wrong))
