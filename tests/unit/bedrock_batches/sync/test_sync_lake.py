"""A batch of the stream is merged once, by one writer, and nothing of it is lost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from bedrock_batches.sync.failed_items import FAILED_PREFIX
from bedrock_batches.sync.lake_content import ContentUpdate, plain_item
from bedrock_batches.sync.merge import SyncResult, SyncServices
from bedrock_batches.sync.sync_lake import compare, replay, sync_stream
from foundation.errors import (
    CommitConflictError,
    DeploymentError,
    InvalidInputError,
    ObjectNotFoundError,
    ServiceUnavailableError,
)
from foundation.ports import WHOLE, StoredObject
from tests.support.content import MORNING, stream_record, update

NOW = datetime(2026, 11, 21, 23, 59, tzinfo=UTC)
KEY = f"{FAILED_PREFIX}2026-11-21/1-3.jsonl"


@dataclass(frozen=True)
class Merged:
    updated: int
    unchanged: int
    missing: Sequence[str] = ()
    verified: Sequence[str] = ()
    repeated: Sequence[str] = ()


@dataclass
class FakeLake:
    """Tables as dictionaries by id; an agency of ``failures`` raises; ``twins`` are ids that two rows share."""

    agencies: Sequence[str] = ("osha", "epa")
    tables: dict[str, dict[str, ContentUpdate | None]] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)
    twins: set[str] = field(default_factory=set)
    merges: list[tuple[str, int]] = field(default_factory=list)

    def merge(self, agency: str, updates: Sequence[ContentUpdate]) -> Merged:
        self.merges.append((agency, len(updates)))
        if agency in self.failures:
            raise self.failures[agency]
        table = self.tables.setdefault(agency, {})
        fates: dict[str, list[str]] = {}
        for one in updates:
            fate = self._fate(table, one)
            fates.setdefault(fate, []).append(one.violation_id)
            if fate == "updated":
                table[one.violation_id] = one
        named = {fate: fates.get(fate, []) for fate in ("missing", "verified", "repeated")}
        return Merged(len(fates.get("updated", [])), len(fates.get("unchanged", [])), **named)

    def _fate(self, table: dict[str, ContentUpdate | None], update: ContentUpdate) -> str:
        if update.violation_id not in table:
            return "missing"
        if update.violation_id in self.twins:
            return "repeated"
        row = table[update.violation_id]
        if row is None:
            return "updated"
        acted = (update.verified_at or NEVER) > (row.verified_at or NEVER)
        if row.is_verified and not update.is_verified and not acted:
            return "verified"
        return "updated" if version(row) <= version(update) and row != update else "unchanged"

    def agencies_of(self, violation_ids: Collection[str]) -> dict[str, list[str]]:
        if "" in self.failures:
            raise self.failures[""]
        found: dict[str, list[str]] = {}
        for agency, table in self.tables.items():
            for one in table.keys() & set(violation_ids):
                found.setdefault(one, []).append(agency)
        return found


NEVER = datetime.min.replace(tzinfo=UTC)


def version(content: ContentUpdate) -> tuple[datetime, datetime]:
    return content.generated_at, content.verified_at or NEVER


@dataclass
class World:
    """Every port of the sync; time passes only by sleeping."""

    lake: FakeLake = field(default_factory=FakeLake)
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    remaining: float = 290.0
    slept: float = 0.0
    meanwhile: Callable[[], object] = lambda: None
    """What others do while a call waits for a lease."""

    def services(self) -> SyncServices:
        fake: Any = self
        return SyncServices(self.lake, fake, fake, fake, fake, fake, fake, owner="me")

    def current(self, violation_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        return {violation_id: self.items[violation_id] for violation_id in violation_ids if violation_id in self.items}

    def page(self, cursor: str) -> tuple[list[dict[str, Any]], str]:
        """Two items a page."""
        after = sorted(one for one in self.items if one > cursor)[:2]
        return [self.items[one] for one in after], after[-1] if len(after) == 2 else ""

    def acquire(self, name: str, owner: str, seconds: float, part: str = WHOLE) -> bool:
        assert seconds == self.remaining_seconds()
        self.meanwhile()
        return self.held.setdefault(name, owner) == owner

    def release(self, name: str, owner: str, part: str = WHOLE) -> None:
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

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        return iter([StoredObject(key, len(body)) for key, body in sorted(self.stored.items()) if key > prefix])

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


def changed(world: World, records: Sequence[dict[str, Any]]) -> None:
    """The table has what the stream brings."""
    for record in records:
        item = plain_item(record["dynamodb"].get("NewImage", {}))
        if record["eventName"] != "REMOVE":
            world.items[item["PK"].removeprefix("VIOLATION#")] = item


def sync(world: World, records: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], RecordedMetrics]:
    metrics = RecordedMetrics()
    changed(world, records)
    return sync_stream(records, SyncServices(**{**vars(world.services()), "metrics": metrics})), metrics


def again(world: World, key: str = "") -> tuple[SyncResult, RecordedMetrics]:
    metrics = RecordedMetrics()
    return replay(SyncServices(**{**vars(world.services()), "metrics": metrics}), key), metrics


def row(world: World, violation_id: str = "O-1") -> ContentUpdate:
    found = world.lake.tables["osha"][violation_id]
    assert found is not None
    return found


def test_a_batch_becomes_one_merge_a_table_under_its_lease(world: World) -> None:
    records = [
        stream_record(update("O-1"), 1, "INSERT"),
        stream_record(update("E-1", agency="EPA"), 2),
        stream_record(update("O-2"), 3),
    ]
    answer, metrics = sync(world, records)
    assert world.lake.merges == [("epa", 1), ("osha", 2)]
    assert answer == {
        "updated": 3,
        "unchanged": 0,
        "ignored": 0,
        "failed": 0,
        "waiting": 0,
        "failed_key": "",
        "batchItemFailures": [],
    }
    assert metrics.values == {"SyncMerged": 3, "SyncFailed": 0, "SyncWaiting": 0}
    assert world.held == {}
    assert world.stored == {}


def test_an_item_that_names_no_agency_is_merged_where_the_lake_has_its_violation(world: World) -> None:
    records = [stream_record(update("E-1"), 1, agency=None), stream_record(update("X-1"), 2, agency=None)]
    answer, _ = sync(world, records)
    assert world.lake.merges == [("epa", 1)]
    assert (answer["updated"], answer["failed"]) == (1, 1)
    assert [line["item"]["PK"] for line in world.lines(answer["failed_key"])] == ["VIOLATION#X-1"]


def test_an_item_without_an_agency_whose_id_two_tables_share_is_kept_with_their_names(world: World) -> None:
    world.lake.tables["osha"]["E-1"] = None
    answer, _ = sync(world, [stream_record(update("E-1"), 1, agency=None)])
    (line,) = world.lines(answer["failed_key"])
    assert line["reason"] == (
        "Violation E-1 has no agency, and the tables osha, epa share its id: write the attribute agency into its item."
    )


def test_a_lake_that_does_not_tell_agencies_leaves_the_others_to_be_merged(world: World) -> None:
    world.lake.failures[""] = ServiceUnavailableError("no answer")
    answer, _ = sync(world, [stream_record(update("O-1"), 1), stream_record(update("O-2"), 2, agency=None)])
    assert (answer["updated"], answer["waiting"]) == (1, 1)


def test_fifty_versions_of_one_violation_are_one_row_the_last(world: World) -> None:
    records = [stream_record(update("O-1", hours=place // 7, title=f"v{place}"), place) for place in range(50)]
    answer, _ = sync(world, records)
    assert world.lake.merges == [("osha", 1)]
    assert answer["updated"] == 1
    assert row(world).content["title"] == "v49"


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
    answer = sync_stream(records, SyncServices(**{**vars(world.services()), "metrics": RecordedMetrics()}))
    assert answer["ignored"] == 2
    assert world.lake.merges == []


def test_an_item_that_was_deleted_since_its_change_is_ignored(world: World) -> None:
    records = [stream_record(update("O-1"), 1)]
    answer = sync_stream(records, SyncServices(**{**vars(world.services()), "metrics": RecordedMetrics()}))
    assert (answer["ignored"], answer["failed"]) == (1, 0)


def test_what_cannot_be_merged_is_kept_with_its_reason_and_the_rest_is_merged(world: World) -> None:
    records = [
        stream_record(update("O-1"), 1),
        stream_record(update("O-9"), 2),
        stream_record(update("O-2"), 3, title_bedrock=None),
    ]
    answer, metrics = sync(world, records)
    assert (answer["updated"], answer["failed"], answer["failed_key"]) == (1, 2, KEY)
    assert metrics.values == {"SyncMerged": 1, "SyncFailed": 2, "SyncWaiting": 0}
    assert answer["batchItemFailures"] == [], "the stream cannot help"
    reasons = {line["item"]["PK"]: line["reason"] for line in world.lines()}
    assert "title_bedrock" in reasons["VIOLATION#O-2"]
    assert "has no violation O-9" in reasons["VIOLATION#O-9"]


@pytest.mark.parametrize(
    "changes",
    [
        {"generated_at": {"S": "0001-01-01T00:00:00+05:00"}, "input_tokens": {"N": str(2**64)}},
        {"generated_at": {"S": "9999-12-31T23:59:59-05:00"}},
        {"verified_at": {"S": "0001-01-01T00:00:00+05:00"}},
        {"generated_at": {"S": "20261127"}, "score": {"N": "1" + "0" * 125}},
        {"generated_at": {"N": "20261127"}, "picture": {"B": "AAEC"}},
        {"title_bedrock": {"N": str(2**64)}},
    ],
)
def test_an_item_that_no_row_can_be_made_of_fails_alone(world: World, changes: dict[str, Any]) -> None:
    answer, _ = sync(world, [stream_record(update("O-1"), 1), stream_record(update("O-2"), 3, **changes)])
    assert (answer["updated"], answer["failed"]) == (1, 1)
    (line,) = world.lines(answer["failed_key"])
    assert line["item"]["PK"] == "VIOLATION#O-2"
    assert "_" in line["reason"], "it names the attribute"
    assert line["kind"] == "permanent"
    # And a replay reads what was kept
    assert len(again(world)[0].failed) == 1


def test_an_id_that_several_rows_share_is_kept_with_what_to_do(world: World) -> None:
    world.lake.twins = {"O-2"}
    answer, _ = sync(world, [stream_record(update("O-1"), 1), stream_record(update("O-2"), 3)])
    assert (answer["updated"], answer["failed"]) == (1, 1)
    (line,) = world.lines()
    assert line["reason"] == "Table osha has several rows with the id O-2: delete or rename all but one."
    # And once one of the two is gone it is merged
    world.lake.twins = set()
    assert again(world)[0].updated == 1
    assert world.stored == {}


PASSING = [CommitConflictError("lost"), DeploymentError("denied"), ServiceUnavailableError("away")]


@pytest.mark.parametrize("error", PASSING)
def test_what_may_pass_goes_back_to_the_stream_and_holds_up_no_other_table(world: World, error: Exception) -> None:
    world.lake.failures = {"epa": error}
    records = [
        stream_record(update("O-1"), 1),
        stream_record(update("E-1", agency="epa"), 2),
        stream_record(update("E-1", agency="epa"), 3),
    ]
    answer, metrics = sync(world, records)
    assert (answer["updated"], answer["failed"], answer["waiting"]) == (1, 1, 1)
    assert answer["batchItemFailures"] == [{"itemIdentifier": "2"}], "its first record"
    assert metrics.values == {"SyncMerged": 1, "SyncFailed": 0, "SyncWaiting": 1}
    # It is kept all the same: the stream gives it up after its last attempt
    assert [(line["item"]["agency"], line["reason"], line["kind"]) for line in world.lines()] == [
        ("epa", str(error), "passing")
    ]
    assert world.held == {}, "the lease was given back"


def test_what_has_not_passed_for_long_is_left_to_the_clock(world: World) -> None:
    # Given a change of a quarter of an hour ago, and one of now
    world.lake.failures = {"osha": ServiceUnavailableError("away")}
    old, young = stream_record(update("O-1"), 1), stream_record(update("O-2"), 3)
    old["dynamodb"]["ApproximateCreationDateTime"] = NOW.timestamp() - 900
    young["dynamodb"]["ApproximateCreationDateTime"] = NOW.timestamp()
    # Then the young one alone goes back to the stream, and both are kept
    answer, _ = sync(world, [old, young])
    assert answer["batchItemFailures"] == [{"itemIdentifier": "3"}]
    assert len(world.lines()) == 2
    # And a clock merges both
    world.lake.failures = {}
    assert again(world)[0].updated == 2


def test_a_place_in_the_stream_may_have_forty_digits_as_dynamodb_allows(world: World) -> None:
    # https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html
    place = 10**39 + 1
    world.lake.failures = {"osha": CommitConflictError("lost")}
    answer, _ = sync(world, [stream_record(update("O-1"), place)])
    assert answer["failed_key"].endswith(f"/{place}-{place}.jsonl")
    assert answer["batchItemFailures"] == [{"itemIdentifier": str(place)}]


def test_an_agency_that_the_lake_does_not_have_is_kept(world: World) -> None:
    sync(world, [stream_record(update("X-1", agency="doj"), 1), stream_record(update("X-1", agency="doj"), 3)])
    assert ["no agency 'doj'" in line["reason"] for line in world.lines()] == [True]


def test_another_writer_is_waited_for_while_there_is_time(world: World) -> None:
    world.held = {"sync#osha": "another"}
    answer, _ = sync(world, [stream_record(update("O-1"), 1), stream_record(update("O-1"), 3)])
    assert answer["waiting"] == 1
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
    result, _ = again(world, KEY)
    assert (result.updated, result.failed) == (2, [])
    assert world.stored == {}
    assert row(world).content["title"] == "late"


def test_a_replay_of_everything_empties_what_passed_and_alarms_only_for_what_is_new(world: World) -> None:
    # Given one item that can never merge, and one of a table that cannot be written
    sync(world, [stream_record(update("O-9"), 1)])
    world.lake.failures = {"epa": DeploymentError("no such table")}
    sync(world, [stream_record(update("E-1", agency="epa"), 2), stream_record(update("E-9", agency="epa"), 3)])
    assert len(world.stored) == 2
    # When the table can be written, and all is replayed
    world.lake.failures = {}
    result, metrics = again(world)
    # Then what passed is merged, and what the table lacks is told now
    assert (result.updated, len(result.failed)) == (1, 2)
    assert metrics.values == {"SyncMerged": 1, "SyncFailed": 1, "SyncWaiting": 0}
    kept = {line["item"]["PK"]: line["kind"] for key in world.stored for line in world.lines(key)}
    assert kept == {"VIOLATION#O-9": "permanent", "VIOLATION#E-9": "permanent"}
    # And the next replay writes nothing and alarms for nothing
    before = dict(world.stored)
    _, metrics = again(world)
    assert metrics.values["SyncFailed"] == 0
    assert world.stored == before


def test_a_line_that_cannot_be_read_stays_and_keeps_no_other_from_being_merged(world: World) -> None:
    world.lake.failures = {"osha": CommitConflictError("lost")}
    sync(world, [stream_record(update("O-1"), 1), stream_record(update("O-2"), 3)])
    world.lake.failures = {}
    broken = [b"{", b"[]", b'{"item": {"PK": 7}}', b'{"item": {"PK": "JOB#1"}}', b"\xff\xfe"]
    world.stored[KEY] += b"\n".join(broken)
    assert again(world)[0].updated == 2
    assert world.stored[KEY].splitlines() == broken


def test_an_object_of_the_release_before_is_replayed(world: World) -> None:
    changed(world, [stream_record(update("O-1"), 1)])
    line = {"reason": "lost", "sequence": "1", "item": world.items["O-1"]}
    world.stored[KEY] = orjson.dumps(line) + b"\n"
    assert again(world)[0].updated == 1
    assert world.stored == {}


def test_a_line_that_names_the_violation_alone_is_merged_into_the_table_of_its_agency(world: World) -> None:
    # Given an id that two tables have, and content that says which of them it is for
    world.lake.tables["osha"]["E-1"] = None
    changed(world, [stream_record(update("E-1", agency="epa"), 1)])
    item = {"PK": "VIOLATION#E-1", "SK": "BEDROCK_CONTENT"}
    world.stored[KEY] = orjson.dumps({"reason": "", "kind": "passing", "item": item}) + b"\n"
    assert again(world)[0].updated == 1
    assert world.lake.tables["epa"]["E-1"] is not None
    assert world.lake.tables["osha"]["E-1"] is None


def test_a_replay_keeps_what_fails_again(world: World) -> None:
    sync(world, [stream_record(update("O-8"), 1), stream_record(update("O-9"), 3)])
    world.lake.tables["osha"]["O-8"] = None
    result, _ = again(world, KEY)
    assert (result.updated, len(result.failed), result.failed_key) == (1, 1, KEY)
    assert [line["item"]["PK"] for line in world.lines()] == ["VIOLATION#O-9"]


def test_a_replay_merges_the_item_as_it_is_now(world: World) -> None:
    # Given content that could not be merged, and that a person has corrected since, keeping both times
    world.lake.failures = {"osha": CommitConflictError("lost")}
    sync(world, [stream_record(update("O-1", title="Tpyo"), 1), stream_record(update("O-2"), 3)])
    world.lake.failures = {}
    changed(world, [stream_record(update("O-1", title="Typo"), 4)])
    # And another that has been deleted
    del world.items["O-2"]
    # When it is replayed
    result, _ = again(world, KEY)
    # Then
    assert (result.updated, result.ignored, result.failed) == (1, 1, [])
    assert row(world).content["title"] == "Typo"
    assert world.lake.tables["osha"]["O-2"] is None
    assert world.stored == {}


VERIFIED = update("O-1", title="By hand", is_verified=True, verified_at=MORNING + timedelta(hours=3))


@pytest.mark.parametrize("call", ["stream", "replay", "compare"])
def test_a_call_that_waited_for_the_lease_never_writes_what_it_saw_before(world: World, call: str) -> None:
    # Given content that a call has seen, and a person who verifies it while the call waits for the lease
    world.lake.failures = {"osha": CommitConflictError("lost")}
    records = [stream_record(update("O-1", title="Generated"), 1)]
    sync(world, records)
    world.lake.failures = {}
    world.meanwhile = lambda: changed(world, [stream_record(VERIFIED, 2)])
    # When the call has the lease
    services = SyncServices(**{**vars(world.services()), "metrics": RecordedMetrics()})
    {
        "stream": lambda: sync_stream(records, services),
        "replay": lambda: replay(services),
        "compare": lambda: compare("", services),
    }[call]()
    # Then the lake has what was verified
    assert row(world) == VERIFIED


def test_content_whose_agency_changes_while_its_call_waits_goes_round_again(world: World) -> None:
    moved = update("E-1", agency="epa")
    records = [stream_record(update("E-1"), 1)]
    world.meanwhile = lambda: changed(world, [stream_record(moved, 2)])
    answer, _ = sync(world, records)
    assert (answer["updated"], answer["waiting"]) == (0, 1)
    assert again(world)[0].updated == 1
    assert world.lake.tables["epa"]["E-1"] == moved


def test_a_verification_is_taken_back_by_an_item_that_says_when(world: World) -> None:
    sync(world, [stream_record(VERIFIED, 1)])
    answer, _ = sync(world, [stream_record(update("O-1", verified_at=MORNING + timedelta(hours=4)), 2)])
    assert (answer["updated"], answer["failed"]) == (1, 0)
    assert not row(world).is_verified


@pytest.mark.parametrize("verified_at", [None, VERIFIED.verified_at])
def test_one_that_does_not_say_when_is_kept_with_what_to_do_and_not_merged(
    world: World, verified_at: datetime | None
) -> None:
    sync(world, [stream_record(VERIFIED, 1)])
    answer, _ = sync(world, [stream_record(update("O-1", verified_at=verified_at), 2)])
    assert (answer["updated"], answer["unchanged"], answer["failed"]) == (0, 0, 1)
    (line,) = world.lines(answer["failed_key"])
    assert line["reason"] == (
        "Violation O-1 is verified in the lake: to take that back, set is_verified to false and verified_at to now."
    )
    assert row(world) == VERIFIED


def test_an_older_version_that_comes_after_the_verification_is_nothing_to_fix(world: World) -> None:
    sync(world, [stream_record(VERIFIED, 2)])
    metrics = RecordedMetrics()
    services = SyncServices(**{**vars(world.services()), "metrics": metrics})
    answer = sync_stream([stream_record(update("O-1"), 1)], services)
    assert (answer["unchanged"], answer["failed"]) == (1, 0)


def test_content_that_no_stream_record_brings_any_more_is_found_and_merged(world: World) -> None:
    # Given three items, of which the lake has one
    sync(world, [stream_record(update("O-1"), 1)])
    changed(world, [stream_record(update("E-1", agency="epa"), 2), stream_record(update("O-2"), 3)])
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
    changed(world, [stream_record(update("O-9"), 4)])
    assert compare("O-2", world.services())["reasons"] == ["Table osha has no violation O-9: load it."]
    assert world.stored == {}


@pytest.mark.parametrize("key", ["bedrock-batches/input/x.jsonl", "x", "../sync-failed/x"])
def test_only_objects_of_failed_items_are_replayed(world: World, key: str) -> None:
    with pytest.raises(InvalidInputError):
        again(world, key)


def test_a_key_that_names_no_object_is_told(world: World) -> None:
    with pytest.raises(ObjectNotFoundError):
        again(world, KEY)
