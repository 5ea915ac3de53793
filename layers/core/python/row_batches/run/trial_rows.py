"""Chooses the rows of a trial: spread over the file, and over the sizes of the mapped input.

The file is cut into as many parts of equal length as the trial has rows, and some candidates are drawn from each part.
The candidates are cut into as many classes of equal size by the size of their mapped input. The trial has one row of
each class and, as far as there are such rows, one of each part. Each row of the file is equally likely to be a
candidate, so what the trial costs says what the file costs. The same rows are chosen for the same seed.

Memory: ``CANDIDATES_A_ROW`` numbers for each row of the trial.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import NamedTuple

CANDIDATES_A_ROW = 20


class Candidate(NamedTuple):
    """A row that can be chosen: its number, its part of the file, and the size of its mapped input in bytes."""

    row: int
    part: int
    size: int


def candidate_places(total_rows: int, rows: int, seed: int) -> Iterator[tuple[int, int]]:
    """The places of candidates among ``total_rows`` rows, from 0 and ascending, each with its part of the file."""
    random = Random(seed)  # noqa: S311 (a sample, not a secret)
    for part in range(rows):
        places = range(part * total_rows // rows, (part + 1) * total_rows // rows)
        for place in sorted(random.sample(places, min(CANDIDATES_A_ROW, len(places)))):
            yield place, part


def choose_rows(candidates: Iterable[Candidate], rows: int, seed: int) -> list[int]:
    """The numbers of the chosen rows, ascending. Fewer than ``rows`` if there are fewer candidates."""
    random = Random(seed)  # noqa: S311 (a sample, not a secret)
    by_size = sorted(candidates, key=lambda candidate: (candidate.size, candidate.row))
    rows = min(rows, len(by_size))
    classes = [by_size[number * len(by_size) // rows : (number + 1) * len(by_size) // rows] for number in range(rows)]
    for members in classes:
        random.shuffle(members)
    chosen = _one_of_each_part(classes)
    return sorted(chosen.get(number, members[0]).row for number, members in enumerate(classes))


def _one_of_each_part(classes: Sequence[Sequence[Candidate]]) -> dict[int, Candidate]:
    """Candidates of as many classes as possible, no two of one part: a maximum matching by augmenting paths."""
    taken: dict[int, tuple[int, Candidate]] = {}
    """By part: the class that has it, and with which candidate."""

    def find(number: int, seen: set[int]) -> bool:
        for candidate in classes[number]:
            if candidate.part not in seen:
                seen.add(candidate.part)
                if candidate.part not in taken or find(taken[candidate.part][0], seen):
                    taken[candidate.part] = number, candidate
                    return True
        return False

    for number in range(len(classes)):
        find(number, set())
    return dict(taken.values())
