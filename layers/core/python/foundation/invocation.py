"""One invocation of a function: its settings, its log lines, its clock and its deadline."""

from __future__ import annotations

import uuid
from typing import Any, Protocol

from foundation import settings
from foundation.clock import SystemClock
from foundation.logging import start_invocation

M_ARENA_MAX = -8
M_MMAP_THRESHOLD = -3
LARGE_BLOCK_BYTES = 1024 * 1024


class LambdaContext(Protocol):
    """The context object that Lambda passes to a handler with the event."""

    function_name: str
    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int: ...


class InvocationDeadline:
    """The deadline that Lambda gives with the context of an invocation."""

    def __init__(self, context: LambdaContext) -> None:
        self._context = context

    def remaining_seconds(self) -> float:
        return self._context.get_remaining_time_in_millis() / 1000


def begin(model: type[settings.S], context: LambdaContext, **keys: Any) -> settings.S:
    """Start an invocation: set the keys of its log lines, and return the settings of the function."""
    loaded = settings.load(model)
    start_invocation(
        loaded.powertools_service_name, loaded.powertools_log_level, request_id=context.aws_request_id, **keys
    )
    return loaded


def call_owner(context: LambdaContext) -> str:
    """The owner name of this call for leases. Unique, because Lambda can deliver an event twice with one request id."""
    return f"{context.aws_request_id}/{uuid.uuid4().hex}"


def limit_heap() -> None:
    """Limit the heap growth of a function with large buffers or many threads. Call it before the first thread starts.

    glibc gives each thread its own heap, and buffers that other threads free leave it fragmented (``M_ARENA_MAX``). It
    also puts large buffers on the heap once one was freed, unless their threshold is fixed (``M_MMAP_THRESHOLD``): then
    they are mapped, and go back to the system when they are freed. Other C libraries have no such settings
    (https://man7.org/linux/man-pages/man3/mallopt.3.html).
    """
    import ctypes  # noqa: PLC0415 (most functions do not need it)

    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(M_ARENA_MAX, 1)
        set_option(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)


clock = SystemClock()
