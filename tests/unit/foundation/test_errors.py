"""Errors whose text goes where there is little room."""

from __future__ import annotations

import json

import pytest

from foundation.errors import InvalidInputError, Problem


@pytest.mark.parametrize(
    "name", ["column", "Ä" * 200, '"\n' * 3_000, "x" * 200_000], ids=["short", "long", "quotes", "huge"]
)
@pytest.mark.parametrize("count", [1, 49, 50, 51, 400])
def test_every_number_of_problems_of_any_length_fits_into_a_cause(name: str, count: int) -> None:
    # A cause has 32,768: https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html.
    problems = [Problem(f"columns[{number}]", name, "is wrong", "one of " + name * 2) for number in range(count)]

    text = str(InvalidInputError(problems))

    assert len(json.dumps(text)) < 26_000
    assert text.splitlines()[0].startswith(str(count))
    listed = sum(f"columns[{number}]" in text for number in range(count))
    assert listed >= min(count, 9)
    assert (f"… and {count - listed} more" in text) == (listed < count)


def test_fifty_problems_are_listed_whole_and_the_others_are_counted() -> None:
    problems = [Problem(f"columns[{number}]", "", "is wrong", "correct it") for number in range(60)]

    lines = str(InvalidInputError(problems)).split("\n")

    assert lines[0] == "60 problems in the input:"
    assert lines[50] == "50. columns[49]: is wrong. Fix: correct it"
    assert lines[51:] == ["… and 10 more"]
