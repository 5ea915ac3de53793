"""Follows a batch as ``make run`` does: how smoothly its bar moves, how right its time left is, what it asks of AWS.

300 rows of a second, five in flight, on the local AWS and on the real clock. ``tools/bench.py`` starts it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from pydantic import PrivateAttr

from batch_processor_client.deployment import Deployment
from batch_processor_client.following import follow
from batch_processor_client.progress import Progress
from tools.benchmarks.batches import start, upload
from tools.outputs import deployment_of

ROWS, ROW_SECONDS, CONCURRENCY = 300, 1, 5
PAUSE_AIM_SECONDS = 1.2
"""The bar moves every second: a look each second, and the time of its requests."""
LONGEST_PAUSE_AIM_SECONDS = 2.4
"""A count can just miss a look: then the bar moves at the one after it."""
TIME_LEFT_AIM = 0.2
LAST_FIFTH_AIM_SECONDS = 2.0
"""Close to the end, the second between two looks is a large part of the time left, so the error there is in seconds."""
REQUESTS_AIM = 3
DOCUMENT = {
    "target": {"type": "tool", "name": "chaos"},
    "input_mapping": {"static_values": {"mode": "slow", "n": ROW_SECONDS}},
    "execution_config": {"max_concurrency": CONCURRENCY},
}


@dataclass(frozen=True)
class Shown:
    """What a follower shows from a moment on, in seconds of the monotonic clock."""

    moment: float
    progress: Progress


class Counting(Deployment):
    """A deployment whose clients note when they send each request, retries included."""

    _sent: list[float] = PrivateAttr(default_factory=list)

    def client(self, service: str, config: Any = None) -> Any:
        client = super().client(service, config)
        client.meta.events.register("before-send", lambda **_: self._sent.append(time.monotonic()))
        return client

    @property
    def sent(self) -> list[float]:
        """The moment of each request, in seconds of the monotonic clock."""
        return self._sent


def watch(following: Iterable[Progress]) -> list[Shown]:
    """Everything that a follower shows, each with its moment."""
    return [Shown(time.monotonic(), progress) for progress in following]


def pauses(shown: list[Shown]) -> list[float]:
    """The seconds between each two moves of the bar, from its first row to its last."""
    moves = [later.moment for earlier, later in pairwise(shown) if later.progress.done > earlier.progress.done]
    return [later - earlier for earlier, later in pairwise(moves)]


def time_left_errors(shown: list[Shown], begins: float, ends: float) -> list[tuple[float, float]]:
    """The error of the time left, and the time that was really left, in seconds.

    Of each moment at which the share of rows done is from ``begins`` to below ``ends``. A moment without a time left
    counts as if 0 seconds were shown.
    """
    end = next(one.moment for one in shown if one.progress.done == one.progress.total)
    return [
        (abs((one.progress.seconds_left or 0.0) - (end - one.moment)), end - one.moment)
        for one in shown
        if one.progress.total and begins <= one.progress.done / one.progress.total < ends
    ]


def most_in_a_second(moments: list[float]) -> int:
    """The most moments within any one second."""
    return max(sum(begin <= moment < begin + 1 for moment in moments) for begin in moments)


def run() -> list[dict[str, Any]]:
    """The pauses of the bar, the largest errors of its time left, and the most requests in a second."""
    deployment = Counting.model_validate(deployment_of("local").model_dump())
    rows = [{"id": str(number)} for number in range(1, ROWS + 1)]
    arn = start(deployment, {"csv_s3_uri": upload(deployment, rows), **DOCUMENT})
    deployment.sent.clear()
    shown = watch(follow(deployment, arn))
    ending = shown[-1].progress.ending
    assert ending is not None
    assert ending.document is not None, f"{ending.error}: {ending.cause}"
    assert ending.document["succeeded"] == ROWS, ending.document
    return figures(shown, deployment.sent)


def figures(shown: list[Shown], sent: list[float]) -> list[dict[str, Any]]:
    """The results of a run that was followed to its end, from what was shown and when requests were sent."""
    run_of = f"{ROWS} rows of {ROW_SECONDS} s, {CONCURRENCY} in flight"
    paused = pauses(shown)
    before, last = time_left_errors(shown, 0.1, 0.8), time_left_errors(shown, 0.8, 1.0)
    return [
        _result(
            "progress_pause", median(paused), PAUSE_AIM_SECONDS, f"s between two moves of the bar, median; {run_of}"
        ),
        _result("progress_longest_pause", max(paused), LONGEST_PAUSE_AIM_SECONDS, "s between two moves of the bar"),
        _result("progress_time_left", _share(before), TIME_LEFT_AIM, "error / time left, first tenth to last fifth"),
        _result("progress_time_left_at_the_end", _share(last), None, "error / time left, in the last fifth"),
        _result(
            "progress_seconds_left_at_the_end",
            max(error for error, _ in last),
            LAST_FIFTH_AIM_SECONDS,
            "s of error in the last fifth",
        ),
        _result("progress_requests", most_in_a_second(sent), REQUESTS_AIM, "requests to AWS in one second at most"),
    ]


def _share(errors: list[tuple[float, float]]) -> float:
    """The largest error as a share of the time that was really left."""
    return max(error / left for error, left in errors)


def _result(name: str, ours: float, aim: float | None, unit: str) -> dict[str, Any]:
    return {
        "name": name,
        "ours": ours,
        "peer": None,
        "ratio": None,
        "aim": aim,
        "met": None if aim is None else ours <= aim,
        "unit": unit,
        "spread": None,
    }
