"""The files of a run's rows: which ones a path names, where they are uploaded, and what is refused before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batch_processor_client import executions, inputs, runs
from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from batch_processor_client.guesses import FileHeader, read_header
from foundation.errors import InvalidInputError
from tests.unit.client.fakes import OUTPUTS, FakeStates

DOCUMENT = {"target": {"type": "tool", "name": "echo"}}


class FakeBucket:
    """S3 that remembers what was uploaded, by key."""

    def __init__(self) -> None:
        self.uploaded: dict[str, str] = {}

    def upload_file(self, path: str, bucket: str, key: str) -> None:
        assert bucket == "inputs"
        self.uploaded[key] = Path(path).read_text()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> FakeBucket:
    made = FakeBucket()
    clients: dict[str, Any] = {"s3": made, "stepfunctions": FakeStates()}
    monkeypatch.setattr(Deployment, "client", lambda _, service, config=None: clients[service])
    monkeypatch.setattr(executions, "refuse_used_name", lambda *_: None)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files as people leave them, with those that no run reads."""
    made = tmp_path / "rows"
    (made / "2026").mkdir(parents=True)
    for name, text in {
        "b.csv": "id,text\n2,b\n",
        "a.csv": "id,text\n1,a\n",
        "2026/c.csv": "id,text\n3,c\n",
        "empty.csv": "",
        "_SUCCESS": "x",
        ".hidden.csv": "id\n9\n",
    }.items():
        (made / name).write_text(text)
    return made


def test_a_folder_has_all_files_below_it_and_a_pattern_those_that_fit(folder: Path) -> None:
    assert list(inputs.local_files(folder)) == ["2026/c.csv", "a.csv", "b.csv"]
    assert list(inputs.local_files(folder / "*.csv")) == ["a.csv", "b.csv"]
    assert list(inputs.local_files(folder / "*" / "c*.csv")) == ["2026/c.csv"]
    assert list(inputs.local_files(folder / "b.csv")) == ["b.csv"]


def test_what_no_file_fits_is_said_with_what_was_left_out(folder: Path) -> None:
    with pytest.raises(ClientError, match=r"No file matches .*\*\.json\.$"):
        inputs.local_files(folder / "*.json")
    with pytest.raises(ClientError, match=r"Skipped, because hidden or empty: empty\.csv\."):
        inputs.local_files(folder / "e*.csv")
    with pytest.raises(ClientError, match="There is no file"):
        inputs.local_files(folder / "none.csv")


def test_more_files_than_a_run_reads_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MOST_OBJECTS", 2)
    with pytest.raises(ClientError, match="has 3 files, but a run reads at most 2"):
        inputs.local_files(folder)


def test_the_columns_of_several_files_are_read_together(folder: Path) -> None:
    (folder / "d.csv").write_text("id,note\n4,n\n")
    header = read_header(inputs.named_files(folder))
    assert header == FileHeader(columns=["id", "text", "note"], has_rows=True)


def test_several_files_are_uploaded_below_one_address_and_run_as_one_input(bucket: FakeBucket, folder: Path) -> None:
    deployment = Deployment.model_validate(OUTPUTS)
    uri = inputs.upload_uri(deployment, folder, "uploads/night/")
    runs.start(deployment, DOCUMENT, "night", folder)
    prefix = uri.removeprefix("s3://inputs/")
    assert prefix.startswith("uploads/night/")
    assert prefix.endswith("/")
    assert list(bucket.uploaded) == [f"{prefix}{name}" for name in ("2026/c.csv", "a.csv", "b.csv")]
    # And other files have another address
    (folder / "b.csv").write_text("id,text\n2,changed\n")
    assert inputs.upload_uri(deployment, folder, "uploads/night/") != uri
    assert inputs.upload_uri(deployment, folder / "*.csv", "uploads/night/") != uri


def test_files_of_different_kinds_are_refused_by_name_before_the_upload(bucket: FakeBucket, folder: Path) -> None:
    (folder / "d.json").write_text('[{"id": 1}]')
    with pytest.raises(InvalidInputError, match=r"different kinds: csv and json \(got 2026/c\.csv and d\.json\)"):
        runs.start(Deployment.model_validate(OUTPUTS), DOCUMENT, "night", folder)
    assert bucket.uploaded == {}
