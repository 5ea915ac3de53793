"""Permits to call a target whose registry entry has limits, and the claims for them, over all runs in progress.

A target with ``max_concurrency`` 5 has five permits: leases ``slot#0`` to ``slot#4`` of the name ``target#<arn>``. A
call starts only under a permit, and the permit outlives the call: its lease does not end before the longest time that
the call can run, even if the holder dies. A holder is a child of a run. A child with a tool's rows has a permit for
each call in flight, a child with a Standard agent's rows has one.

Permits keep the limit, and shares keep it fair: all runs get the same share, and so do all holders of a run, but none
gets more than it wants. A holder claims permits by a lease ``wants#<execution>#<child>#<rows>``. One query reads all
permits and claims, so shares change within seconds when runs come or go. Permits that do not divide evenly go to
different runs in turn.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping

from foundation.ports import Lease

WANTS_SECONDS = 30.0
"""A claim ends after this time, unless the holder renews it."""
REFRESH_SECONDS = 3.0
"""A holder looks at the claims this often."""
TURN_SECONDS = 30.0
"""Permits that do not divide evenly go to other runs after this time."""
MOST_LOST_RACES = 20
"""A holder stops looking for free permits after it has lost this many to faster holders."""


def permits_name(arn: str) -> str:
    """The name of the leases of a target's permits. It has the ARN, so two entries of one target share them."""
    return f"target#{arn}"


def slot_part(number: int) -> str:
    """The part of the lease of permit ``number``."""
    return f"slot#{number}"


def wants_part(holder: str, permits: int) -> str:
    """The part of the lease that claims ``permits`` permits for the holder."""
    return f"wants#{holder}#{permits}"


def holder_of(execution: str, child: str) -> str:
    """The name of a holder, whose parts have no ``#`` or ``/``. A permit's owner is it, or ``<holder>/<call>``."""
    return f"{execution}#{child}"


def fair_shares(total: int, wants: Mapping[str, int], turn: int) -> dict[str, int]:
    """``total`` divided equally, with no share above what is wanted. ``turn`` decides who gets the remainder."""
    shares = dict.fromkeys(wants, 0)
    names = sorted(wants)
    first = turn % len(names) if names else 0
    hungry = [name for name in names[first:] + names[:first] if wants[name] > 0]
    while total > 0 and hungry:
        each = max(1, total // len(hungry))
        for name in hungry[:total]:
            given = min(each, wants[name] - shares[name])
            shares[name] += given
            total -= given
        hungry = [name for name in hungry if shares[name] < wants[name]]
    return shares


class Claims:
    """The holders of a target's permits, and the claims for more, at one moment."""

    def __init__(self, leases: Iterable[Lease]) -> None:
        self.slots: dict[int, str] = {}
        self.until_ms: dict[str, int] = {}
        """When each claim ends, by the part of its lease."""
        self._wants: dict[str, dict[str, int]] = {}
        for lease in leases:
            kind, _, rest = lease.part.partition("#")
            if kind == "slot":
                self.slots[int(rest)] = lease.owner.partition("/")[0]
            else:
                holder, _, rows = rest.rpartition("#")
                self.until_ms[lease.part] = lease.until_ms
                self.add(holder, int(rows))
        for holder, count in Counter(self.slots.values()).items():
            self.add(holder, count)

    def add(self, holder: str, rows: int) -> None:
        """Add a holder that wants ``rows`` permits."""
        wants = self._wants.setdefault(holder.partition("#")[0], {})
        wants[holder] = max(rows, wants.get(holder, 0))

    @property
    def runs(self) -> int:
        """Runs that call the target now."""
        return len(self._wants)

    def workers(self, execution: str) -> int:
        """Holders of a run."""
        return len(self._wants[execution])

    def share(self, holder: str, limit: int, turn: int) -> int:
        """The holder's share of ``limit`` permits."""
        execution = holder.partition("#")[0]
        of_runs = fair_shares(limit, {name: sum(wants.values()) for name, wants in self._wants.items()}, turn)
        return fair_shares(of_runs[execution], self._wants[execution], turn)[holder]

    def free(self, limit: int) -> list[int]:
        """The numbers of the free permits, in random order, so that holders seldom race for the same one."""
        numbers = [number for number in range(limit) if number not in self.slots]
        random.shuffle(numbers)
        return numbers


def turn_at(now_ms: int) -> int:
    """The number of the current turn, for ``fair_shares``."""
    return int(now_ms // (TURN_SECONDS * 1000))
