"""Reads several objects concurrently, ahead of the consumer, and yields them in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

READERS = 24
"""Concurrent requests. Agents have one object a row, and each request takes about 20 ms."""


class Sized(Protocol):
    """A part that is read ahead."""

    @property
    def size(self) -> int:
        """Upper bound of the bytes that reading it yields."""


Part = TypeVar("Part", bound=Sized)
Body = TypeVar("Body")


def read_ahead(
    parts: Iterator[Part], read: Callable[[Part], Body], *, most_parts: int, most_bytes: int
) -> Generator[tuple[Part, Body], None, None]:
    """Each part with the result of ``read``, which runs in threads. Raises the errors of ``read``.

    Memory: ``most_bytes``, or one part if it is larger, plus the part that was yielded last.
    """
    ahead: deque[tuple[Part, Future[Body]]] = deque()
    bytes_ahead = 0
    following = next(parts, None)
    with ThreadPoolExecutor(READERS, "reader") as pool:
        try:
            while ahead or following is not None:
                while following is not None and (
                    not ahead or (len(ahead) < most_parts and bytes_ahead + following.size <= most_bytes)
                ):
                    ahead.append((following, pool.submit(read, following)))
                    bytes_ahead += following.size
                    following = next(parts, None)
                part, future = ahead.popleft()
                yield part, future.result()
                bytes_ahead -= part.size
                del future
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
