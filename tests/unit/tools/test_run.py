"""Starting an execution: the input document and the name."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from boto3.exceptions import S3UploadFailedError
from rich.console import Console

from foundation.errors import InvalidInputError
from tests.unit.tools.fakes import EXECUTION, FakeStates, FakeStorage
from tools import run
from tools.errors import CommandError
from tools.executions import Ending
from tools.outputs import Deployment

DOCUMENT = {"csv_s3_uri": "s3://INPUT_BUCKET/rows.csv", "target": {"type": "tool", "name": "echo"}}
OUTPUTS = {
    "batch_processor_state_machine_arn": EXECUTION.replace(":execution:", ":stateMachine:").rsplit(":", 1)[0],
    "input_bucket": "inputs",
    "results_bucket": "results",
    "runs_table": "runs",
}


class FakedDeployment(Deployment):
    """A real deployment's outputs, fake clients."""

    states = FakeStates()
    uploads: list[tuple[str, str, str]] = []  # noqa: RUF012

    def client(self, service: str, config: object = None) -> object:
        return self.states if service == "stepfunctions" else Uploads(self.uploads)


class Uploads(FakeStorage):
    def __init__(self, uploads: list[tuple[str, str, str]]) -> None:
        super().__init__()
        self.uploads = uploads

    def upload_file(self, path: str, bucket: str, key: str) -> None:
        self.uploads.append((Path(path).name, bucket, key))


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> FakedDeployment:
    monkeypatch.setattr(FakedDeployment, "states", FakeStates())
    monkeypatch.setattr(FakedDeployment, "uploads", [])
    return FakedDeployment("local", OUTPUTS)


def test_the_input_bucket_is_filled_in(deployment: FakedDeployment) -> None:
    run.submit(deployment, DOCUMENT, None, "night-run")
    assert json.loads(deployment.states.started[0]["input"])["csv_s3_uri"] == "s3://inputs/rows.csv"
    assert deployment.states.started[0]["name"] == "night-run"


def test_a_file_is_uploaded_and_its_address_filled_in(deployment: FakedDeployment, tmp_path: Path) -> None:
    csv = tmp_path / "my rows.csv"
    csv.write_text("a\n1\n")
    run.submit(deployment, {"target": DOCUMENT["target"]}, csv, "night-run")
    key = f"uploads/night-run/{hashlib.sha256(csv.read_bytes()).hexdigest()[:16]}/my rows.csv"
    assert deployment.uploads == [("my rows.csv", "inputs", key)]
    sent = json.loads(deployment.states.started[0]["input"])
    assert sent["csv_s3_uri"] == f"s3://inputs/{key}"


def test_a_name_that_was_used_is_refused_before_anything_is_uploaded(
    deployment: FakedDeployment, tmp_path: Path
) -> None:
    csv = tmp_path / "rows.csv"
    csv.write_text("a\n1\n")
    deployment.states.descriptions = [{"status": "SUCCEEDED"}]
    with pytest.raises(CommandError, match="FOLLOW=night-run"):
        run.submit(deployment, {"target": DOCUMENT["target"]}, csv, "night-run")
    assert (deployment.uploads, deployment.states.started) == ([], [])


def test_an_upload_never_replaces_a_file_with_other_content(deployment: FakedDeployment, tmp_path: Path) -> None:
    csv = tmp_path / "rows.csv"
    for text in ("a\n1\n", "a\n2\n"):
        csv.write_text(text)
        run.submit(deployment, {"target": DOCUMENT["target"]}, csv, "night-run")
    (_, _, first), (_, _, second) = deployment.uploads
    assert first != second


def test_a_mistake_in_the_document_is_found_before_anything_is_uploaded_or_started(
    deployment: FakedDeployment, tmp_path: Path
) -> None:
    csv = tmp_path / "rows.csv"
    csv.write_text("a\n1\n")
    with pytest.raises(InvalidInputError, match="max_concurrency"):
        run.submit(deployment, {**DOCUMENT, "execution_config": {"max_concurrency": 0}}, csv, "night-run")
    assert (deployment.uploads, deployment.states.started) == ([], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "one JSON object"),
        (b"\xff\xfe", "is not JSON"),
        ("[" * 200_000, "nested too deep"),
        (None, "no file"),
    ],
)
def test_an_input_file_that_cannot_be_read_is_explained(text: str | bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "batch.json"
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(CommandError, match=message):
        run.read_document(path)


def test_an_input_file_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "batch.json"
    path.write_text(json.dumps(DOCUMENT), encoding="utf-8-sig")
    assert run.read_document(path) == DOCUMENT


@pytest.mark.parametrize("name", ["bad name", "a/b", "x" * 81, "a\x00", "half\ud800"])
def test_a_name_that_no_execution_can_have_is_refused_before_anything_is_uploaded(
    deployment: FakedDeployment, tmp_path: Path, name: str
) -> None:
    csv = tmp_path / "rows.csv"
    csv.write_text("a\n1\n")
    with pytest.raises(CommandError, match="Choose another NAME"):
        run.submit(deployment, DOCUMENT, csv, name)
    assert (deployment.uploads, deployment.states.started) == ([], [])


@pytest.mark.parametrize("name", ["night-run", "Nächte.2026", "x" * 80])
def test_a_name_that_an_execution_can_have_is_taken(deployment: FakedDeployment, name: str) -> None:
    run.submit(deployment, DOCUMENT, None, name)
    assert deployment.states.started[0]["name"] == name


def test_a_name_says_what_and_when_and_keeps_to_80_characters() -> None:
    now = datetime(2026, 11, 21, 22, 5, 9, tzinfo=UTC)
    assert run.execution_name("my tickets, May", now) == "my-tickets-May-20261121T220509"
    assert len(run.execution_name("x" * 200, now)) == 80


def test_the_warnings_of_a_run_are_shown_as_they_are(deployment: FakedDeployment) -> None:
    console = Console(file=io.StringIO(), width=200)
    document = {"status": "DRY_RUN", "warnings": ["Columns are replaced: [red]."]}
    assert run.show_ending(console, deployment, Ending("SUCCEEDED", document=document), "night-run") == 0
    assert isinstance(console.file, io.StringIO)
    assert "Columns are replaced: [red]." in console.file.getvalue()


@pytest.mark.parametrize("given", ["night-run", EXECUTION])
def test_an_execution_is_named_by_its_name_or_its_arn(deployment: FakedDeployment, given: str) -> None:
    assert deployment.execution_arn(given) == EXECUTION


def test_following_an_unknown_execution_is_explained(
    deployment: FakedDeployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Deployment, "of", lambda env: deployment)
    assert run.main(["--follow", "nope"]) == 1
    assert capsys.readouterr().err == "There is no execution nope.\n"


def test_an_upload_that_is_refused_is_explained(
    deployment: FakedDeployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(self: Uploads, path: str, bucket: str, key: str) -> None:
        raise S3UploadFailedError(f"Failed to upload {path} to {bucket}/{key}: AccessDenied")

    monkeypatch.setattr(Deployment, "of", lambda env: deployment)
    monkeypatch.setattr(Uploads, "upload_file", refuse)
    document, rows = tmp_path / "batch.json", tmp_path / "rows.csv"
    document.write_text(json.dumps(DOCUMENT))
    rows.write_text("a\n1\n")
    assert run.main(["--input", str(document), "--csv", str(rows)]) == 1
    assert "AWS refused: Failed to upload" in capsys.readouterr().err
    assert deployment.states.started == []
