"""Gives each part of a run one owner at a time: a call of a function, for as long as Lambda lets it run.

A call that meets another owner does nothing and says when to come again. Only the owner releases its lease. That of
a killed owner ends when Lambda would have stopped the call, up to 15 minutes after its start.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil

from foundation.errors import BatchProcessorError
from foundation.ports import Clock, Deadline, Lease, Leases
from row_batches.run.runs import ROWS_PART_PREFIX, BestEffort, Runs, lease_name

LOGGER = logging.getLogger("batch_processor.ownership")
MOST_WAIT_SECONDS = 60
"""An owner that ends early is noticed within a minute."""
CLOCK_SECONDS = 2.0
"""The clocks of two machines can differ by this much, so a lease ends this much later than its owner."""


class Ownership:
    """The leases of runs, as one call of a function takes them; ``notes`` is what it tells the table of runs."""

    def __init__(self, leases: Leases, runs: Runs, owner: str, clock: Clock) -> None:
        self.leases = leases
        self.owner = owner
        self._clock = clock
        self.runs = runs
        self.notes = BestEffort(runs)

    @contextmanager
    def of(self, execution: str, part: str, deadline: Deadline) -> Iterator[int]:
        """Own the part within the block: 0. Or do not: seconds after which to come again, at least 1.

        Raises what the leases raise while they are asked for: without a lease nothing may be done.
        """
        name = lease_name(execution)
        if not self.leases.acquire(name, self.owner, deadline.remaining_seconds() + CLOCK_SECONDS, part):
            held = [lease for lease in self.leases.held(name) if lease.part == part]
            yield self._wait_for(execution, held) or 1
            return
        try:
            yield 0
        finally:
            self._release(name, part)

    def _release(self, name: str, part: str) -> None:
        try:
            self.leases.release(name, self.owner, part)
        except BatchProcessorError as error:
            # What was done stands; whoever comes next waits until the lease ends by itself.
            LOGGER.warning("lease not released", extra={"part": part, "reason": str(error)})

    def wait_for_rows(self, execution: str) -> int:
        """Seconds after which to come again while batches of the run have an owner; 0 when none has."""
        leases = self.leases.held(lease_name(execution))
        return self._wait_for(execution, [lease for lease in leases if lease.part.startswith(ROWS_PART_PREFIX)])

    def _wait_for(self, execution: str, held: list[Lease]) -> int:
        if not held:
            return 0
        until_ms = max(lease.until_ms for lease in held)
        self.notes.wait(execution, until_ms)
        left = (until_ms - self._clock.now_ms()) / 1000
        return max(1, min(MOST_WAIT_SECONDS, ceil(left)))
