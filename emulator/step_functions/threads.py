"""Threads, stop signals and deadlines of running executions."""

import contextlib
import contextvars
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ministack.services import stepfunctions
from ministack.services.stepfunctions import _ExecutionError as StateError


class StoppedError(Exception):
    """Raised in the thread of an execution, or of a branch, that was stopped."""


class MachineTimedOutError(Exception):
    """Raised when the state machine's own TimeoutSeconds has passed."""


class Job:
    """One function call on another thread."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._call = (contextvars.copy_context(), function)
        self._ended = threading.Event()
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        context, function = self._call
        try:
            self._result = context.run(function)
        except BaseException as error:
            self._error = error
        self._ended.set()

    def wait(self, seconds: float | None = None) -> bool:
        return self._ended.wait(seconds)

    def result(self) -> Any:
        """The function's result after its end. An error of the function is raised again."""
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._result


class DaemonThreads:
    """Threads that are used again and never keep the process from ending. They grow with the work."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0

    def submit(self, function: Callable[[], Any]) -> Job:
        """Run `function` at once, with the caller's account and region."""
        job = Job(function)
        with self._lock:
            grow = self._idle == 0
            if not grow:
                self._idle -= 1
        self._waiting.put(job)
        if grow:
            threading.Thread(target=self._work, daemon=True, name="step-functions").start()
        return job

    def _work(self) -> None:
        while True:
            self._waiting.get().run()
            with self._lock:
                self._idle += 1


THREADS = DaemonThreads()


class Control:
    """The stop signal and deadline of an execution or of a branch. A branch stops with its execution."""

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._on_stop: dict[object, Callable[[], None]] = {}

    @contextlib.contextmanager
    def branch(self) -> Iterator["Control"]:
        """A control that stops with this one and can be stopped alone."""
        part = Control(self.deadline)
        with self.stopping(part.stop):
            yield part

    @contextlib.contextmanager
    def stopping(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call `callback` if this control is stopped while the block runs."""
        key = object()
        with self._lock:
            self._on_stop[key] = callback
            already = self._stopped.is_set()
        if already:
            callback()
        try:
            yield
        finally:
            with self._lock:
                del self._on_stop[key]

    def stop(self) -> None:
        with self._lock:
            self._stopped.set()
            callbacks = list(self._on_stop.values())
        for callback in callbacks:
            callback()

    def check(self) -> None:
        """
        Raises:
            StoppedError: when stopped.
            MachineTimedOutError: when the deadline has passed.
        """
        if self._stopped.is_set():
            raise StoppedError
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise MachineTimedOutError

    def remaining(self) -> float | None:
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def sleep(self, seconds: float) -> None:
        """Sleep `seconds`, scaled like the emulator's waits, unless stopped or timed out earlier."""
        scaled = seconds * stepfunctions._SFN_WAIT_SCALE
        remaining = self.remaining()
        self._stopped.wait(scaled if remaining is None else min(scaled, remaining))
        self.check()

    def call(self, function: Callable[[], Any], timeout: float | None) -> Any:
        """The result of `function`. After `timeout` seconds, this no longer waits for it.

        Raises:
            StateError: States.Timeout, with no cause, after `timeout` seconds (recording: timeouts.json).
            MachineTimedOutError: when the machine's deadline passes first.
        """
        remaining = self.remaining()
        limits = [seconds for seconds in (timeout, remaining) if seconds is not None]
        if not limits:
            return function()
        job = THREADS.submit(function)
        if not job.wait(min(limits)):
            self.check()
            raise StateError("States.Timeout", "")
        return job.result()
