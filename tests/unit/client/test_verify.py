"""An output is verified with the proof that its run wrote, whatever happened to the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from batch_processor_client import cli, verify
from batch_processor_client.cli import verifying
from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from foundation.errors import ObjectNotFoundError
from row_batches.document.input_format import InputFormat
from row_batches.document.plan import ReadObject
from row_batches.document.s3_location import S3Location
from row_batches.files import result_file
from row_batches.files.opening import open_input
from row_batches.files.ports import InputObject
from row_batches.files.table import InputFile
from row_batches.files.writers import WRITER_OF
from row_batches.run.end_messages import EndedRun, ExecutionStatus
from tests.support.batches import EXECUTION, KEYS, deduplicated
from tests.support.fakes import FakeDeadline, FakeObjectStore, KilledError
from tests.unit.client.fakes import OUTPUTS
from tests.unit.row_batches.run.test_aggregate_results import Aggregator, rows_of
from tests.unit.row_batches.run.test_resume import Runs

URI = "s3://input/rows.csv"


class FakeInputs:
    """The user's bucket, with one object."""

    def __init__(self) -> None:
        self.body: bytes | None = None

    def head(self, location: S3Location) -> InputObject:
        if self.body is None:
            raise ObjectNotFoundError("gone")
        return InputObject(location, len(self.body), etag_of(self.body))

    def stream(self, _: InputObject) -> Iterator[bytes]:
        assert self.body is not None
        for start in range(0, len(self.body), 1000):
            yield self.body[start : start + 1000]


def etag_of(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


@pytest.fixture
def inputs() -> FakeInputs:
    return FakeInputs()


class Verifier:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, inputs: FakeInputs) -> None:
        self._monkeypatch = monkeypatch
        self.deployment = Deployment.model_validate(OUTPUTS)
        monkeypatch.setattr(Deployment, "client", lambda *_: None)
        monkeypatch.setattr(verify, "S3InputObjects", lambda _: inputs)

    def __call__(self, store: FakeObjectStore, execution: str = EXECUTION) -> verify.Verified:
        self._monkeypatch.setattr(verify, "S3ObjectStore", lambda *_: store)
        return verify.verify(self.deployment, execution)


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch, inputs: FakeInputs) -> Verifier:
    return Verifier(monkeypatch, inputs)


def assert_verified(done: verify.Verified, rows: int) -> None:
    assert done.findings == []
    assert (done.rows, done.compared, done.total_rows, done.unchanged) == (rows, rows, rows, True)


def read(aggregator: Aggregator, text: bytes, inputs: FakeInputs, **form: Any) -> None:
    """Make the plan of a run that read this file."""
    inputs.body = text
    of = ReadObject(uri=URI, etag=etag_of(text), size_bytes=len(text), sha256=hashlib.sha256(text).hexdigest())
    plan = aggregator.plan
    config = plan.config.model_copy(update={"input_format": InputFormat.model_validate(form)})
    aggregator.plan = plan.model_copy(update={"read": [of], "config": config})
    aggregator.store.put(KEYS.plan, aggregator.plan.model_dump_json().encode())


# --- whatever happened to the run


def test_the_output_of_a_run_with_failed_and_dead_rows_is_verified(verified: Verifier) -> None:
    aggregator = Aggregator(rows_of(9))
    aggregator.write(1, 4, failed=[2])
    aggregator.write(7, 8)
    response = aggregator.call()

    done = verified(aggregator.store)

    assert_verified(done, 9)
    assert done.verdict == (
        "Verified: 9 rows of run-1 are in the output, each once, in order, with the input's cells unchanged, as the "
        "proof and the input say."
    )
    proof = json.loads(aggregator.store.objects[KEYS.proof])
    assert proof["counts"] == {"succeeded": 5, "failed": 4, "timed_out": 0, "not_attempted": 0, "skipped": 0}
    assert proof["cost"] == aggregator.summary["cost"]
    assert proof["target"]["answered_by"] == aggregator.summary["target_versions"]
    assert (response.document or {})["proof"] == {
        "s3_uri": f"s3://results/{KEYS.proof}",
        "sha256": hashlib.sha256(aggregator.store.objects[KEYS.proof]).hexdigest(),
    }


@pytest.mark.parametrize("after_write", [False, True], ids=["killed before a write", "killed after a write"])
def test_the_proof_of_a_run_whose_aggregation_was_killed_anywhere_is_the_same(
    verified: Verifier, monkeypatch: pytest.MonkeyPatch, *, after_write: bool
) -> None:
    monkeypatch.setattr(result_file, "PART_BYTES", 300)

    def ran(kill_at: int | None) -> Aggregator:
        aggregator = Aggregator(rows_of(30))
        for first in range(1, 31, 5):
            aggregator.write(first, first + 3, failed=[first])
        aggregator.store.writes.clear()
        aggregator.store.kill_at, aggregator.store.kill_after_write = kill_at, after_write
        try:
            aggregator.call()
        except KilledError:
            aggregator.store.kill_at = None
            aggregator.call()
        return aggregator

    whole = ran(None)
    for kill_at in range(len(whole.store.writes)):
        killed = ran(kill_at)
        assert killed.store.objects[KEYS.proof_rows] == whole.store.objects[KEYS.proof_rows]
        assert_verified(verified(killed.store), 30)


def test_the_proof_of_an_aggregation_in_several_calls_is_whole(verified: Verifier) -> None:
    aggregator = Aggregator(rows_of(20))
    for first in range(1, 21, 4):
        aggregator.write(first, first + 3)
    aggregator.deadline = FakeDeadline(900, 900, 0)
    while not aggregator.call().done:
        aggregator.deadline = FakeDeadline(900, 900, 0)

    assert_verified(verified(aggregator.store), 20)


def test_the_output_behind_a_brake_is_verified(verified: Verifier) -> None:
    aggregator = Aggregator(rows_of(9))
    aggregator.write(1, 4)
    aggregator.pull_brake()
    aggregator.call()

    assert_verified(verified(aggregator.store), 9)


def test_the_output_of_a_stopped_run_that_the_finishing_machine_wrote_is_verified(verified: Verifier) -> None:
    aggregator = Aggregator(rows_of(9))
    aggregator.write(1, 4)
    ended = EndedRun(
        execution_arn=aggregator.plan.execution.arn,
        execution=EXECUTION,
        plan_key=KEYS.plan,
        status=ExecutionStatus.ABORTED,
        ended_ms=aggregator.clock.now_ms(),
    )
    aggregator.call(ended=ended)

    assert_verified(verified(aggregator.store), 9)


def test_the_output_of_equal_rows_that_are_sent_once_is_verified(verified: Verifier) -> None:
    rows = [["1", "same"], ["1", "same"], ["2", "other"], ["1", "same"]]
    aggregator = Aggregator(rows)
    aggregator.plan = deduplicated(aggregator.plan, aggregator.store)
    aggregator.write(1, 1)
    aggregator.write(3, 3)
    aggregator.call()

    assert_verified(verified(aggregator.store), 4)


def test_the_output_of_a_run_that_resumed_another_is_verified(verified: Verifier) -> None:
    rows = [[str(number), f'text "{number}"'] for number in range(1, 9)]
    runs = Runs(failing={rows[2][1]})
    runs.run("first", rows)
    runs.aggregate("first")
    runs.failing.clear()
    runs.run("second", rows, ["first"])
    runs.aggregate("second")

    assert_verified(verified(runs.store, "second"), 8)


def test_rows_of_the_release_before_have_no_hash_of_their_input(verified: Verifier) -> None:
    aggregator = Aggregator(rows_of(4))
    aggregator.write(1, 4)
    (key,) = [key for key in aggregator.store.objects if key.startswith(KEYS.rows)]
    head, *answers = aggregator.store.objects[key].splitlines(keepends=True)
    columns = orjson.loads(head)
    del columns["proof"]
    aggregator.store.put(key, b"".join([orjson.dumps(columns), b"\n", *answers]))
    aggregator.call()

    done = verified(aggregator.store)

    assert_verified(done, 4)
    assert done.notes[-1] == "4 rows were written by an earlier release, without a hash of their input."


# --- the input


def test_the_input_is_read_as_the_run_read_it(verified: Verifier, inputs: FakeInputs) -> None:
    rows = [["1", "größer"], ["2", "a\nb"], ["", ""], ["4", '"; "']]
    text = 'title\nid;text\n1;größer\n2;"a\nb"\n;\n4;"""; """\n'.encode("utf-16")
    form = {"skip_lines": 1, "delimiter": ";", "empty_rows": "send"}
    staging = open_input(InputFile(lambda: [text], InputFormat.model_validate(form)))
    assert b"".join(staging).count(b"\n") == 6  # the rows above, one of them on two lines
    aggregator = Aggregator(rows)
    read(aggregator, text, inputs, **form)
    aggregator.write(1, 4)
    aggregator.call()

    done = verified(aggregator.store)

    assert_verified(done, 4)
    assert done.notes == []


def test_an_input_that_was_changed_since_is_told_and_the_staged_copy_compared(
    verified: Verifier, inputs: FakeInputs
) -> None:
    aggregator = Aggregator(rows_of(3))
    read(aggregator, b"id,text\n", inputs)
    aggregator.write(1, 3)
    aggregator.call()
    inputs.body = b"id,text\n1,other\n"

    done = verified(aggregator.store)

    assert_verified(done, 3)
    assert done.notes == [
        f"{URI} was changed or deleted since the run.",
        "The output is compared with the copy of the input that the run staged.",
    ]

    inputs.body = None
    assert_verified(verified(aggregator.store), 3)
    del aggregator.store.objects[KEYS.plan]
    done = verified(aggregator.store)
    assert (done.findings, done.compared, done.unchanged) == ([], 0, False)
    assert done.notes[-1] == "The staged copy of the input has expired, so the input was not compared."


def test_other_bytes_under_the_same_etag_are_found(verified: Verifier, inputs: FakeInputs) -> None:
    aggregator = Aggregator([["1", "a"]])
    text = b"id,text\n1,a\n"
    read(aggregator, text, inputs)
    aggregator.plan = aggregator.plan.model_copy(
        update={"read": [aggregator.plan.read[0].model_copy(update={"sha256": "0" * 64})]}
    )
    aggregator.store.put(KEYS.plan, aggregator.plan.model_dump_json().encode())
    aggregator.write(1, 1)
    aggregator.call()

    assert [str(finding) for finding in verified(aggregator.store).findings] == [
        "the input is not the file that the run read: its bytes differ"
    ]


# --- what was damaged


def damaged(store: FakeObjectStore, key: str, place: int) -> None:
    body = bytearray(store.objects[key])
    body[place] ^= 1
    store.put(key, bytes(body))


def test_a_flipped_byte_in_any_file_of_the_result_is_found(verified: Verifier) -> None:
    aggregator = Aggregator(rows_of(5), output_format={"type": ["csv", "jsonl"]})
    aggregator.write(1, 5, failed=[2])
    aggregator.call()
    whole = dict(aggregator.store.objects)
    assert verified(aggregator.store).agrees
    said = {
        KEYS.output: "row 5: it was changed",
        KEYS.failed_rows: f"{KEYS.failed_rows} was changed",
        f"{KEYS.results}output.jsonl": f"{KEYS.results}output.jsonl was changed",
        KEYS.proof_rows: "proof_rows.b64 is not the one that proof.json names",
        KEYS.plan: f"{KEYS.plan} is not the plan of the run",
    }
    for key, expected in said.items():
        aggregator.store.objects = dict(whole)
        place = len(whole[key]) - 10 if key != KEYS.plan else whole[key].index(b"echo")
        damaged(aggregator.store, key, place)
        assert expected in [str(finding) for finding in verified(aggregator.store).findings]
    aggregator.store.objects = dict(whole)
    aggregator.store.put(KEYS.proof, whole[KEYS.proof].replace(b'"succeeded": 4', b'"succeeded": 5'))
    assert [str(finding) for finding in verified(aggregator.store).findings] == [
        "proof.json is not the one that summary.json names"
    ]
    del aggregator.store.objects[KEYS.failed_rows]
    assert f"{KEYS.failed_rows} is missing" in [str(finding) for finding in verified(aggregator.store).findings]


@pytest.mark.parametrize("name", sorted(WRITER_OF.keys() - {"csv"}))
def test_the_files_of_every_format_are_in_the_proof(verified: Verifier, name: str) -> None:
    aggregator = Aggregator(rows_of(5), output_format={"type": ["csv", name]})
    aggregator.write(1, 5)
    aggregator.call()

    proof = json.loads(aggregator.store.objects[KEYS.proof])

    place = f"{KEYS.results}{WRITER_OF[name].file}"
    written = sorted(key for key in aggregator.store.objects if key.startswith(place))
    assert [file["key"] for file in proof["files"] if file["key"] != KEYS.failed_rows] == written
    assert written
    assert_verified(verified(aggregator.store), 5)


def test_a_run_without_a_proof_is_refused(verified: Verifier) -> None:
    with pytest.raises(ClientError, match=r"^The run 'run-1' has no proof: "):
        verified(FakeObjectStore())


# --- files on this machine


@pytest.fixture
def files(tmp_path: Path, inputs: FakeInputs) -> Path:
    """A folder with the files of a run."""
    aggregator = Aggregator([["1", "a, b"], ["2", "c\nd"], ["3", "e"]])
    read(aggregator, b'id,text\n1,"a, b"\n2,"c\nd"\n3,e\n', inputs)
    aggregator.write(1, 3)
    aggregator.call()
    for key in (KEYS.proof, KEYS.proof_rows, KEYS.output):
        (tmp_path / Path(key).name).write_bytes(aggregator.store.objects[key])
    assert inputs.body is not None
    (tmp_path / "rows.csv").write_bytes(inputs.body)
    return tmp_path


def run_command(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, ["verify", *map(str, arguments)])


def test_files_are_verified_without_aws(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Deployment, "client", lambda *_: pytest.fail("AWS was asked"))
    named = ["--proof", files / "proof.json", "--output", files / "output.csv"]

    done = run_command(*named, "--input", files / "rows.csv")
    (line,) = done.output.splitlines()
    assert done.exit_code == 0
    assert line.startswith("Verified: 3 rows of run-1 are in the output, each once, in order, with the input's cells ")
    done = run_command(*named)
    assert done.exit_code == 0
    assert "The input was not compared: name it with INPUT=." in done.output

    body = bytearray((files / "output.csv").read_bytes())
    body[-30] ^= 1
    (files / "output.csv").write_bytes(bytes(body))
    done = run_command(*named)
    assert done.exit_code == 1
    assert done.output.splitlines()[:2] == [
        "NOT verified: 2 of 3 rows of run-1 are in the output as the proof says; 1 findings.",
        "  row 3: it was changed",
    ]
    assert json.loads(run_command(*named, "--json").output)["findings"] == [{"row": 3, "what": "it was changed"}]


def test_another_input_is_found(files: Path) -> None:
    (files / "rows.csv").write_bytes(b'id,text\n1,"a, b"\n2,"c\nX"\n3,e\n')
    done = verify.verify_files(files / "proof.json", files / "output.csv", files / "rows.csv")
    assert [str(finding) for finding in done.findings] == [
        "the input is not the file that the run read: its bytes differ",
        "row 2: the input's row is not the one that the run read",
    ]


def test_a_folder_of_files_is_read_as_the_run_read_it(files: Path) -> None:
    proof = json.loads((files / "proof.json").read_text())
    parts = {"a.csv": b'id,text\n1,"a, b"\n', "b/c.csv": b'text,id\n"c\nd",2\ne,3\n'}
    (files / "in" / "b").mkdir(parents=True)
    objects = []
    for name, text in parts.items():
        (files / "in" / name).write_bytes(text)
        digest = hashlib.sha256(text).hexdigest()
        objects.append({"uri": f"s3://i/{name}", "etag": "", "size_bytes": len(text), "sha256": digest, "name": name})
    proof["input"]["objects"] = objects
    (files / "proof.json").write_text(json.dumps(proof))

    assert_verified(verify.verify_files(files / "proof.json", files / "output.csv", files / "in"), 3)

    (files / "in" / "a.csv").write_bytes(b'id,text\n1,"a; b"\n')
    done = verify.verify_files(files / "proof.json", files / "output.csv", files / "in")
    assert [str(finding) for finding in done.findings] == [
        "the input a.csv is not the file that the run read: its bytes differ",
        "row 1: the input's row is not the one that the run read",
    ]
    with pytest.raises(ClientError, match="name their folder"):
        verify.verify_files(files / "proof.json", files / "output.csv", files / "rows.csv")


def test_an_input_that_is_hashed_in_parts_is_compared_part_by_part(files: Path) -> None:
    proof = json.loads((files / "proof.json").read_text())
    text = (files / "rows.csv").read_bytes()
    (read,) = proof["input"]["objects"]
    pieces = [text[at : at + 5] for at in range(0, len(text), 5)]
    read["sha256"] = None
    read["parts"] = [{"bytes": len(piece), "sha256": hashlib.sha256(piece).hexdigest()} for piece in pieces]
    (files / "proof.json").write_text(json.dumps(proof))

    assert_verified(verify.verify_files(files / "proof.json", files / "output.csv", files / "rows.csv"), 3)

    (files / "rows.csv").write_bytes(text + b"\n")
    done = verify.verify_files(files / "proof.json", files / "output.csv", files / "rows.csv")
    assert [str(finding) for finding in done.findings] == [
        "the input is not the file that the run read: its bytes differ"
    ]


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"schema_version": 2}'])
def test_a_file_that_is_no_proof_is_refused(files: Path, text: str) -> None:
    (files / "proof.json").write_text(text)
    with pytest.raises(ClientError):
        verify.verify_files(files / "proof.json", files / "output.csv")


def test_a_proof_of_a_newer_release_is_refused(files: Path) -> None:
    proof = json.loads((files / "proof.json").read_text())
    (files / "proof.json").write_text(json.dumps({**proof, "schema_version": 2}))
    with pytest.raises(ClientError, match="newer release"):
        verify.verify_files(files / "proof.json", files / "output.csv")


@pytest.mark.parametrize("arguments", [[], ["run-1", "--proof", "proof.json"], ["--proof", "proof.json"]])
def test_the_command_needs_an_execution_or_two_files(
    arguments: list[str], files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    done = CliRunner().invoke(cli.app, ["verify", *arguments])
    assert done.exit_code == 1
    assert "EXECUTION=<name>" in str(done.exception)


def test_a_run_is_verified_by_the_command(verified: Verifier, monkeypatch: pytest.MonkeyPatch) -> None:
    aggregator = Aggregator(rows_of(3))
    aggregator.write(1, 3)
    aggregator.call()
    verified(aggregator.store)
    monkeypatch.setattr(verifying, "deployment_of", lambda _: verified.deployment)

    assert run_command(EXECUTION).exit_code == 0
    damaged(aggregator.store, KEYS.output, len(aggregator.store.objects[KEYS.output]) // 2)
    assert run_command(EXECUTION).exit_code == 1
