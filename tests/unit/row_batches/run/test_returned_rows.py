"""Failed rows that come back from a spreadsheet: read as they are, and what the spreadsheet changed is named."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from row_batches.document.plan import Keys
from row_batches.files.csv_writer import identified
from row_batches.files.staged_copy import read_staged
from row_batches.run import returned_rows
from tests.support.batches import make_plan, open_batch
from tests.unit.row_batches.run.test_validate_input import World

COLUMNS = ["id", "zip", "day", "text"]
ROWS = [
    ["1", "01234", "2026-01-31", "Zürich; €"],
    ["2", "00501", "2026-02-28", 'a "quoted", text'],
    ["1234567890123456", "10115", "2026-03-01", "two\nlines"],
]


class Returned:
    """An earlier execution, run-0, whose failed rows are submitted again."""

    def __init__(self, **document: Any) -> None:
        self.world = World()
        self.plan = make_plan(ROWS, COLUMNS, store=self.world.work, execution="run-0", **document)
        renderer = open_batch(self.plan, self.world.work).renderer
        lines = [
            identified(renderer.render_failed(cells, "Boom: why"), "run-0", row) for row, cells in enumerate(ROWS, 1)
        ]
        self.failed = renderer.failed_header_line + "".join(lines)

    def submit(self, data: bytes) -> list[list[str]]:
        """The cells of the rows as they are staged."""
        self.world.file(data)
        self.world.validate()
        staged = self.world.plan.staged
        return [cells for _, cells in read_staged(self.world.work.read(staged.key, staged.version_id))]

    def saved(self, changes: dict[str, str], delimiter: str = ";", line_end: str = "\r\n") -> str:
        """The failed rows as a spreadsheet saves them, with these cells changed."""
        saved = io.StringIO(newline="")
        writer = csv.writer(saved, delimiter=delimiter, lineterminator=line_end)
        for cells in csv.reader(io.StringIO(self.failed, newline="")):
            writer.writerow([changes.get(cell, cell) for cell in cells])
        return saved.getvalue()

    @property
    def warnings(self) -> list[str]:
        return [warning for warning in self.world.plan.warnings if "spreadsheet" in warning]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_failed_rows_saved_by_a_spreadsheet_are_the_same_rows(encoding: str, delimiter: str) -> None:
    returned = Returned()

    staged = returned.submit(returned.saved({}, delimiter).encode(encoding))

    assert [cells[:4] for cells in staged] == ROWS
    assert returned.world.plan.output_header[:5] == [*COLUMNS, "result"]
    assert returned.warnings == []


def test_what_the_spreadsheet_changed_is_named_by_column_without_its_cells() -> None:
    returned = Returned()
    changes = {
        "01234": "1234",
        "00501": "501",
        "1234567890123456": "1.23457E+15",
        "2026-01-31": "31.01.2026",
        "2026-02-28": "2026-02-27",  # a person corrected it
    }

    returned.submit(returned.saved(changes).encode("cp1252"))

    assert sorted(warning.partition(" If ")[0] for warning in returned.warnings) == [
        'A spreadsheet changed column "day": dates are written differently. Cells: 1; rows of run-0: 1.',
        'A spreadsheet changed column "id": digits of long numbers are gone. Cells: 1; rows of run-0: 3.',
        'A spreadsheet changed column "zip": leading zeros are gone. Cells: 2; rows of run-0: 1, 2.',
    ]
    assert not any("1234567" in warning or "501" in warning for warning in returned.warnings)


def test_nothing_is_compared_if_the_earlier_execution_has_expired_or_is_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    returned = Returned()
    changed = returned.saved({"01234": "1234"}).encode()
    monkeypatch.setattr(returned_rows, "MOST_EARLIER_BYTES", 10)
    returned.submit(changed)
    assert returned.warnings == []

    monkeypatch.undo()
    del returned.world.work.objects[Keys("run-0").plan]
    returned.submit(changed)
    assert returned.warnings == []


def test_an_execution_id_that_is_none_is_no_key() -> None:
    returned = Returned()

    returned.submit(returned.saved({"run-0": "../run-0"}).encode())

    assert returned.warnings == []


def test_rows_of_other_executions_and_rows_beyond_the_bound_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    returned = Returned()
    lines = returned.saved({"01234": "1234", "00501": "501", "10115": "1.01E+04"}).splitlines(keepends=True)
    monkeypatch.setattr(returned_rows, "MOST_ROWS", 1)

    returned.submit("".join(lines).encode())

    (warning,) = returned.warnings
    assert "Cells: 1;" in warning


def test_the_target_gets_a_marked_cell_without_the_mark_when_the_output_comes_back() -> None:
    columns = [{"name": "answer", "source": "$[3]"}]
    returned = Returned(output_format={"formulas": "neutralise"}, output_mapping={"columns": columns})
    document = "id,answer,own,_execution_id,_row_id\n1,'=1+1,'=1+1,run-0,1\n"
    returned.world.document["input_mapping"] = {"column_mappings": {"answer": "a", "own": "b"}}

    (cells,) = returned.submit(document.encode())

    assert cells[:3] == ["1", "'=1+1", "'=1+1"]
    plan = returned.world.plan
    assert plan.marked_columns == ["answer"]
    batch = open_batch(plan, returned.world.work)
    assert batch.input_mapper.map(cells) == {"a": "=1+1", "b": "'=1+1"}
    assert list(batch.renderer.original_cells(cells))[:2] == ["1", "'=1+1"]
