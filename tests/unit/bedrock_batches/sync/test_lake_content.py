"""Items of the stream become updates of the lake; which version is the newest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batches.sync.lake_content import (
    ContentUpdate,
    UnusableContentError,
    content_update,
    is_content,
    newest,
    plain_item,
)
from tests.support.content import MORNING, image, update


def test_an_item_of_the_stream_becomes_an_update() -> None:
    expected = update(is_verified=True, verified_at=MORNING + timedelta(days=1), sequence=7)
    assert content_update(plain_item(image(expected)), 7) == expected


def test_every_type_of_dynamodb_becomes_plain() -> None:
    typed: dict[str, Any] = {
        "text": {"S": "a"},
        "whole": {"N": "-12"},
        "broken": {"N": "1.5"},
        "flag": {"BOOL": False},
        "nothing": {"NULL": True},
        "list": {"L": [{"S": "x"}, {"M": {"y": {"N": "1"}}}]},
        "names": {"SS": ["b", "a"]},
        "numbers": {"NS": ["3", "1"]},
    }
    assert plain_item(typed) == {
        "text": "a",
        "whole": -12,
        "broken": 1.5,
        "flag": False,
        "nothing": None,
        "list": ["x", {"y": 1}],
        "names": ["a", "b"],
        "numbers": [1, 3],
    }


def test_tags_may_be_a_set_and_times_any_zone() -> None:
    item = plain_item(
        {**image(update()), "tags": {"SS": ["b", "a"]}, "generated_at": {"S": "2026-10-01T11:00:00+02:00"}}
    )
    assert content_update(item).tags == ("a", "b")
    assert content_update(item).generated_at == MORNING
    assert content_update({**item, "generated_at": "2026-10-01T09:00:00"}).generated_at == MORNING


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"title_bedrock": ""}, "title_bedrock"),
        ({"title_bedrock": None}, "title_bedrock"),
        ({"generated_at": "yesterday"}, "generated_at"),
        ({"agency": ""}, "agency"),
        ({"PK": "VIOLATION#"}, "PK"),
        ({"tags": [1]}, "tags.0"),
        ({"verified_at": "soon"}, "verified_at"),
        ({"is_verified": "true"}, "is_verified"),
        ({"is_verified": 1}, "is_verified"),
    ],
)
def test_an_item_that_cannot_be_a_row_names_its_attribute(change: dict[str, Any], named: str) -> None:
    with pytest.raises(UnusableContentError, match=named):
        content_update({**plain_item(image(update())), **change})


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ({"PK": "VIOLATION#1", "SK": "BEDROCK_CONTENT"}, True),
        ({"PK": "VIOLATION#1", "SK": "METADATA"}, False),
        ({"PK": "JOB#1", "SK": "BEDROCK_CONTENT"}, False),
        ({}, False),
    ],
)
def test_only_content_items_are_content(key: dict[str, str], content: bool) -> None:
    assert is_content(key) is content


def test_of_fifty_versions_of_one_violation_the_newest_is_kept_once() -> None:
    versions = [update(hours=number % 25, title=f"version {number}", sequence=number) for number in range(50)]
    (kept,) = newest(versions)
    assert kept.title == "version 49"


TIMES = st.integers(0, 3).map(lambda hours: MORNING + timedelta(hours=hours))


@given(
    st.lists(
        st.builds(
            update,
            st.sampled_from(["A-1", "A-2"]),
            agency=st.sampled_from(["osha", "epa"]),
            generated_at=TIMES,
            verified_at=st.one_of(st.none(), TIMES),
        ),
        max_size=12,
    ),
    st.randoms(),
)
def test_the_newest_does_not_depend_on_the_order_of_arrival(updates: list[ContentUpdate], chance: Any) -> None:
    numbered = [
        ContentUpdate(**{**{name: getattr(one, name) for name in one.__slots__}, "sequence": place})
        for place, one in enumerate(updates)
    ]
    shuffled = list(numbered)
    chance.shuffle(shuffled)
    assert set(newest(shuffled)) == set(newest(numbered))
    for kept in newest(numbered):
        same = [one for one in numbered if (one.agency, one.violation_id) == (kept.agency, kept.violation_id)]
        never = datetime.min.replace(tzinfo=UTC)
        assert kept == max(same, key=lambda one: (one.generated_at, one.verified_at or never, one.sequence))
