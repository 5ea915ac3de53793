"""Merging content into a lake on DuckDB: the newest value, once, and no other row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from bedrock_batches.lake.duckdb_ import translate
from bedrock_batches.select.duckdb_ import Lake, TableCounts
from bedrock_batches.sync.duckdb_ import COMMIT_ATTEMPTS, Merged
from foundation.errors import (
    BatchProcessorError,
    CommitConflictError,
    DeploymentError,
    PermanentError,
    ServiceUnavailableError,
)
from tests.support.content import MORNING, update
from tests.support.lake import Slept, file_lake, insert, rows_of

# As DuckDB 1.5.5 reports the answer 409 of an Iceberg REST catalog.
CONFLICT = (
    "TransactionContext Error: Failed to commit: Failed to commit Iceberg transaction: Request to "
    "'…/transactions/commit' returned a non-200 status code (Conflict_409). \n message: Requirement failed: "
    "branch main has changed: expected id 3601178308278701180 != 2273192535365406689\n "
    "type: CommitFailedException\n reason: Conflict"
)
SEEDED = [
    {"violation_id": f"OSHA-00000{number}", "agency": "osha", "company_name": f"C{number}"} for number in range(1, 6)
]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = file_lake(tmp_path / "lake.duckdb", ["osha", "epa"])
    with lake.connected() as connection:
        insert(connection, [*SEEDED, {"violation_id": "EPA-1", "agency": "epa"}])
    return lake


def row(lake: Lake, violation_id: str = "OSHA-000001") -> tuple[Any, ...]:
    """The generated columns of a row."""
    (found,) = [row for row in rows_of(lake)["osha"] if row[0] == violation_id]
    return found[11:]


def micros(hours: float) -> int:
    return int((MORNING + timedelta(hours=hours)).timestamp() * 1_000_000)


def test_content_reaches_its_row_and_no_other_row_changes(lake: Lake) -> None:
    before = rows_of(lake)
    content = update()
    assert lake.merge("osha", [content]) == Merged(1, 0, ())
    after = rows_of(lake)
    assert row(lake) == (
        content.content["title"],
        content.content["description"],
        ["safety", "o'brien"],
        micros(0),
        False,
        None,
    )
    assert after["epa"] == before["epa"]
    assert after["osha"][1:] == before["osha"][1:]
    assert after["osha"][0][:11] == before["osha"][0][:11]
    assert lake.counts() == {"osha": TableCounts(5, 1), "epa": TableCounts(1, 0)}


def test_the_same_content_again_is_no_change(lake: Lake) -> None:
    lake.merge("osha", [update()])
    assert lake.merge("osha", [update()]) == Merged(0, 1, ())


def test_an_older_version_never_comes_over_a_newer(lake: Lake) -> None:
    lake.merge("osha", [update(hours=2, title="new")])
    assert lake.merge("osha", [update(hours=1, title="old")]) == Merged(0, 1, ())
    assert row(lake)[0] == "new"


def test_what_a_person_verified_reaches_the_lake_and_stays(lake: Lake) -> None:
    lake.merge("osha", [update()])
    verified_at = MORNING + timedelta(hours=3)
    lake.merge("osha", [update(title="By hand", is_verified=True, verified_at=verified_at)])
    assert (row(lake)[0], *row(lake)[4:]) == ("By hand", True, micros(3))
    lake.merge("osha", [update(title="Replayed, unverified")])
    assert row(lake)[0] == "By hand"


def test_unverified_content_never_comes_over_verified_and_the_row_is_named(lake: Lake) -> None:
    verified_at = MORNING + timedelta(hours=3)
    lake.merge("osha", [update(title="By hand", is_verified=True, verified_at=verified_at), update("OSHA-000002")])
    verified = row(lake)
    refused = Merged(0, 0, verified=("OSHA-000001",))
    # Without a time; generated later; generated earlier; with the time of the verification itself
    assert lake.merge("osha", [update()]) == refused
    assert lake.merge("osha", [update(hours=48)]) == refused
    assert lake.merge("osha", [update(hours=-1)]) == refused
    assert lake.merge("osha", [update(verified_at=verified_at)]) == refused
    assert row(lake) == verified
    # One that says when the verification was taken back is merged
    assert lake.merge("osha", [update(verified_at=verified_at + timedelta(hours=1))]) == Merged(1, 0)
    assert row(lake)[4:] == (False, micros(4))
    # And from then on new content too
    assert lake.merge("osha", [update(hours=5, title="Generated again")]) == Merged(1, 0)


def test_a_row_that_was_verified_without_a_time_is_not_overwritten_either(lake: Lake) -> None:
    lake.merge("osha", [update(title="By hand", is_verified=True)])
    assert lake.merge("osha", [update(title="By hand")]) == Merged(0, 0, verified=("OSHA-000001",))
    assert row(lake)[4:] == (True, None)


def test_content_goes_onto_no_row_whose_id_another_row_shares(lake: Lake) -> None:
    # Given two rows with one id
    with lake.connected() as connection:
        insert(connection, [{"violation_id": "OSHA-000001", "agency": "osha", "company_name": "Another"}])
    # When content for that id and for another one is merged
    merged = lake.merge("osha", [update(), update("OSHA-000002")])
    # Then neither of the two is written, and their id is named
    assert merged == Merged(1, 0, repeated=("OSHA-000001",))
    assert [found[11] for found in rows_of(lake)["osha"] if found[0] == "OSHA-000001"] == [None, None]


def test_content_of_a_time_before_1970_is_merged(lake: Lake) -> None:
    old = update(generated_at=datetime(1, 1, 2, tzinfo=UTC))
    assert lake.merge("osha", [old]) == Merged(1, 0)
    assert lake.merge("osha", [update()]) == Merged(1, 0)


def test_a_correction_by_hand_that_keeps_both_times_reaches_the_lake(lake: Lake) -> None:
    lake.merge("osha", [update(title="Tpyo")])
    assert lake.merge("osha", [update(title="Typo")]) == Merged(1, 0, ())


def test_ids_that_the_table_lacks_are_named_and_nothing_is_inserted(lake: Lake) -> None:
    merged = lake.merge("osha", [update("OSHA-9"), update("OSHA-000002"), update("' OR 1=1 --")])
    assert merged == Merged(1, 0, ("' OR 1=1 --", "OSHA-9"))
    assert lake.counts()["osha"] == TableCounts(5, 1)


def test_the_lake_tells_in_which_table_a_violation_is(lake: Lake) -> None:
    ids = {}
    with lake.connected() as connection:
        for agency in lake.agencies:
            query = f"SELECT min(violation_id) FROM {lake.location.schema}.{agency}"
            ids[agency] = connection.execute(query).fetchall()[0][0]
    told = lake.agencies_of(["nowhere", *(one for one in ids.values() if one)])
    assert told == {one: [agency] for agency, one in ids.items() if one}
    assert told


def test_an_id_that_two_tables_have_is_told_with_both(lake: Lake) -> None:
    with lake.connected() as connection:
        insert(connection, [{"violation_id": "OSHA-000001", "agency": "epa"}])
    assert lake.agencies_of(["OSHA-000001"]) == {"OSHA-000001": ["osha", "epa"]}


def test_the_lake_tells_which_violations_it_has_and_which_of_them_have_content(lake: Lake) -> None:
    lake.merge("osha", [update("OSHA-000002")])
    told = lake.have_content(["OSHA-000001", "OSHA-000002", "EPA-1", "GONE-1"])
    assert told == {"OSHA-000001": False, "OSHA-000002": True, "EPA-1": False}


def test_five_thousand_rows_are_merged_at_once(lake: Lake) -> None:
    ids = [f"MANY-{number}" for number in range(5_000)]
    with lake.connected() as connection:
        insert(connection, [{"violation_id": violation_id, "agency": "osha"} for violation_id in ids])
    assert lake.merge("osha", [update(violation_id) for violation_id in ids]) == Merged(5_000, 0, ())


class Conflicting(Lake):
    """Its first commits lose against another writer, who writes ``meanwhile``."""

    losses = 0
    meanwhile: Callable[[duckdb.DuckDBPyConnection], object] = staticmethod(lambda _: None)

    @contextmanager
    def connected(self) -> Iterator[Any]:
        with super().connected() as connection:
            yield _Connection(connection, self)


class _Connection:
    def __init__(self, connection: duckdb.DuckDBPyConnection, lake: Conflicting) -> None:
        self._connection = connection
        self._lake = lake

    def execute(self, sql: str, parameters: object = None) -> Any:
        if sql == "COMMIT" and self._lake.losses:
            self._lake.losses -= 1
            self._connection.execute("ROLLBACK")
            self._lake.meanwhile(self._connection)
            raise duckdb.TransactionException(CONFLICT)
        return self._connection.execute(sql, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def conflicting(
    lake: Lake, losses: int, meanwhile: Callable[[duckdb.DuckDBPyConnection], object] = lambda _: None
) -> tuple[Conflicting, Slept]:
    slept = Slept()
    other = Conflicting(lake.location, lake._attach, sleep=slept)
    other.losses, other.meanwhile = losses, meanwhile
    return other, slept


def test_a_commit_that_loses_is_repeated_on_the_table_as_it_is_then(lake: Lake) -> None:
    # Given another writer who, between our reading and our commit, loads the row that we lacked
    late = {"violation_id": "OSHA-9", "agency": "osha"}
    ours, slept = conflicting(lake, 1, lambda connection: insert(connection, [late]))
    # When we merge
    merged = ours.merge("osha", [update("OSHA-9"), update()])
    # Then the second attempt has seen it
    assert merged == Merged(2, 0, ())
    assert len(slept.seconds) == 1


def test_after_the_last_attempt_the_conflict_is_told_and_nothing_is_written(lake: Lake) -> None:
    ours, slept = conflicting(lake, 100)
    with pytest.raises(CommitConflictError, match="branch main has changed"):
        ours.merge("osha", [update()])
    assert len(slept.seconds) == COMMIT_ATTEMPTS - 1
    assert lake.counts()["osha"].with_content == 0


@pytest.mark.parametrize(
    ("error", "expected", "told"),
    [
        (duckdb.TransactionException(CONFLICT), CommitConflictError, "at the same time"),
        (duckdb.HTTPException("HTTP Error: … Forbidden_403 …"), DeploymentError, "was denied"),
        (duckdb.IOException("HTTP 403 AccessDenied"), DeploymentError, "role of this function"),
        (duckdb.CatalogException("Table with name faa does not exist!"), DeploymentError, "make seed-lake"),
        (duckdb.OutOfMemoryException("could not allocate"), PermanentError, "narrow the filters"),
        (duckdb.IOException("Could not write: No space left on device"), PermanentError, "narrow the filters"),
        (duckdb.IOException("Could not connect"), ServiceUnavailableError, "Try again later"),
        (duckdb.BinderException("column"), PermanentError, "could not work"),
    ],
)
def test_what_duckdb_reports_becomes_an_error_of_ours(
    lake: Lake, error: duckdb.Error, expected: type[BatchProcessorError], told: str
) -> None:
    translated = translate(error, lake.location)
    assert type(translated) is expected
    assert told in str(translated)
