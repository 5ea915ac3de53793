"""What real AWS did, recorded, is what the local AWS does (folder in AWS_RECORDINGS)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from emulator.testing import LocalAws
from emulator.tests.recordings import Recording, Replayer, load

FOLDER = os.environ.get("AWS_RECORDINGS", "")
KNOWN: dict[str, str] = json.loads((Path(__file__).parent / "known_differences.json").read_text())
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reference" / "local-aws-differences.md"
RECORDINGS = load(Path(FOLDER)) if FOLDER else []

needs_recordings = pytest.mark.skipif(not FOLDER, reason="AWS_RECORDINGS names no folder of recordings")


@pytest.fixture(scope="module")
def replays(local_aws: LocalAws) -> Iterator[dict[str, Future[list[str]]]]:
    """All cases at once, because many of them only wait."""
    replayer = Replayer(local_aws)
    with ThreadPoolExecutor(16) as pool:
        yield {recording.id: pool.submit(replayer.differences, recording) for recording in RECORDINGS}


@needs_recordings
@pytest.mark.local_aws
@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.id)
def test_the_local_aws_does_what_aws_did(recording: Recording, replays: dict[str, Future[list[str]]]) -> None:
    differences = replays[recording.id].result()
    if recording.id in KNOWN:
        assert differences, f"{recording.id} no longer differs: remove it from known_differences.json"
    else:
        assert not differences, "\n".join(differences)


@needs_recordings
def test_every_known_difference_is_a_recording() -> None:
    assert set(KNOWN) <= {recording.id for recording in RECORDINGS}


def test_the_reference_lists_every_known_difference_with_its_reason() -> None:
    text = DOCUMENT.read_text()
    missing = [name for name, reason in KNOWN.items() if f"`{name}`" not in text or reason not in text]
    assert not missing


def test_the_reference_lists_no_other_recording_as_different() -> None:
    listed = {line.split("`")[1] for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")}
    assert listed == set(KNOWN)
