"""The shared parts of synchronous calls: clients by their time-out, and the outcomes of calls without an answer.

A client's read time-out is fixed when the client is created, so there is one client for each whole second. The SDK's
own retries are off, because the row's retry policy decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from threading import Lock
from typing import Generic, TypeVar

from foundation.errors import BatchProcessorError, DeploymentError, ServiceUnavailableError, ThrottledError
from row_batches.targets.protocol import Outcome, mapping_failed, throttled, thrown_error, timed_out

MOST_CLIENTS = 64
Client = TypeVar("Client")


class Clients(Generic[Client]):
    """Clients by their read time-out in whole seconds. A lock is needed, because creating one is not thread-safe."""

    def __init__(self, make_client: Callable[[int], Client]) -> None:
        self._lock = Lock()
        self._make = lru_cache(MOST_CLIENTS)(make_client)

    def get(self, timeout_seconds: float) -> Client:
        with self._lock:
            return self._make(max(1, math.ceil(timeout_seconds)))


def no_answer(timeout_seconds: float) -> Outcome:
    """The outcome of a call that was given up after this time. The target can still be working on it."""
    outcome = timed_out(f"no answer within the {math.ceil(timeout_seconds)} s that were left for the row")
    return replace(outcome, runs_on=True)


def request_too_large(payload: bytes, limit: str) -> Outcome:
    """The outcome of a row whose request is too large to be sent. ``limit`` ends the sentence."""
    return mapping_failed(f"the request of {len(payload):,} bytes {limit}")


def failed_call(error: BatchProcessorError, name: str) -> Outcome:
    """The outcome of a call that the service refused. ``name`` is the name of the service's own error.

    Raises ``DeploymentError`` unchanged. Every other error concerns this call only: the row's retry policy decides, and
    other rows continue.
    """
    if isinstance(error, DeploymentError):
        raise error
    if isinstance(error, ThrottledError):
        return throttled(str(error))
    if isinstance(error, ServiceUnavailableError):
        return replace(thrown_error(ServiceUnavailableError.__name__, str(error)), runs_on=True)
    return thrown_error(name, str(error))
