"""What is read of a run that has ended."""

from __future__ import annotations

from typing import Any

import pytest

from batch_processor_client.results import first_rows, summary_of
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
