"""Follows runs for the pages that show them: one follower a run, whatever the number of pages."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from threading import Lock

from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import EXPECTED
from batch_processor_client.following import POLL_SECONDS, follow
from batch_processor_client.progress import Progress

MOST_FOLLOWED = 100
SAMPLES_KEPT = 300
Sample = tuple[float, int | None, int]
"""Rows a second, rows in flight, failed rows."""


class Followers:
    """Followers by the name of their execution. A look is up to three requests to AWS, and there is one a second."""

    def __init__(self, deployment: Deployment, clock: Callable[[], float] = time.monotonic) -> None:
        self._deployment = deployment
        self._clock = clock
        self._lock = Lock()
        self._followers: dict[str, _Follower] = {}

    def progress(self, execution: str) -> Progress:
        """The progress of a run, up to a second old; older while AWS takes longer to answer.

        Raises ClientError if there is no such execution, and what AWS refuses.
        """
        with self._lock:
            follower = self._followers.pop(execution, None) or _Follower(self._deployment, execution, self._clock)
            self._followers[execution] = follower  # at the end: the first one was not asked for the longest
            while len(self._followers) > MOST_FOLLOWED:
                del self._followers[next(iter(self._followers))]
        return follower.progress()

    def history(self, execution: str) -> list[Sample]:
        """The looks at a run so far, up to ``SAMPLES_KEPT``, the oldest first."""
        with self._lock:
            follower = self._followers.get(execution)
        return list(follower.samples) if follower else []


class _Follower:
    """The last look at one run."""

    def __init__(self, deployment: Deployment, execution: str, clock: Callable[[], float]) -> None:
        self._deployment = deployment
        self._execution = execution
        self._clock = clock
        self._lock = Lock()
        self._looks: Iterator[Progress] | None = None
        self._looked_at = float("-inf")
        self._last: Progress | None = None
        self._failure: Exception | None = None
        self.samples: deque[Sample] = deque(maxlen=SAMPLES_KEPT)

    def progress(self) -> Progress:
        # While one page waits for AWS, the others get what is known already. The first look has nothing to show.
        if not self._lock.acquire(blocking=self._last is None):
            assert self._last is not None
            return self._last
        try:
            ended = self._last is not None and self._last.ending is not None and self._failure is None
            if not ended and self._clock() - self._looked_at >= POLL_SECONDS:
                self._look()
            if self._failure is not None:
                raise self._failure
            assert self._last is not None
            return self._last
        finally:
            self._lock.release()

    def _look(self) -> None:
        self._looked_at = self._clock()
        try:
            # After a failure the look begins anew, with the credentials of that moment.
            self._looks = self._looks or follow(self._deployment, self._execution, wait=lambda _: None)
            self._last = next(self._looks)
            self._failure = None
            last = self._last
            self.samples.append((round(last.rows_per_second, 3), last.in_flight, last.failed))
        except EXPECTED as failure:
            self._looks, self._failure = None, failure
