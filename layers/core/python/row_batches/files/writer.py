"""The interface of a writer, which makes a file of one format from a finished output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

from foundation.errors import Problem
from foundation.lazy_model import LazyModel
from row_batches.files.result_file import FileProof, FileState
from row_batches.files.result_table import Place, ResultTable


class Progress(LazyModel):
    """The progress of a writer. A later call continues from here.

    ``files`` are the objects that are not complete yet. ``proofs`` are the hashes of the complete ones, for
    ``proof.json``. ``left_out`` says why there is no file of this format. If a format needs a first pass, ``found`` is
    its result for each column, and ``scanned`` says that it is complete.
    """

    place: Place
    files: list[FileState] = []
    proofs: list[FileProof] = []
    found: list[list[str]] = []
    scanned: bool = False
    done: bool = False
    left_out: str = ""
    warnings: list[str] = []


class Writer(ABC):
    """A format of the output: a class in a file of its own, listed in ``writers.WRITERS``.

    ``name`` is the format in ``output_format.type``, and ``doc`` describes it there. ``file`` is where it is written,
    in the folder of the results; several objects are in a folder, whose name ends with "/".
    """

    name: ClassVar[str]
    doc: ClassVar[str]
    file: ClassVar[str]

    @property
    def first_object(self) -> str:
        """The name of the first object that is written, in the folder of the results."""
        return self.file

    @abstractmethod
    def problem(self, rows: int, columns: Sequence[str]) -> Problem | None:
        """The problem with an output of this many rows and these columns; None if it can be written."""

    def step_seconds(self, rows: int, columns: int) -> float:  # noqa: ARG002 (most steps are short)
        """How long it can take from one ``Progress`` to the next, if that is more than a minute."""
        return 0

    @abstractmethod
    def write(self, table: ResultTable, progress: Progress) -> Iterator[Progress]:
        """Continue writing. Each ``Progress`` is a point from which another call can continue; the last is ``done``.

        A file becomes visible when it is complete.
        """
