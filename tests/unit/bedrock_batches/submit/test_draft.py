"""The input of a job while it is put together."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bedrock_batches.submit import draft as module
from bedrock_batches.submit.draft import Draft
from bedrock_batches.submit.parts import Span
from bedrock_batches.submit.prompt import line_of
from foundation.errors import PermanentError
from tests.support.bedrock_results import FakeObjects, Process, World


def line(length: int, place: int = 0) -> bytes:
    return line_of({"text": "." * (length % 7)}, place)


def test_lines_that_come_in_any_order_are_uploaded_by_their_places(tmp_path: Path) -> None:
    places = random.Random(1).sample(range(50), 50)
    world = World()
    with Draft(tmp_path) as draft:
        for place in places:
            draft.add(place, line(place), f"id-{place}\tosha\n".encode(), 100 + place)
        draft.put_in_order()
        draft.cut_after(40)
        assert list(draft.tokens) == [100 + place for place in range(40)]
        assert list(draft.sizes) == [len(line(place)) for place in range(40)]
        size = draft.upload("job", Span(2, 10, 40), FakeObjects(Process(world)))
    written = world.objects["bedrock-batches/input/job/input-0002.jsonl"]
    assert written == b"".join(line(place, place) for place in range(10, 40)), "each with its place in the job"
    assert size == len(written)
    records = world.objects["bedrock-batches/input/job/records-0002.txt"]
    assert records == b"".join(f"id-{place}\tosha\n".encode() for place in range(10, 40))


def test_more_than_tmp_holds_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 20)
    with Draft(tmp_path) as draft:
        draft.add(0, b"x" * 20, b"", 1)
        with pytest.raises(PermanentError, match=r"lower limits\.maxViolations"):
            draft.add(1, b"x", b"", 1)
