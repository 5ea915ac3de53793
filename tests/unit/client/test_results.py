"""What is read of a run that has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batch_processor_client.errors import ClientError
from batch_processor_client.results import (
    address_for,
    ending,
    first_failed_rows,
    first_rows,
    summary_of,
    with_format_of,
)
from tests.unit.client.fakes import FakeStorage, fake_deployment


def test_a_failed_row_with_a_cell_of_200_000_characters_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"id,_error_message\n{'x' * 200_000},bad\n2,worse\n"
    storage = FakeStorage({"results/x/failed_rows.csv": text.encode()})
    rows = first_rows(fake_deployment(monkeypatch, s3=storage), "s3://results/results/x/failed_rows.csv", 2)
    assert [(len(row["id"]), row["_error_message"]) for row in rows] == [(200_000, "bad"), (1, "worse")]


def test_the_first_failed_rows_are_read_from_the_start_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'id,note,_error_message\n1,"a\nb",bad\n2,c,worse\n3,d,worst\n'
    storage = FakeStorage({"results/x/failed_rows.csv": text.encode()})
    rows = first_rows(fake_deployment(monkeypatch, s3=storage), "s3://results/results/x/failed_rows.csv", 2)
    assert [(row["id"], row["note"], row["_error_message"]) for row in rows] == [
        ("1", "a\nb", "bad"),
        ("2", "c", "worse"),
    ]


def test_rows_that_were_not_started_are_not_among_the_first_failed_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "id,_error_message\n1,bad\n2,not started: stopped by me\n3,worse\n"
    storage = FakeStorage({"results/x/failed_rows.csv": text.encode()})
    rows = first_failed_rows(fake_deployment(monkeypatch, s3=storage), "s3://results/results/x/failed_rows.csv", 5)
    assert [row["id"] for row in rows] == ["1", "3"]


@pytest.mark.parametrize(
    ("document", "warnings"),
    [
        ({"status": "DRY_RUN", "warnings": ["few rows"]}, ["few rows"]),
        ({"summary_s3_uri": "s3://results/results/x/summary.json"}, ["slow"]),
        ({"summary_s3_uri": "s3://results/results/gone/summary.json"}, []),
        ({}, []),
    ],
)
def test_warnings_come_from_the_document_or_from_the_summary(
    document: dict[str, Any], warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = FakeStorage({"results/x/summary.json": b'{"warnings": ["slow"]}'})
    assert summary_of(fake_deployment(monkeypatch, s3=storage), document).get("warnings", []) == warnings


class FakeStates:
    """Step Functions with one execution, which was stopped."""

    def describe_execution(self, **_: str) -> dict[str, str]:
        return {"status": "ABORTED", "error": "Stopped", "cause": "maintenance"}


@pytest.mark.parametrize(
    "files", [{}, {"results/run-1/summary.json": b'{"output_s3_uri": "s3://r/output.csv", "estimate": {}}'}]
)
def test_the_output_of_a_stopped_run_is_found_once_it_is_written(
    files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = fake_deployment(monkeypatch, s3=FakeStorage(files), stepfunctions=FakeStates())

    found = ending(deployment, "run-1")

    assert (found.status, found.cause) == ("ABORTED", "maintenance")
    assert found.document == ({"output_s3_uri": "s3://r/output.csv"} if files else None)


@pytest.mark.parametrize(
    ("output_format", "types"),
    [
        (None, ["xlsx"]),
        ({}, ["xlsx"]),
        ({"type": "csv", "bom": True}, ["csv", "xlsx"]),
        ({"type": ["jsonl"]}, ["jsonl", "xlsx"]),
        ({"type": "xlsx"}, "xlsx"),
        ({"type": 5}, 5),
    ],
)
def test_a_run_writes_the_format_of_the_file_that_gets_its_output(output_format: Any, types: Any) -> None:
    document = {"target": {}, "output_format": output_format}

    written = with_format_of(document, Path("out.XLSX"))

    assert written["output_format"] == {**(output_format or {}), "type": types}
    assert with_format_of(document, Path("out.csv")) == with_format_of(document, None) == document


def test_a_mistake_in_the_formats_is_left_for_the_check_of_the_document() -> None:
    assert with_format_of({"output_format": "xlsx"}, Path("out.xlsx")) == {"output_format": "xlsx"}


def test_one_parquet_file_is_refused_before_the_run() -> None:
    with pytest.raises(ClientError, match="Parquet is several files"):
        with_format_of({}, Path("out.parquet"))


OUTPUTS = {"csv": "s3://r/output.csv", "xlsx": "s3://r/output.xlsx", "parquet": "s3://r/output/"}


@pytest.mark.parametrize(
    ("name", "address"),
    [("a.csv", "output.csv"), ("a.txt", "output.csv"), ("a", "output.csv"), ("A.XLSX", "output.xlsx")],
)
def test_the_ending_of_a_file_chooses_the_format_of_the_output(name: str, address: str) -> None:
    assert address_for(Path(name), OUTPUTS["csv"], OUTPUTS) == f"s3://r/{address}"


@pytest.mark.parametrize(
    ("name", "said"), [("a.jsonl", "The run wrote no jsonl"), ("a.parquet", "aws s3 cp --recursive s3://r/output/")]
)
def test_a_format_that_no_one_file_has_is_refused_with_the_way_out(name: str, said: str) -> None:
    with pytest.raises(ClientError, match=said):
        address_for(Path(name), OUTPUTS["csv"], OUTPUTS)
