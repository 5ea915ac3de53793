"""Copies the results of a run from the results bucket to the user's folder (``output_s3_uri``).

``destination`` checks the folder before anything is spent. The copies are made when the results are complete, step by
step, so that the next call continues after one that was stopped or killed. Copying twice gives the same objects.
``summary.json`` is written last. With the status SUCCEEDED or SUCCEEDED_WITH_FAILURES, all other files are there. With
STOPPED or FAILED, it can be that of an earlier ending, whose copies a redriven run is replacing.

A copy that fails never fails the run, because its results are in the results bucket. A transient fault is raised, so
that the caller calls again. The delivery is given up at the ``MOST_TRIES``-th transient fault, or at a permanent one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from foundation.errors import BatchProcessorError, DeliveryError, ObjectNotFoundError, RetryableError
from foundation.lazy_model import LazyModel
from row_batches.document.s3_location import S3Location

if TYPE_CHECKING:
    from row_batches.files.ports import OutputObjects
    from row_batches.run.batch import Batch

LOGGER = logging.getLogger("batch_processor.delivery")
PART_BYTES = 256 * 1024 * 1024
"""Larger objects are copied in parts of this size, each within seconds. S3 copies up to 5 GB at once, and joins up to
10,000 parts (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""

MOST_TRIES = 5
"""A delivery is given up at this many transient faults. Each one before takes a retry of ``retry_faults`` in
``asl/parts.json``. That has more retries, so no outage of a user's bucket fails the run."""


class DeliveryState(LazyModel):
    """The progress of a delivery: the number of files that are copied, and the upload of the next one.

    ``faults`` counts the transient faults of all calls. ``failure`` says why it was given up.
    """

    copied: int = 0
    upload_id: str = ""
    etags: list[str] = []
    faults: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The outcome of a delivery: the two folders, and why the copy failed, or ""."""

    ours: str
    theirs: str
    failure: str

    @property
    def document(self) -> dict[str, str]:
        """The part of output document and summary."""
        return {"s3_uri": self.theirs, "status": "FAILED" if self.failure else "COPIED", "reason": self.failure}

    @property
    def warnings(self) -> list[str]:
        if not self.failure:
            return []
        return [
            f"The results were not copied to {self.theirs}: {self.failure}. They are complete in {self.ours}. "
            f"Copy them: aws s3 cp --recursive '{self.ours}' '{self.theirs}'"
        ]


class Delivery:
    """The delivery of the objects under ``results``, a prefix of the results bucket, to ``folder``.

    ``save`` is called whenever ``state`` has changed. Methods that write raise ``RetryableError``: call again.
    """

    def __init__(
        self,
        outputs: OutputObjects,
        results: S3Location,
        folder: S3Location,
        state: DeliveryState,
        save: Callable[[], object],
    ) -> None:
        self._outputs = outputs
        self._results = results
        self._folder = folder
        self._save = save
        self.state = state

    @classmethod
    def of(cls, batch: Batch, state: DeliveryState, prefix: str, save: Callable[[], object]) -> Delivery | None:
        """The delivery of the batch's objects under ``prefix``, after what ``state`` says; None if it wants none."""
        folder = batch.plan.config.destination(batch.plan.execution.name)
        if folder is None:
            return None
        place = S3Location(folder.bucket, folder.key + prefix.removeprefix(batch.work.keys.results))
        return cls(batch.outputs(), S3Location(batch.work.objects.bucket, prefix), place, state, save)

    def copy(self, keys: Sequence[str], has_time: Callable[[], bool]) -> bool:
        """Copy the objects with these keys. Returns whether there was time for all of them."""
        while not self.state.failure and self.state.copied < len(keys):
            if not has_time():
                return False
            key = keys[self.state.copied]
            self._try(partial(self._copy_some, key))
            if self.state.failure:
                self._abort(key)
            self._save()
        return True

    def put(self, key: str, body: bytes) -> None:
        """Write an object with this content, unless the delivery failed before."""
        if not self.state.failure:
            self._try(lambda: self._outputs.put(self._place(key), body))

    @property
    def outcome(self) -> Delivered:
        return Delivered(self._results.uri, self._folder.uri, self.state.failure)

    def _place(self, key: str) -> S3Location:
        return S3Location(self._folder.bucket, self._folder.key + key.removeprefix(self._results.key))

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BatchProcessorError as error:
            if isinstance(error, RetryableError):
                self.state.faults += 1
                if self.state.faults < MOST_TRIES:
                    self._save()
                    raise
            fix = f". Fix: {error.fix}" if isinstance(error, DeliveryError) else ""
            self.state.failure = f"{str(error).rstrip('.')}{fix}"
            LOGGER.warning("results not copied", extra={"s3_uri": self._folder.uri, "reason": str(error)})

    def _abort(self, key: str) -> None:
        """Remove the parts of a copy that was given up."""
        if self.state.upload_id:
            with suppress(BatchProcessorError):  # The bucket's lifecycle removes parts that stay.
                self._outputs.abort_upload(self._place(key), self.state.upload_id)

    def _copy_some(self, key: str) -> None:
        """Copy an object, or the next part of a large one."""
        state, place = self.state, self._place(key)
        size = self._outputs.size(key)
        if size <= PART_BYTES:
            self._outputs.copy(key, place)
            self._begin_next()
            return
        if not state.upload_id:
            state.upload_id = self._outputs.start_upload(place)
            return
        first = len(state.etags) * PART_BYTES
        try:
            if first < size:
                end = min(first + PART_BYTES, size)
                number = len(state.etags) + 1
                state.etags.append(self._outputs.copy_part(key, place, state.upload_id, number, first, end))
                return
            self._outputs.complete_upload(place, state.upload_id, state.etags)
        except ObjectNotFoundError:
            # A call that was killed completed the upload, or a lifecycle rule removed it. Either way, start again.
            state.upload_id, state.etags = "", []
            return
        self._begin_next()

    def _begin_next(self) -> None:
        self.state.copied += 1
        self.state.upload_id, self.state.etags = "", []
