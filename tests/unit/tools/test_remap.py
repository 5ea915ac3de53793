"""Writing an output anew: the command around the use case."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from row_batches.rows.records import RowStatus
from row_batches.run.remap import Remapped
from row_batches.run.totals import CastFailures
from tests.support.batches import EXECUTION
from tests.unit.row_batches.run.test_remap import NEW, three_rows
from tools import remap
from tools.errors import CommandError
from tools.outputs import Deployment

ARN = f"arn:aws:states:us-east-1:000000000000:execution:batch-processor-local:{EXECUTION}"


def shown(remapped: Remapped) -> str:
    console = Console(file=io.StringIO(), width=120, soft_wrap=True)
    remap.show(console, "results", remapped)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_first_rows_counts_and_address_are_shown() -> None:
    first_rows = [{"_row_id": "1", "_status": "SUCCESS", "colour": "red [bold]"}]
    counts = Counter({RowStatus.SUCCESS: 1990, RowStatus.FAILED: 9, RowStatus.TIMEOUT: 1})
    casts = {"colour": CastFailures(count=3, sample='"red"')}
    text = shown(Remapped("results/x/remapped/y/output.csv", ["colour"], counts, 2, casts, first_rows=first_rows))

    assert "red [bold]" in text
    assert text.splitlines()[-7:] == [
        "total rows   2,000",
        "succeeded    1,990",
        "failed       9",
        "timed out    1",
        "unfinished   2 of the failed: no worker finished them",
        'cast failed  3 cells of colour, which have their default; the first is "red"',
        "output       s3://results/results/x/remapped/y/output.csv",
    ]


def test_of_many_columns_the_first_are_shown() -> None:
    names = [f"c{number}" for number in range(10)]
    row = {"_row_id": "1", "_status": "SUCCESS", **{name: f"<{name}>" for name in names}}
    text = shown(Remapped("key", names, Counter({RowStatus.SUCCESS: 1}), first_rows=[row]))

    assert "<c5>" in text
    assert "<c6>" not in text
    assert "unfinished" not in text


def test_an_output_file_needs_a_folder(tmp_path: Path) -> None:
    assert remap.writable_file(str(tmp_path / "new.csv")) == tmp_path / "new.csv"
    for wrong in (tmp_path, tmp_path / "none" / "new.csv"):
        with pytest.raises(CommandError, match="name a file in a folder that exists"):
            remap.writable_file(str(wrong))


class Downloads:
    """S3 as the command itself uses it."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects

    def download_file(self, bucket: str, key: str, path: str) -> None:
        Path(path).write_bytes(self._objects[key])


@pytest.mark.parametrize("given", [EXECUTION, ARN])
def test_an_execution_is_named_by_its_name_or_its_arn_and_the_file_is_fetched(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    execution = three_rows()
    outputs = {"results_bucket": "results"}
    monkeypatch.setattr(Deployment, "of", lambda env: Deployment(env, outputs))
    monkeypatch.setattr(Deployment, "client", lambda *_: Downloads(execution.store.objects))
    monkeypatch.setattr(remap, "S3ObjectStore", lambda _client, _bucket: execution.store)
    document = tmp_path / "batch.json"
    document.write_text(json.dumps({"output_mapping": NEW}))
    new = tmp_path / "new.csv"

    code = remap.main(["--execution", given, "--input", str(document), "--output", str(new)])

    assert code == 0
    assert new.read_text().splitlines()[1].startswith("1,a,red,")
    assert f"s3://results/results/{EXECUTION}/remapped/" in capsys.readouterr().out


def test_a_mistake_is_explained_without_a_stack_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    execution = three_rows()
    monkeypatch.setattr(Deployment, "of", lambda env: Deployment(env, {"results_bucket": "results"}))
    monkeypatch.setattr(Deployment, "client", lambda *_: None)
    monkeypatch.setattr(remap, "S3ObjectStore", lambda _client, _bucket: execution.store)
    document = tmp_path / "batch.json"
    document.write_text(json.dumps({"output_mapping": {"columns": [{"name": "a", "source": "b"}]}}))

    assert remap.main(["--execution", EXECUTION, "--input", str(document)]) == 1

    said = capsys.readouterr().err
    assert "output_mapping.columns[0].source: not a JSONPath" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("arguments", [[], ["--execution", ""], ["--execution", EXECUTION]])
def test_execution_and_document_are_both_needed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert remap.main(arguments) == 1
    assert "make remap EXECUTION=<name> INPUT=batch.json" in capsys.readouterr().err
