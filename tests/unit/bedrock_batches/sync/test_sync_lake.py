"""A batch of the stream is merged once, by one writer, and nothing of it is lost."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from bedrock_batches.sync.lake_content import ContentUpdate, plain_item
from bedrock_batches.sync.sync_lake import FAILED_PREFIX, SyncServices, compare, replay, sync_stream
from foundation.errors import (
    CommitConflictError,
    DeploymentError,
    InvalidInputError,
    ObjectNotFoundError,
    ServiceUnavailableError,
)
from tests.support.content import MORNING, image, stream_record, update

NOW = datetime(2026, 11, 21, 23, 59, tzinfo=UTC)
KEY = f"{FAILED_PREFIX}2026-11-21/1-3.jsonl"


@dataclass(frozen=True)
class Merged:
    updated: int
    unchanged: int
    missing: Sequence[str]
    verified: Sequence[str] = ()


@dataclass
class FakeLake:
    """Tables as dictionaries by id; an agency of ``failures`` raises."""

    agencies: Sequence[str] = ("osha", "epa")
    tables: dict[str, dict[str, ContentUpdate | None]] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)
    merges: list[tuple[str, int]] = field(default_factory=list)

    def merge(self, agency: str, updates: Sequence[ContentUpdate]) -> Merged:
        self.merges.append((agency, len(updates)))
        if agency in self.failures:
            raise self.failures[agency]
        table = self.tables.setdefault(agency, {})
        missing = [one.violation_id for one in updates if one.violation_id not in table]
        changed = 0
        for one in updates:
            if one.violation_id in table:
                before = table[one.violation_id]
                if before is None or before.version[:2] < one.version[:2]:
                    table[one.violation_id] = one
                    changed += 1
        verified = [one.violation_id for one in updates if self._is_taken_back(table.get(one.violation_id), one)]
        return Merged(changed, len(updates) - changed - len(missing), missing, verified)

    def agencies_of(self, violation_ids: Collection[str]) -> dict[str, str]:
        if "" in self.failures:
            raise self.failures[""]
        return {one: agency for agency, table in self.tables.items() for one in violation_ids if one in table}

    def _is_taken_back(self, row: ContentUpdate | None, update: ContentUpdate) -> bool:
        said = update.is_verified or update.verified_at
        return row is not None and row.is_verified and not said and row.generated_at == update.generated_at


@dataclass
class World:
    """Every port of the sync; time passes only by sleeping."""

    lake: FakeLake = field(default_factory=FakeLake)
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    remaining: float = 290.0
    slept: float = 0.0

    def services(self) -> SyncServices:
        fake: Any = self
        return SyncServices(self.lake, fake, fake, fake, fake, fake, fake, owner="me")

    def current(self, violation_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        return {violation_id: self.items[violation_id] for violation_id in violation_ids if violation_id in self.items}

    def page(self, cursor: str) -> tuple[list[dict[str, Any]], str]:
        """Two items a page."""
        after = sorted(one for one in self.items if one > cursor)[:2]
        return [self.items[one] for one in after], after[-1] if len(after) == 2 else ""

    def acquire(self, name: str, owner: str, seconds: float) -> bool:
        assert seconds == self.remaining_seconds()
        return self.held.setdefault(name, owner) == owner

    def release(self, name: str, owner: str) -> None:
        assert self.held.pop(name) == owner

    def get(self, key: str) -> bytes:
        if key not in self.stored:
            raise ObjectNotFoundError(key)
        return self.stored[key]

    def put(self, key: str, body: bytes, tags: dict[str, str] | None = None) -> str:
        self.stored[key] = body
        return ""

    def delete(self, key: str) -> None:
        del self.stored[key]

    def now_ms(self) -> int:
        return int(NOW.timestamp() * 1000)

    def sleep(self, seconds: float) -> None:
        self.slept += seconds

    def remaining_seconds(self) -> float:
        return self.remaining - self.slept

    def lines(self, key: str = KEY) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.stored[key].splitlines()]


class RecordedMetrics:
    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def put(self, target: str, values: dict[str, tuple[float, str]]) -> None:
        assert target == "bedrock_sync"
        self.values = {name: value for name, (value, _) in values.items()}


@pytest.fixture
def world() -> World:
    world = World()
    world.lake.tables = {"osha": {"O-1": None, "O-2": None}, "epa": {"E-1": None}}
    return world


def sync(world: World, records: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], RecordedMetrics]:
    metrics = RecordedMetrics()
    services = world.services()
    for record in records:
        item = plain_item(record["dynamodb"].get("NewImage", {}))
        if item:
            world.items[item["PK"].removeprefix("VIOLATION#")] = item
    result = sync_stream(records, SyncServices(**{**vars(services), "metrics": metrics}))
    return result.document(), metrics


def test_a_batch_becomes_one_merge_a_table_under_its_lease(world: World) -> None:
    records = [
        stream_record(update("O-1"), 1, "INSERT"),
        stream_record(update("E-1", agency="EPA"), 2),
        stream_record(update("O-2"), 3),
    ]
    answer, metrics = sync(world, records)
    assert world.lake.merges == [("epa", 1), ("osha", 2)]
    assert answer == {"updated": 3, "unchanged": 0, "ignored": 0, "failed": 0, "failed_key": ""}
    assert metrics.values == {"SyncMerged": 3, "SyncFailed": 0}
    assert world.held == {}
    assert world.stored == {}


def test_an_item_that_names_no_agency_is_merged_where_the_lake_has_its_violation(world: World) -> None:
    records = [stream_record(update("E-1"), 1, agency=None), stream_record(update("X-1"), 2, agency=None)]
    answer, _ = sync(world, records)
    assert world.lake.merges == [("epa", 1)]
    assert (answer["updated"], answer["failed"]) == (1, 1)
    assert [line["item"]["PK"] for line in world.lines(answer["failed_key"])] == ["VIOLATION#X-1"]


def test_a_lake_that_does_not_tell_agencies_leaves_the_others_to_be_merged(world: World) -> None:
    world.lake.failures[""] = ServiceUnavailableError("no answer")
    answer, _ = sync(world, [stream_record(update("O-1"), 1), stream_record(update("O-2"), 2, agency=None)])
    assert (answer["updated"], answer["failed"]) == (1, 1)


def test_fifty_versions_of_one_violation_are_one_row_the_newest(world: World) -> None:
    records = [stream_record(update("O-1", hours=place % 7, title=f"v{place}"), place) for place in range(50)]
    answer, _ = sync(world, records)
    assert world.lake.merges == [("osha", 1)]
    assert answer["updated"] == 1
    row = world.lake.tables["osha"]["O-1"]
    assert row is not None
    assert row.title == "v48", "the last of those that were generated at the latest hour"


def test_the_same_batch_again_changes_nothing(world: World) -> None:
    records = [stream_record(update("O-1"), 1), stream_record(update("O-2"), 2)]
    sync(world, records)
    answer, _ = sync(world, records)
    assert (answer["updated"], answer["unchanged"]) == (0, 2)


def test_deleted_items_and_other_items_are_ignored(world: World) -> None:
    records = [
        stream_record(update("O-1"), 1, "REMOVE"),
        stream_record(update("O-1"), 2, SK={"S": "METADATA"}),
    ]
    answer, _ = sync(world, records)
    assert answer["ignored"] == 2
    assert world.lake.merges == []


def test_what_cannot_be_merged_is_kept_with_its_reason_and_the_rest_is_merged(world: World) -> None:
    records = [
        stream_record(update("O-1"), 1),
        stream_record(update("O-9"), 2),
        stream_record(update("O-2"), 3, title_bedrock=None),
    ]
    answer, metrics = sync(world, records)
    assert (answer["updated"], answer["failed"], answer["failed_key"]) == (1, 2, KEY)
    assert metrics.values["SyncFailed"] == 2
    reasons = {line["item"]["PK"]: line["reason"] for line in world.lines()}
    assert "title_bedrock" in reasons["VIOLATION#O-2"]
    assert "has no violation O-9" in reasons["VIOLATION#O-9"]


@pytest.mark.parametrize(
    "error", [CommitConflictError("lost"), DeploymentError("denied"), ServiceUnavailableError("away")]
)
def test_a_table_that_cannot_be_written_does_not_hold_up_the_others(world: World, error: Exception) -> None:
    world.lake.failures = {"epa": error}
    answer, _ = sync(world, [stream_record(update("E-1", agency="epa"), 1), stream_record(update("O-1"), 3)])
    assert (answer["updated"], answer["failed"]) == (1, 1)
    assert [(line["item"]["agency"], line["reason"], line["sequence"]) for line in world.lines()] == [
        ("epa", str(error), "1")
    ]
    assert world.held == {}, "the lease was given back"


def test_a_place_in_the_stream_may_have_forty_digits_as_dynamodb_allows(world: World) -> None:
    # https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html
    place = 10**39 + 1
    answer, _ = sync(world, [stream_record(update("O-9"), place)])
    key = answer["failed_key"]
    assert [line["sequence"] for line in world.lines(key)] == [str(place)]
    world.lake.tables["osha"]["O-9"] = None
    assert replay(key, world.services()).updated == 1


def test_an_agency_that_the_lake_does_not_have_is_kept(world: World) -> None:
    sync(world, [stream_record(update("X-1", agency="doj"), 1), stream_record(update("X-1", agency="doj"), 3)])
    assert ["no agency 'doj'" in line["reason"] for line in world.lines()] == [True]


def test_another_writer_is_waited_for_while_there_is_time(world: World) -> None:
    world.held = {"sync#osha": "another"}
    answer, _ = sync(world, [stream_record(update("O-1"), 1), stream_record(update("O-1"), 3)])
    assert answer["failed"] == 1
    assert 255 <= world.slept <= 265, "30 of 290 seconds are kept to write down what failed"
    assert world.held == {"sync#osha": "another"}


def test_when_not_even_that_can_be_kept_the_call_fails_so_that_lambda_repeats_it(world: World) -> None:
    class Refusing(World):
        def put(self, key: str, body: bytes, tags: dict[str, str] | None = None) -> str:
            raise ServiceUnavailableError(key)

    with pytest.raises(ServiceUnavailableError):
        sync(Refusing(lake=world.lake), [stream_record(update("O-9"), 1)])


def test_a_replay_merges_what_failed_and_deletes_the_object(world: World) -> None:
    world.lake.failures = {"osha": CommitConflictError("lost")}
    sync(world, [stream_record(update("O-1", title="late"), 1), stream_record(update("O-2"), 3)])
    world.lake.failures = {}
    answer = replay(KEY, world.services()).document()
    assert (answer["updated"], answer["failed"]) == (2, 0)
    assert world.stored == {}
    row = world.lake.tables["osha"]["O-1"]
    assert row is not None
    assert row.title == "late"


def test_a_replay_keeps_what_fails_again(world: World) -> None:
    sync(world, [stream_record(update("O-8"), 1), stream_record(update("O-9"), 3)])
    world.lake.tables["osha"]["O-8"] = None
    answer = replay(KEY, world.services()).document()
    assert (answer["updated"], answer["failed"], answer["failed_key"]) == (1, 1, KEY)
    assert [line["item"]["PK"] for line in world.lines()] == ["VIOLATION#O-9"]


def test_a_replay_brings_no_older_version_over_a_newer(world: World) -> None:
    world.lake.failures = {"osha": CommitConflictError("lost")}
    sync(world, [stream_record(update("O-1", title="old"), 1), stream_record(update("O-1", title="old"), 3)])
    world.lake.failures = {}
    sync(world, [stream_record(update("O-1", hours=1, title="new"), 4)])
    assert replay(KEY, world.services()).document()["unchanged"] == 1
    row = world.lake.tables["osha"]["O-1"]
    assert row is not None
    assert row.title == "new"


def test_a_replay_merges_the_item_as_it_is_now(world: World) -> None:
    # Given content that could not be merged, and that a person has corrected since, keeping both times
    world.lake.failures = {"osha": CommitConflictError("lost")}
    sync(world, [stream_record(update("O-1", title="Tpyo"), 1), stream_record(update("O-2"), 3)])
    world.lake.failures = {}
    world.items["O-1"] = plain_item(image(update("O-1", title="Typo")))
    # And another that has been deleted
    del world.items["O-2"]
    # When it is replayed
    result = replay(KEY, world.services())
    # Then
    assert (result.updated, result.ignored, result.failed) == (1, 1, [])
    row = world.lake.tables["osha"]["O-1"]
    assert row is not None
    assert row.title == "Typo"
    assert world.lake.tables["osha"]["O-2"] is None
    assert world.stored == {}


VERIFIED = update("O-1", is_verified=True, verified_at=MORNING + timedelta(hours=3))


def test_a_verification_is_taken_back_by_an_item_that_says_when(world: World) -> None:
    sync(world, [stream_record(VERIFIED, 1)])
    answer, _ = sync(world, [stream_record(update("O-1", verified_at=MORNING + timedelta(hours=4)), 2)])
    assert (answer["updated"], answer["failed"]) == (1, 0)
    row = world.lake.tables["osha"]["O-1"]
    assert row is not None
    assert not row.is_verified


def test_one_that_does_not_say_when_is_kept_with_what_to_do(world: World) -> None:
    sync(world, [stream_record(VERIFIED, 1)])
    answer, _ = sync(world, [stream_record(update("O-1"), 2)])
    assert (answer["updated"], answer["unchanged"], answer["failed"]) == (0, 0, 1)
    (line,) = world.lines(answer["failed_key"])
    assert line["reason"] == (
        "Violation O-1 is verified in the lake: to take that back, set is_verified to false and verified_at to now."
    )
    assert world.lake.tables["osha"]["O-1"] == replace(VERIFIED, sequence=1)


def test_an_older_version_that_comes_after_the_verification_is_nothing_to_mend(world: World) -> None:
    sync(world, [stream_record(VERIFIED, 2)])
    metrics = RecordedMetrics()
    services = SyncServices(**{**vars(world.services()), "metrics": metrics})
    result = sync_stream([stream_record(update("O-1"), 1)], services)
    assert (result.unchanged, result.failed) == (1, [])


def test_content_that_no_stream_record_brings_any_more_is_found_and_merged(world: World) -> None:
    # Given three items, of which the lake has one
    sync(world, [stream_record(update("O-1"), 1)])
    for violation_id, agency in (("E-1", "epa"), ("O-2", "osha")):
        world.items[violation_id] = plain_item(image(update(violation_id, agency=agency)))
    # When the table is compared with it, page by page
    first = compare("", world.services())
    second = compare(first["cursor"], world.services())
    # Then
    assert [(page["updated"], page["unchanged"], page["cursor"]) for page in (first, second)] == [
        (1, 1, "O-1"),
        (1, 0, ""),
    ]
    assert compare("", world.services())["updated"] == 0
    # And what cannot be merged is told, not kept a second time
    world.items["O-9"] = plain_item(image(update("O-9")))
    assert compare("O-2", world.services())["reasons"] == [
        "Table osha has no violation O-9: load it, then run `make resync`."
    ]
    assert world.stored == {}


@pytest.mark.parametrize("key", ["bedrock-batches/input/x.jsonl", "", "../sync-failed/x"])
def test_only_objects_of_failed_items_are_replayed(world: World, key: str) -> None:
    with pytest.raises(InvalidInputError):
        replay(key, world.services())
