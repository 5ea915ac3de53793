"""The rate at which executions start: one bucket of tokens for the account and region (dg/service-quotas.html).

`SFN_START_EXECUTION_QUOTA`, such as `5/1`, gives another size of the bucket and another number of tokens a second.
"""

import os
import threading
import time

LARGE_REGIONS = frozenset({"us-east-1", "us-west-2", "eu-west-1"})
LARGE, SMALL = (1_300.0, 300.0), (800.0, 150.0)


class Bucket:
    """A bucket of up to `size` tokens. `per_second` tokens come back each second."""

    def __init__(self, size: float, per_second: float) -> None:
        self._size, self._per_second = size, per_second
        self._tokens, self._looked = size, time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take a token. False if there is none."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._size, self._tokens + (now - self._looked) * self._per_second)
            self._looked = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


def quota_of(region: str) -> tuple[float, float]:
    """The size and tokens a second of StartExecution's bucket."""
    given = os.environ.get("SFN_START_EXECUTION_QUOTA")
    if given:
        size, _, per_second = given.partition("/")
        return float(size), float(per_second)
    return LARGE if region in LARGE_REGIONS else SMALL


def may_start(account: str, region: str) -> bool:
    """Whether another execution may start now."""
    with _lock:
        bucket = _buckets.setdefault((account, region), Bucket(*quota_of(region)))
    return bucket.take()


_buckets: dict[tuple[str, str], Bucket] = {}
_lock = threading.Lock()
