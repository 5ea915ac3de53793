"""Each record counts once, whatever comes, how often, and who dies."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bedrock_batches.results import output_lines as module
from bedrock_batches.results.messages import TakeObjects, take_objects_message
from bedrock_batches.results.model_output import FailureKind
from bedrock_batches.results.output_lines import chunks
from bedrock_batches.results.ports import Claim, Counts, total
from bedrock_batches.results.take_results import ObjectBusyError, Outcome, Taken, take_objects
from bedrock_batches.submit.names import record_id
from foundation.errors import ThrottledError
from tests.support.bedrock_results import (
    BUCKET,
    JOB_ID,
    KilledError,
    Process,
    World,
    add_job,
    answer_line,
    error_line,
    output_file_key,
    s3_event,
    violation_id,
)

KEY = output_file_key()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_RECORDS", 10)


def make_world() -> World:
    """A job of 47 records: 45 have content, one is an error, one cannot be parsed; in another order than the input."""
    world = World()
    add_job(world, [47])
    lines = [answer_line(violation_id(n)) for n in range(45)]
    lines[20:20] = [error_line(violation_id(45)), answer_line(violation_id(46), "I would rather not.")]
    world.put(KEY, b"".join(reversed(lines)))
    return world


@pytest.fixture
def world() -> World:
    return make_world()


def take(world: World, *keys: str, **process: Any) -> list[Taken]:
    return take_objects(keys or (KEY,), Process(world, **process).result_services())


def assert_complete(world: World) -> None:
    assert sorted(world.violations) == [violation_id(n) for n in range(45)]
    counts = total(world.claims.values(), {1: 0, 2: 3})
    assert (counts.processed, counts.errors, counts.repeated) == (45, 2, 0)
    assert (counts.input_tokens, counts.output_tokens) == (46 * 10, 46 * 5)
    assert sorted(line["recordId"] for line in world.failed_lines()) == [violation_id(45), violation_id(46)]
    (claim,) = world.claims.values()
    assert claim.done
    assert claim.lease_owner == "" or not claim.is_leased(world.now_ms + 10**9)


def test_every_record_is_written_or_kept_as_failed(world: World) -> None:
    (taken,) = take(world)

    assert (taken.outcome, taken.counts.processed, taken.counts.errors) == (Outcome.DONE, 45, 2)
    assert_complete(world)
    item = world.violations[violation_id(3)]
    assert (item["title"], item["agency"], item["job_id"]) == (f"Title of {violation_id(3)}", "osha", JOB_ID)
    assert item["generated_at"] == "2025-11-24T16:00:00.000Z"


def test_failed_records_say_what_is_needed_to_retry_them(world: World) -> None:
    take(world)

    refused, unparsed = sorted(world.failed_lines(), key=lambda line: line["recordId"])
    assert refused == {
        "recordId": violation_id(45),
        "agency": "osha",
        "error": "Bedrock could not process the record",
        "reason": "bad request",
        "code": 400,
        "rawText": "",
        "stopReason": "",
        "inputTokens": 0,
        "outputTokens": 0,
    }
    assert unparsed["error"] == "Failed to parse Bedrock response"
    assert unparsed["rawText"] == "I would rather not."
    keys = world.keys("bedrock-batches/errors/")
    assert keys == [f"bedrock-batches/errors/{JOB_ID}/0001-0003.jsonl"]


def test_the_reconciler_hears_when_an_object_is_done(world: World) -> None:
    process = Process(world)

    take_objects([KEY], process.result_services())

    assert process.reconciled == [{"jobId": JOB_ID}]
    assert process.calls == []


def test_an_event_that_comes_three_times_counts_once(world: World) -> None:
    outcomes = [take(world)[0].outcome for _ in range(3)]

    assert outcomes == [Outcome.DONE, Outcome.DONE_BEFORE, Outcome.DONE_BEFORE]
    assert_complete(world)


def test_a_key_that_stands_twice_in_an_event_counts_once(world: World) -> None:
    assert len(take(world, KEY, KEY)) == 1
    assert_complete(world)


def test_an_event_that_comes_twice_at_once_counts_once(world: World) -> None:
    both = threading.Barrier(2)

    def call(owner: str) -> Outcome:
        both.wait()
        return take(world, owner=owner)[0].outcome

    with ThreadPoolExecutor(2) as threads:
        outcomes = set(threads.map(call, ["call-1", "call-2"]))

    assert outcomes in ({Outcome.DONE, Outcome.DONE_BEFORE}, {Outcome.DONE, Outcome.LOST})
    assert_complete(world)


def writes_of_a_whole_run() -> int:
    process = Process(make_world())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_RECORDS", 10)
        take_objects([KEY], process.result_services())
    return process.writes


@pytest.mark.parametrize("kill_at", range(1, writes_of_a_whole_run() + 1))
def test_a_call_that_is_killed_at_any_write_is_made_up_for(world: World, kill_at: int) -> None:
    with pytest.raises(KilledError):
        take(world, kill_at=kill_at)

    world.sleep_minutes(2)
    take(world, owner="call-2")
    assert_complete(world)


def test_calls_that_are_killed_time_and_again_still_get_there(world: World) -> None:
    for number in range(30):
        world.sleep_minutes(2)
        try:
            take(world, owner=f"call-{number}", kill_at=5)
        except KilledError:
            continue
        break

    assert_complete(world)


def test_the_lease_of_a_killed_call_is_waited_out(world: World) -> None:
    with pytest.raises(KilledError):
        take(world, kill_at=4)
    killed_ms = world.now_ms

    (taken,) = take(world, owner="call-2")

    assert taken.outcome is Outcome.DONE
    assert 60_000 <= world.now_ms - killed_ms <= 65_000
    assert_complete(world)


def test_a_call_that_meets_a_live_lease_all_the_time_fails_so_that_lambda_repeats_it(world: World) -> None:
    # Given a call that goes on with the object, and a second object that nobody has
    add_job(world, [1, 1])
    world.put(output_file_key(1), answer_line(violation_id(0)))
    world.put(output_file_key(2), answer_line(violation_id(1)))
    with pytest.raises(KilledError):
        take(world, output_file_key(1), kill_at=2)
    (claim,) = world.claims.values()
    world.claims = {key: replace(claim, lease_until_ms=world.now_ms + 3_600_000) for key in world.claims}
    # When another call comes for both, Then it takes what it can and fails
    with pytest.raises(ObjectBusyError, match=re.escape(output_file_key(1))):
        take(world, output_file_key(1), output_file_key(2), owner="call-2")
    assert sorted(world.violations) == [violation_id(1)]


@pytest.mark.parametrize("settled", [True, False])
def test_output_that_comes_after_the_end_keeps_its_records_until_it_is_taken(world: World, settled: bool) -> None:
    # Given a job that has ended
    world.jobs[JOB_ID] |= {"status": "Failed", "outputsTaken": True}
    if settled:
        world.jobs[JOB_ID] |= {"settledAt": "2025-11-24T16:00:00.000Z", "ttl": 7}
        world.in_flight.clear()
    # When a call begins with its output, and dies
    with pytest.raises(KilledError):
        take(world, kill_at=5)
    # Then the job is looked after again, and its records are not free
    job = world.jobs[JOB_ID]
    assert (job["outputsTaken"], "settledAt" in job, "ttl" in job) == (False, False, False)
    assert world.in_flight == {JOB_ID}


def test_a_call_that_was_only_slow_counts_nothing_that_its_successor_counts(world: World) -> None:
    """The lease of a call that hangs expires, another call does all; then the first one wakes up."""
    woken: list[Outcome] = []

    def hang(what: str) -> None:
        if what == "commit" and not woken:
            woken.append(Outcome.CONTINUED)
            world.sleep_minutes(2)
            woken[0] = take(world, owner="call-2")[0].outcome

    (slow,) = take(world, before_write=hang)

    assert woken == [Outcome.DONE]
    assert slow.outcome is Outcome.LOST
    assert_complete(world)


@pytest.mark.parametrize("looks", [1, 2, 3, 4])
def test_a_call_out_of_time_calls_itself_again_and_goes_on_where_it_was(world: World, looks: int) -> None:
    process = Process(world, looks=looks)

    (taken,) = take_objects([KEY], process.result_services())

    assert taken.outcome is Outcome.CONTINUED
    assert process.calls == [{"takeObjects": [KEY]}]
    assert [claim.chunks for claim in world.claims.values()] == [looks - 1]
    assert (
        take_objects(process.calls[0]["takeObjects"], Process(world, owner="call-2").result_services())[0].outcome
        is Outcome.DONE
    )
    assert_complete(world)


def test_objects_that_a_call_has_no_time_to_begin_go_into_its_next_call(world: World) -> None:
    world.put(output_file_key(2), b"")
    process = Process(world, looks=0)

    assert take_objects([KEY, output_file_key(2)], process.result_services()) == []

    assert process.calls == [{"takeObjects": [KEY, output_file_key(2)]}]


def test_parts_in_any_order_add_up(world: World) -> None:
    add_job(world, [3, 2])
    world.put(output_file_key(1), b"".join(answer_line(violation_id(n)) for n in (0, 1, 2)))
    world.put(output_file_key(2), b"".join(answer_line(violation_id(n)) for n in (3, 4)))

    take(world, output_file_key(2))
    take(world, output_file_key(1), output_file_key(2))

    assert total(world.claims.values(), {1: 0, 2: 3}).processed == 5
    assert len(world.violations) == 5


def test_a_person_verified_item_and_a_newer_one_are_kept_and_counted(world: World) -> None:
    world.violations[violation_id(0)] = {"is_verified": True, "generated_at": "2020-01-01T00:00:00.000Z", "title": "V"}
    world.violations[violation_id(1)] = {"generated_at": "2030-01-01T00:00:00.000Z", "title": "N"}
    world.violations[violation_id(2)] = {"generated_at": "2020-01-01T00:00:00.000Z", "title": "O"}

    (taken,) = take(world)

    titles = [world.violations[violation_id(n)]["title"] for n in range(3)]
    assert titles == ["V", "N", f"Title of {violation_id(2)}"]
    assert (taken.counts.processed, taken.counts.kept) == (45, 2)


def test_a_record_that_stands_twice_in_an_object_counts_once(world: World) -> None:
    lines = [answer_line(violation_id(n % 15)) for n in range(30)]
    world.put(KEY, b"".join(lines))

    (taken,) = take(world)

    assert (taken.counts.processed, taken.counts.repeated) == (15, 15)
    assert (taken.counts.input_tokens, taken.counts.output_tokens) == (15 * 10, 15 * 5)


@pytest.mark.parametrize("distance", [1, 25])
def test_content_wins_over_an_error_line_of_the_same_record(world: World, distance: int) -> None:
    # Given an object in which records 0 and 1 fail, and are answered some lines later, in the same chunk or in another
    lines = [error_line(violation_id(0)), error_line(violation_id(1)), error_line(violation_id(2))]
    lines += [answer_line(violation_id(n)) for n in range(10, 10 + distance)]
    lines += [answer_line(violation_id(0)), answer_line(violation_id(1)), answer_line(violation_id(1))]
    # And an error of a record with content
    lines += [error_line(violation_id(0))]
    world.put(KEY, b"".join(lines))

    (taken,) = take(world)

    # Then both have content, and only what has none counts and is kept as failed
    assert {violation_id(0), violation_id(1)} <= world.violations.keys()
    counts = total(world.claims.values(), {1: 0})
    assert (counts.processed, counts.errors, counts.repeated) == (2 + distance, 1, 4)
    assert taken.counts.input_tokens == (2 + distance) * 10
    assert [line["recordId"] for line in world.failed_lines()] == [violation_id(2)]


def test_a_claim_remembers_which_of_the_answered_records_have_content(world: World) -> None:
    for number in range(30):
        world.sleep_minutes(2)
        with contextlib.suppress(KilledError):
            take(world, owner=f"call-{number}", kill_at=5)

    (claim,) = world.claims.values()
    assert int.from_bytes(claim.answered, "little") == 2**47 - 1
    assert int.from_bytes(claim.succeeded, "little") == 2**45 - 1


@given(
    st.lists(
        st.tuples(st.sampled_from([None, 1, 2]), st.sets(st.integers(0, 19)), st.sets(st.integers(0, 19))), max_size=5
    )
)
def test_records_that_any_objects_answer_count_once(objects: list[tuple[int | None, set[int], set[int]]]) -> None:
    claims: list[Claim] = []
    answered: set[int] = set()
    succeeded: set[int] = set()
    for number, (part, good, bad) in enumerate(objects):
        begin = 20 if part == 2 else 0
        seen = good | bad
        counts = Counts(processed=len(good), errors=len(seen) - len(good))
        bits = [sum(1 << place for place in some).to_bytes(3, "little") for some in (seen, good)]
        modified = datetime(2026, 1, 1, tzinfo=UTC)
        claims.append(
            Claim(JOB_ID, str(number), "e", 1, modified, part, counts=counts, answered=bits[0], succeeded=bits[1])
        )
        answered |= {begin + place for place in seen}
        succeeded |= {begin + place for place in good}

    counts = total(claims, {1: 0, 2: 20})

    assert (counts.processed, counts.errors) == (len(succeeded), len(answered - succeeded))


def test_records_are_joined_by_their_place_in_the_job(world: World) -> None:
    # Given a job of two parts whose second output has its lines in another order, and two that are of no record of it
    add_job(world, [2, 3], schemaVersion=2)
    places = [4, 2, 1, 99]
    lines = [answer_line(record_id(place)) for place in places]
    lines += [error_line(record_id(3)), answer_line(violation_id(0)), answer_line("R000000000١")]
    world.put(output_file_key(2), b"".join(lines))

    (taken,) = take(world, output_file_key(2))

    # Then content and failures carry the ids of their violations
    assert {one: item["title"] for one, item in world.violations.items()} == {
        violation_id(4): "Title of R0000000004",
        violation_id(2): "Title of R0000000002",
    }
    assert (taken.counts.processed, taken.counts.errors) == (2, 5)
    failed = {line["recordId"]: line["error"] for line in world.failed_lines()}
    assert failed.pop(violation_id(3)) == "Bedrock could not process the record"
    assert failed == dict.fromkeys(
        [record_id(1), record_id(99), violation_id(0), "R000000000١"], FailureKind.NOT_OF_THE_JOB
    )


def test_a_record_that_is_not_of_the_job_is_a_failed_record(world: World) -> None:
    world.put(KEY, answer_line("SOMEBODY-ELSES"))

    take(world)

    (line,) = world.failed_lines()
    assert (line["recordId"], line["error"]) == ("SOMEBODY-ELSES", "Not a record of this job")
    assert world.violations == {}


def test_lines_that_cannot_be_read_count_as_errors_and_are_kept(world: World) -> None:
    world.put(KEY, answer_line(violation_id(0)) + b"not JSON\n\n  \nnot JSON\n" + answer_line(violation_id(1)).rstrip())

    (taken,) = take(world)

    assert (taken.counts.processed, taken.counts.errors) == (2, 2)
    assert [line["rawText"] for line in world.failed_lines()] == ["not JSON", "not JSON"]


def test_the_older_layout_is_taken_for_all_parts_of_its_job(world: World) -> None:
    add_job(world, [3, 2])
    key = f"bedrock-batches/output/{JOB_ID}/output.jsonl"
    world.put(key, b"".join(answer_line(violation_id(n)) for n in range(5)) + answer_line("OTHER"))

    (taken,) = take(world, key)

    assert (taken.outcome, taken.counts.processed, taken.counts.errors) == (Outcome.DONE, 5, 1)
    assert world.keys("bedrock-batches/errors/") == [f"bedrock-batches/errors/{JOB_ID}/output-0001.jsonl"]


@pytest.mark.parametrize("part", [0, 3])
def test_a_file_named_after_a_part_that_the_job_does_not_have_is_taken_for_all_its_parts(
    world: World, part: int
) -> None:
    add_job(world, [3, 2], partCount=2)
    world.put(output_file_key(part), b"".join(answer_line(violation_id(n)) for n in range(5)))

    take(world, output_file_key(part))

    (claim,) = world.claims.values()
    assert (claim.part, claim.answered) == (None, b"\x1f")


def test_a_job_without_records_files_keeps_its_paid_content(world: World) -> None:
    for key in world.keys("bedrock-batches/input/"):
        del world.objects[key]
    key = f"bedrock-batches/output/{JOB_ID}/output.jsonl"
    world.put(key, answer_line("OSHA-9"))

    (taken,) = take(world, key)

    assert taken.counts.processed == 1
    assert world.violations["OSHA-9"]["agency"] == ""


@pytest.mark.parametrize(
    ("key", "outcome"),
    [
        (f"bedrock-batches/output/{JOB_ID}/abcdefghijkl/manifest.json.out", Outcome.IGNORED),
        (f"bedrock-batches/input/{JOB_ID}/input-0001.jsonl", Outcome.IGNORED),
        ("bedrock-batches/output/batch-1-00000000/abcdefghijkl/input-0001.jsonl.out", Outcome.UNKNOWN_JOB),
        (output_file_key(9), Outcome.GONE),
    ],
)
def test_other_objects_are_left_alone(world: World, key: str, outcome: Outcome) -> None:
    (taken,) = take(world, key)

    assert taken == Taken(key, outcome, Counts())
    assert world.violations == {}


def test_a_new_version_of_an_object_takes_the_place_of_the_old_one(world: World) -> None:
    world.put(KEY, answer_line(violation_id(0)) + error_line(violation_id(1)))
    take(world)
    world.sleep_minutes(10)
    world.put(KEY, b"".join(answer_line(violation_id(n)) for n in (0, 1, 2)))

    take(world, owner="call-2")

    counts = total(world.claims.values(), {1: 0, 2: 3})
    assert (counts.processed, counts.errors) == (3, 0)
    assert world.failed_lines() == []


def test_an_object_that_is_replaced_while_it_is_read_is_left_to_its_next_notification(world: World) -> None:
    def replace_object(what: str) -> None:
        if what == "commit" and world.objects[KEY] != b"\n":
            world.put(KEY, b"\n")

    (taken,) = take(world, before_write=replace_object)

    assert taken.outcome is Outcome.REPLACED


@pytest.mark.parametrize("failure", [ThrottledError("slow down"), TypeError("a fault of ours")])
def test_one_objects_failure_leaves_the_others_and_is_raised_at_the_end(world: World, failure: Exception) -> None:
    add_job(world, [1, 1])
    world.put(output_file_key(1), answer_line(violation_id(0)))
    world.put(output_file_key(2), answer_line(violation_id(1)))
    process = Process(world)
    failures = [failure]

    def fail_once(what: str) -> None:
        if what == "violations" and failures:
            raise failures.pop()

    process.before_write = fail_once
    with pytest.raises(type(failure)):
        take_objects([output_file_key(1), output_file_key(2)], process.result_services())

    assert sorted(world.violations) == [violation_id(1)]
    assert take(world, output_file_key(1), owner="call-2")[0].outcome is Outcome.DONE


def test_keys_of_an_event_are_decoded_and_those_of_other_buckets_left_out() -> None:
    records = [
        {"s3": {"bucket": {"name": BUCKET}, "object": {"key": "a+b/%C3%A9%2B.jsonl"}}},
        {"s3": {"bucket": {"name": "other"}, "object": {"key": "c"}}},
    ]

    def keys_of(event: dict[str, Any]) -> tuple[str, ...]:
        return take_objects_message(event, BUCKET).keys

    assert keys_of({"Records": [*records, *records]}) == ("a b/é+.jsonl",)
    assert keys_of({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET}) == ()
    assert keys_of(s3_event("x y/ü.jsonl")) == ("x y/ü.jsonl",)


def test_the_message_of_our_own_functions_is_read_as_it_was_written() -> None:
    message = TakeObjects(keys=("a b/é+.jsonl",))
    assert take_objects_message(json.loads(json.dumps(message.payload())), BUCKET) == message
    with pytest.raises(ValidationError):
        take_objects_message({"takeObjects": ["a"], "job": "b"}, BUCKET)


@pytest.mark.parametrize("range_bytes", [1, 3, 7, 1000])
def test_chunks_are_the_same_however_the_object_is_read(range_bytes: int) -> None:
    text = "\n".join(json.dumps({"n": n, "é": "ü" * n}, ensure_ascii=False) for n in range(25)).encode() + b"\r\n\n"

    def read(offset: int) -> list[tuple[list[bytes], int]]:
        return list(chunks((text[i : i + range_bytes] for i in range(offset, len(text), range_bytes)), offset))

    whole = read(0)

    assert [len(lines) for lines, _ in whole] == [10, 10, 5]
    assert [json.loads(line)["n"] for lines, _ in whole for line in lines] == list(range(25))
    assert whole[-1][1] == len(text)
    assert read(whole[0][1]) == whole[1:]


def test_a_line_beyond_the_bound_is_cut_and_counted_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LINE_BYTES", 10)
    text = b"x" * 100 + b"\nshort\n" + b"y" * 50

    ((lines, end),) = chunks((text[i : i + 7] for i in range(0, len(text), 7)), 0)

    assert lines == [b"x" * 10, b"short", b"y" * 10]
    assert end == len(text)
