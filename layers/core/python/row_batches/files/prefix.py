"""Finds the objects of an address that names several: ``s3://bucket/folder/`` or ``s3://bucket/folder/2026-*.csv``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, repeat

from foundation.errors import Problem
from foundation.problems import listed
from row_batches.document.s3_location import S3Location
from row_batches.files.ports import InputObject
from row_batches.files.table import MAX_FILE_BYTES, PATH, too_large

MOST_OBJECTS = 1_000
"""Each object is opened twice, first for its header, which takes about 0.1 s."""
MOST_LISTED = 100_000
"""The most keys that are read. A listing returns 1,000 of them in a request."""
HIDDEN = ("_", ".")
"""Programs that write many files begin the names of their own with these, such as ``_SUCCESS`` and ``.part.crc``."""
NAMED = 5


@dataclass(frozen=True, slots=True)
class FoundInput:
    """The objects of an input in the order of their keys, each with its name below the prefix.

    ``left_out`` are the names of skipped objects, which are hidden or empty.
    """

    objects: list[tuple[str, InputObject]]
    left_out: tuple[str, ...] = ()

    @property
    def etag(self) -> str:
        """The ETag of a single object. For several, it is a hash of their keys and ETags."""
        if len(self.objects) == 1:
            return self.objects[0][1].etag
        digest = hashlib.sha256()
        for _, found in self.objects:
            digest.update(f"{found.location.key}\0{found.etag}\0".encode())
        return f"sha256:{digest.hexdigest()}"

    @property
    def warnings(self) -> list[str]:
        if not self.left_out:
            return []
        return [f"Hidden and empty objects are skipped: {listed(self.left_out, NAMED)}."]


def single(found: InputObject) -> FoundInput:
    """The input that is one object."""
    return FoundInput([(found.location.key.rpartition("/")[2], found)])


def prefix_of(location: S3Location) -> str:
    """The part of the key that all objects begin with: up to the first ``*``."""
    return location.key.partition("*")[0]


def choose_objects(location: S3Location, listing: Iterable[InputObject]) -> FoundInput | Problem:
    """The objects that ``location`` names, out of those that begin with ``prefix_of`` it, or the problem with them."""
    rule = _Rule(location)
    objects: list[tuple[str, InputObject]] = []
    left_out = []
    for number, found in enumerate(listing, 1):
        if number > MOST_LISTED:
            return _refused(location, f"there are more than {MOST_LISTED:,} objects here", "name a smaller folder")
        key = found.location.key
        if not rule.fits(key):
            continue
        name = rule.name(key)
        if rule.hides(name) or not found.size:
            left_out.append(name)
            continue
        objects.append((name, found))
        if len(objects) > MOST_OBJECTS:
            return _refused(
                location, f"more than {MOST_OBJECTS:,} objects match", "merge some, or submit several batches"
            )
    if not objects:
        also = f" ({listed(left_out, NAMED)} skipped: hidden or empty)" if left_out else ""
        return _refused(location, f"no object matches{also}", "upload the files first, or correct the key")
    size = sum(found.size for _, found in objects)
    if size > MAX_FILE_BYTES:
        return too_large(f"the {len(objects):,} files together", size)
    return FoundInput(objects, tuple(left_out))


def can_choose(location: S3Location, key: str) -> bool:
    """Whether ``choose_objects`` takes an object of this key, if it has content.

    A part of ``key`` that is ``*`` stands for any name: the answer is True if the object is taken under one of them.
    """
    asked = zip(key.split("/"), chain(location.key.split("/"), repeat("")), strict=False)
    example = "/".join(_name_like(wanted) if part == "*" else part for part, wanted in asked)
    rule = _Rule(location)
    return rule.fits(example) and not rule.hides(rule.name(example))


def _name_like(wanted: str) -> str:
    """A name that fits a part of a pattern. A part without a ``*`` has one name, which is not any name."""
    return wanted.replace("*", "x") if "*" in wanted else f"{wanted}x"


class _Rule:
    """Which keys ``location`` names."""

    def __init__(self, location: S3Location) -> None:
        folder = prefix_of(location).rpartition("/")[0]
        self._start = len(folder) + 1 if folder else 0
        self._pattern = _pattern(location.key)
        self._wants_hidden = self.name(location.key).startswith(HIDDEN)

    def fits(self, key: str) -> bool:
        return not key.endswith("/") and self._pattern.fullmatch(key) is not None

    def name(self, key: str) -> str:
        """The key below the folder."""
        return key[self._start :]

    def hides(self, name: str) -> bool:
        return not self._wants_hidden and any(part.startswith(HIDDEN) for part in name.split("/"))


def _pattern(key: str) -> re.Pattern[str]:
    if "*" not in key:
        return re.compile(re.escape(key) + ".*", re.DOTALL)
    first, *middle, last = map(re.escape, key.split("*"))
    # Each * takes as little as it can and keeps it, so that the time does not grow with each further *.
    return re.compile(first + "".join(f"(?>[^/]*?{part})" for part in middle) + "[^/]*" + last, re.DOTALL)


def _refused(location: S3Location, message: str, fix: str) -> Problem:
    return Problem(PATH, location.uri, message, fix)
