"""Reads several things at once, ahead of who takes them, and hands them on in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

READERS = 24
"""Requests at once: agents have one object a row, each some 20 ms away."""


class Sized(Protocol):
    @property
    def size(self) -> int:
        """Bytes that reading it gives, at most."""


Part = TypeVar("Part", bound=Sized)
Body = TypeVar("Body")


def read_ahead(
    parts: Iterator[Part], read: Callable[[Part], Body], *, most_parts: int, most_bytes: int
) -> Generator[tuple[Part, Body], None, None]:
    """Each part with what ``read``, called in threads, gives for it. Raises what it raises.

    Memory: ``most_bytes``, or one part if it is larger, and the part that was handed on.
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
