"""Calls of ours that are repeated."""

from __future__ import annotations

import pytest

from foundation.aws.retry import retried


class PassingError(Exception):
    pass


class Call:
    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)

    def __call__(self) -> object:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_call_is_repeated_until_it_answers_with_pauses_that_grow_within_their_bounds() -> None:
    pauses: list[float] = []
    call = Call(*[PassingError()] * 6, "answer")

    answer = retried(
        call,
        on=PassingError,
        attempts=7,
        first_pause_seconds=1,
        longest_pause_seconds=4,
        sleep=pauses.append,
    )

    assert answer == "answer"
    assert len(pauses) == 6
    assert all(0 <= pause <= longest for pause, longest in zip(pauses, (1, 2, 4, 4, 4, 4), strict=True))


def test_the_last_error_is_raised_and_no_pause_follows_it() -> None:
    pauses: list[float] = []
    last = PassingError("last")

    with pytest.raises(PassingError) as raised:
        retried(Call(PassingError("first"), last), on=PassingError, attempts=2, sleep=pauses.append)

    assert raised.value is last
    assert len(pauses) == 1


def test_another_error_is_raised_at_once() -> None:
    with pytest.raises(ValueError, match="other"):
        retried(Call(ValueError("other"), "answer"), on=PassingError, attempts=5, sleep=lambda _: None)
