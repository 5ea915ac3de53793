"""Starting an execution: the input document, the name and the file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from boto3.exceptions import S3UploadFailedError
from typer.testing import CliRunner

from batch_processor_client import cli, following, results, runs
from batch_processor_client.deployment import Deployment
from batch_processor_client.documents import execution_name, read_document
from batch_processor_client.errors import ClientError
from foundation.errors import InvalidInputError
from row_batches.document.plan import InputField, Target
from row_batches.mapping.models import DeclaredColumn
from tests.support.fakes import FakeRuns
from tests.unit.client.fakes import EXECUTION, OUTPUTS, FakeStates, FakeStorage, fake_deployment, run_command

DOCUMENT = {"csv_s3_uri": "s3://INPUT_BUCKET/rows.csv", "target": {"type": "tool", "name": "echo"}}


@dataclass
class Uploads(FakeStorage):
    """S3 that remembers what was uploaded: file, bucket and key."""

    uploads: list[tuple[str, str, str]] = field(default_factory=list)

    def download_file(self, bucket: str, key: str, path: str) -> None:
        Path(path).write_bytes(self.objects[key])

    def upload_file(self, path: str, bucket: str, key: str) -> None:
        self.uploads.append((Path(path).name, bucket, key))


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.states, self.storage = FakeStates(), Uploads()
        self.deployment = fake_deployment(monkeypatch, stepfunctions=self.states, s3=self.storage, dynamodb=None)
        monkeypatch.setattr(following, "DynamoDbRuns", lambda *_: FakeRuns())
        self.outputs = folder / "outputs.json"
        self.outputs.write_text(json.dumps(OUTPUTS))

    def start(self, document: dict[str, Any], csv: Path | None = None, name: str = "night-run") -> dict[str, Any]:
        """The document that the execution was started with."""
        runs.start(self.deployment, document, name, csv)
        return dict(json.loads(self.states.started[-1]["input"]))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return World(monkeypatch, tmp_path)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A file of one row."""
    path = tmp_path / "my rows.csv"
    path.write_text("a\n1\n")
    return path


def test_the_input_bucket_is_filled_in(world: World) -> None:
    assert world.start(DOCUMENT)["csv_s3_uri"] == "s3://inputs/rows.csv"
    assert world.states.started[0]["name"] == "night-run"


def test_a_file_is_uploaded_and_its_address_filled_in(world: World, rows: Path) -> None:
    sent = world.start({"target": DOCUMENT["target"]}, rows)
    key = f"uploads/night-run/{hashlib.sha256(rows.read_bytes()).hexdigest()[:16]}/my rows.csv"
    assert world.storage.uploads == [("my rows.csv", "inputs", key)]
    assert sent["csv_s3_uri"] == f"s3://inputs/{key}"


def test_a_name_that_was_used_is_refused_before_anything_is_uploaded(world: World, rows: Path) -> None:
    world.states.descriptions = [{"status": "SUCCEEDED"}]
    with pytest.raises(ClientError, match="FOLLOW=night-run"):
        world.start({"target": DOCUMENT["target"]}, rows)
    assert (world.storage.uploads, world.states.started) == ([], [])


def test_an_upload_never_replaces_a_file_with_other_content(world: World, rows: Path) -> None:
    for text in ("a\n1\n", "a\n2\n"):
        rows.write_text(text)
        world.start({"target": DOCUMENT["target"]}, rows)
    (_, _, first), (_, _, second) = world.storage.uploads
    assert first != second


def test_a_mistake_in_the_document_is_found_before_anything_is_uploaded_or_started(world: World, rows: Path) -> None:
    with pytest.raises(InvalidInputError, match="max_concurrency"):
        world.start({**DOCUMENT, "execution_config": {"max_concurrency": 0}}, rows)
    assert (world.storage.uploads, world.states.started) == ([], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "one JSON object"),
        (b"\xff\xfe", "is not JSON"),
        ("[" * 200_000, "nested too deep"),
        ('{"execution_config": {"max_rows": ' + "9" * 5_000 + "}}", "too many digits"),
        ('{"execution_config": {"max_rows": Infinity}}', "Infinity is not JSON"),
        (None, "no file"),
    ],
)
def test_an_input_file_that_cannot_be_read_is_explained(text: str | bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "batch.json"
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ClientError, match=message):
        read_document(path)


def test_an_input_file_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "batch.json"
    path.write_text(json.dumps(DOCUMENT), encoding="utf-8-sig")
    assert read_document(path) == DOCUMENT


@pytest.mark.parametrize("name", ["bad name", "a/b", "x" * 81, "a\x00", "half\ud800"])
def test_a_name_that_no_execution_can_have_is_refused_before_anything_is_uploaded(
    world: World, rows: Path, name: str
) -> None:
    with pytest.raises(ClientError, match="Choose another NAME"):
        world.start(DOCUMENT, rows, name)
    assert (world.storage.uploads, world.states.started) == ([], [])


@pytest.mark.parametrize("name", ["night-run", "Nächte.2026", "x" * 80])
def test_a_name_that_an_execution_can_have_is_taken(world: World, name: str) -> None:
    world.start(DOCUMENT, name=name)
    assert world.states.started[0]["name"] == name


def test_a_name_says_what_and_when_and_keeps_to_80_characters() -> None:
    now = datetime(2026, 11, 21, 22, 5, 9, tzinfo=UTC)
    assert execution_name("my tickets, May", now) == "my-tickets-May-20261121T220509"
    assert len(execution_name("x" * 200, now)) == 80


@pytest.mark.parametrize("given", ["night-run", EXECUTION])
def test_an_execution_is_named_by_its_name_or_its_arn(given: str) -> None:
    assert Deployment.model_validate(OUTPUTS).execution_arn(given) == EXECUTION


def test_the_warnings_of_a_run_are_shown_as_they_are(world: World, tmp_path: Path) -> None:
    document = {"status": "DRY_RUN", "warnings": ["Columns are replaced: [red]."]}
    world.states.descriptions = [{"status": "SUCCEEDED", "output": json.dumps(document)}]
    done = CliRunner().invoke(cli.app, ["--outputs", str(world.outputs), "follow", "night-run"])
    assert done.exit_code == 0
    assert "Columns are replaced: [red]." in done.output


def test_a_run_that_fails_ends_with_exit_code_1(world: World) -> None:
    world.states.descriptions = [{"status": "FAILED", "error": "InvalidInputError", "cause": "1 problem"}]
    done = CliRunner().invoke(cli.app, ["--outputs", str(world.outputs), "follow", EXECUTION])
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        "Execution night-run",
        "status       FAILED",
        "error        InvalidInputError",
        "1 problem",
    ]


def test_following_an_unknown_execution_is_explained(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "--outputs", str(world.outputs), "follow", "nope") == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "There is no execution nope.\n")


def test_an_upload_that_is_refused_is_explained(
    world: World, rows: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(self: Uploads, path: str, bucket: str, key: str) -> None:
        raise S3UploadFailedError(f"Failed to upload {path} to {bucket}/{key}: AccessDenied")

    monkeypatch.setattr(Uploads, "upload_file", refuse)
    document = tmp_path / "batch.json"
    document.write_text(json.dumps(DOCUMENT))
    arguments = ["--outputs", str(world.outputs), "run", "--input", str(document), "--csv", str(rows)]
    assert run_command(monkeypatch, *arguments) == 1
    assert "AWS refused: Failed to upload" in capsys.readouterr().err
    assert world.states.started == []


def test_a_run_needs_no_document_and_shows_what_it_sends(
    world: World, rows: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arn = "arn:aws:lambda:us-east-1:000000000000:function:sentiment"
    field = {"text": InputField()}
    output = (DeclaredColumn(name="label"), DeclaredColumn(name="score", type="number"))
    target = Target(name="sentiment", type="tool", arn=arn, invocation="lambda", input=field, output=output)
    monkeypatch.setattr(cli.runs, "find_target", lambda *_: target)
    world.storage.objects["results/x/output.csv"] = b"a\n1\n"
    ended = {"status": "SUCCEEDED", "output": json.dumps({"output_s3_uri": "s3://results/results/x/output.csv"})}
    monkeypatch.setattr(world.states, "start_execution", starts(world.states, ended))
    saved = tmp_path / "out.csv"
    arguments = ["--csv", str(rows), "--target", "sentiment", "--columns", "a=text", "--output", str(saved)]
    done = CliRunner().invoke(cli.app, ["--outputs", str(world.outputs), "run", *arguments, "--name", "night-run"])
    assert done.exit_code == 0, done.output
    *shown, document, execution = done.output.splitlines()[:6]
    assert shown == [
        "target       sentiment",
        "field        text from column a",
        "column       label from $.label of the answer",
        "column       score from $.score of the answer",
    ]
    assert execution == "Execution night-run"
    sent = json.loads(world.states.started[0]["input"])
    assert sent["input_mapping"] == {"column_mappings": {"a": "text"}}
    assert [column["name"] for column in sent["output_mapping"]["columns"]] == ["label", "score"]
    kept = json.loads(document.removeprefix("document     "))
    assert kept == {name: value for name, value in sent.items() if name != "csv_s3_uri"}
    assert saved.read_text() == "a\n1\n"


def starts(states: FakeStates, ended: dict[str, Any]) -> Any:
    """StartExecution of an execution that ends at once."""

    def start_execution(**arguments: Any) -> dict[str, str]:
        states.started.append(arguments)
        states.descriptions = [ended]
        return {"executionArn": EXECUTION}

    return start_execution


def test_a_file_that_replaces_the_documents_own_is_said(
    world: World, rows: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(world.states, "start_execution", starts(world.states, {"status": "SUCCEEDED", "output": "{}"}))
    document = tmp_path / "batch.json"
    document.write_text(json.dumps(DOCUMENT))
    arguments = ["run", "--input", str(document), "--csv", str(rows)]
    done = CliRunner().invoke(cli.app, ["--outputs", str(world.outputs), *arguments])
    assert done.output.startswith(f"{rows} is used in place of csv_s3_uri in {document}: s3://INPUT_BUCKET/rows.csv")


@pytest.mark.parametrize(
    ("description", "code", "said"),
    [
        ({"status": "RUNNING"}, 1, "night-run still runs"),
        ({"status": "SUCCEEDED", "output": json.dumps({"status": "SUCCEEDED", "total_rows": 3})}, 0, "total rows   3"),
    ],
)
def test_the_results_of_a_run_are_shown_once_it_has_ended(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    description: dict[str, Any],
    code: int,
    said: str,
) -> None:
    world.states.descriptions = [description]
    assert run_command(monkeypatch, "--outputs", str(world.outputs), "results", "night-run") == code
    shown = capsys.readouterr()
    assert said in shown.out + shown.err


def test_the_results_have_what_the_summary_says_about_saved_calls_and_extracted_fields(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = {
        "status": "SUCCEEDED",
        "warnings": ["5 rows, 3 distinct"],
        "savings": {"deduplicate": {"calls": 2, "usd": 0.5}},
        "extraction": {"methods": {"town": {"direct": 5}}},
    }
    world.states.descriptions = [{"status": "SUCCEEDED", "output": json.dumps(document)}]

    run_command(monkeypatch, "--outputs", str(world.outputs), "results", "night-run")

    assert capsys.readouterr().out.splitlines()[1:] == [
        "saved        2 calls by deduplicate, 0.5 USD",
        "extracted    town: 5 by direct",
        "warning      5 rows, 3 distinct",
    ]


def test_the_results_of_a_stopped_run_say_why_it_was_stopped_also_when_its_output_is_there(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.states.descriptions = [{"status": "ABORTED", "error": "Stopped", "cause": "maintenance at noon"}]
    summary = {"status": "ABORTED", "total_rows": 3}
    monkeypatch.setattr(results, "summary_of", lambda *_: summary)

    run_command(monkeypatch, "--outputs", str(world.outputs), "results", "night-run")

    shown = capsys.readouterr().out
    assert "total rows   3" in shown
    assert "maintenance at noon" in shown
