"""Gives each part of a run one owner at a time: a call of a function, for as long as Lambda lets it run.

A call that finds another owner does nothing and says when to call again. Only the owner releases its lease. The lease
of a killed owner ends when Lambda would have stopped the call, up to 15 minutes after its start.
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
"""A call waits up to this long before it looks again, so it notices within a minute that an owner ended early."""
CLOCK_SECONDS = 2.0
"""A lease ends this much later than its owner, because the clocks of two machines can differ by this much."""


class Ownership:
    """Takes leases of runs for one call of a function. ``notes`` writes to the table of runs."""

    def __init__(self, leases: Leases, runs: Runs, owner: str, clock: Clock) -> None:
        self.leases = leases
        self.owner = owner
        self._clock = clock
        self.runs = runs
        self.notes = BestEffort(runs)

    @contextmanager
    def of(self, execution: str, part: str, deadline: Deadline) -> Iterator[int]:
        """Own a part within the block. Gives 0 if this call owns it, else the seconds to wait before the next try.

        The seconds are at least 1. Raises what taking the lease raises, because nothing may be done without a lease.
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
            # The work is done. The next owner waits until the lease ends by itself.
            LOGGER.warning("lease not released", extra={"part": part, "reason": str(error)})

    def wait_for_rows(self, execution: str) -> int:
        """Seconds to wait before the next call while batches of the run have an owner; 0 if none has."""
        leases = self.leases.held(lease_name(execution))
        return self._wait_for(execution, [lease for lease in leases if lease.part.startswith(ROWS_PART_PREFIX)])

    def _wait_for(self, execution: str, held: list[Lease]) -> int:
        if not held:
            return 0
        until_ms = max(lease.until_ms for lease in held)
        self.notes.wait(execution, until_ms)
        left = (until_ms - self._clock.now_ms()) / 1000
        return max(1, min(MOST_WAIT_SECONDS, ceil(left)))
