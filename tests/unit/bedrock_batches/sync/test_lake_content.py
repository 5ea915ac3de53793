"""Items of the table become updates of the lake."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bedrock_batches.sync.lake_content import (
    UnusableContentError,
    content_update,
    is_content,
    plain_item,
)
from tests.support.content import MORNING, image, update


def test_an_item_of_the_stream_becomes_an_update() -> None:
    expected = update(is_verified=True, verified_at=MORNING + timedelta(days=1))
    assert content_update(plain_item(image(expected))) == expected


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
        "of_the_stream": {"B": "AAE="},
        "of_the_table": {"B": b"\x00\x01"},
        "blobs": {"BS": [b"b", b"a"]},
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
        "of_the_stream": "AAE=",
        "of_the_table": "AAE=",
        "blobs": ["YQ==", "Yg=="],
    }


def test_tags_may_be_a_set_and_times_any_zone() -> None:
    item = plain_item(
        {**image(update()), "tags": {"SS": ["b", "a"]}, "generated_at": {"S": "2026-10-01T11:00:00+02:00"}}
    )
    assert content_update(item).content["tags"] == ("a", "b")
    assert content_update(item).generated_at == MORNING
    assert content_update({**item, "generated_at": "2026-10-01T09:00:00"}).generated_at == MORNING


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"title_bedrock": ""}, "title_bedrock"),
        ({"title_bedrock": None}, "title_bedrock"),
        ({"generated_at": "yesterday"}, "generated_at"),
        ({"generated_at": "20261127"}, "generated_at: .*write ISO 8601"),
        ({"generated_at": 1_764_000_000}, "generated_at"),
        ({"generated_at": "0001-01-01T00:00:00+05:00"}, "generated_at: .*outside the years"),
        ({"verified_at": "9999-12-31T23:59:59-05:00"}, "verified_at: .*outside the years"),
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
