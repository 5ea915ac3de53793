"""Finding the records of a part, and remembering which are answered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bedrock_batches.results.record_index import Answered, RecordIndex

ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n"), min_size=1, max_size=12)


@given(st.lists(st.tuples(ids, st.sampled_from(["osha", "epa", "faa"])), unique_by=lambda pair: pair[0]), ids)
def test_each_record_is_found_with_its_agency_and_no_other_is(records: list[tuple[str, str]], other: str) -> None:
    half = len(records) // 2
    files = [
        "".join(f"{name}\t{agency}\n" for name, agency in part).encode() for part in (records[:half], records[half:])
    ]

    index = RecordIndex(files)

    assert [(r.place, r.violation_id, r.agency) for r in index] == [(i, *pair) for i, pair in enumerate(records)]
    for place, (name, agency) in enumerate(records):
        found = index.find(name)
        assert found is not None
        assert (found.place, found.agency) == (place, agency)
    assert (index.find(other) is None) == (other not in dict(records))


def test_a_record_that_is_listed_twice_is_found_once() -> None:
    found = RecordIndex([b"A\tosha\nA\tepa\n"]).find("A")

    assert found is not None
    assert (found.place, found.agency) == (0, "osha")


def test_an_id_that_begins_another_is_not_taken_for_it() -> None:
    assert RecordIndex([b"OSHA-12\tosha\n"]).find("OSHA-1") is None


@given(st.sets(st.integers(0, 2_000)), st.integers(0, 3_000))
def test_what_was_answered_survives_its_bytes(places: set[int], other: int) -> None:
    answered = Answered()
    for place in places:
        answered.add(place)

    again = Answered(bytes(answered))

    assert all(place in again for place in places)
    assert (other in again) == (other in places)
