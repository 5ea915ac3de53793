"""Puts runs together for a person: reads the file and the target that a document names, and keeps them for a while."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from batch_processor_client import estimates, executions, files, inputs, remap, runs, samples, targets
from batch_processor_client.deployment import Deployment
from batch_processor_client.documents import with_input_bucket
from batch_processor_client.drafts import (
    Document,
    Known,
    Look,
    OutColumn,
    cells_of,
    changed,
    input_form,
    look,
    out_columns,
    read_text,
)
from batch_processor_client.errors import ClientError
from batch_processor_client.remap import Kept, MappedAnswer, Remap
from batch_processor_client.samples import Sample
from batch_processor_client.targets import Tried
from foundation.errors import InvalidInputError, Problem
from row_batches.document.input_document import INPUT
from row_batches.document.input_format import InputFormat
from row_batches.document.plan import Target
from row_batches.rows.records import AnsweredRow

MOST_KEPT = 32
KEPT_SECONDS = 20.0
"""Changes of a file, a target or kept answers are shown after up to this time."""
PREFIX = "shared/console/"
"""Prefix in the input bucket of files that were dropped into the page."""

Value = TypeVar("Value")


class _Kept(Generic[Value]):
    """The last ``MOST_KEPT`` values, by key, each for ``seconds`` of the clock. Safe in several threads."""

    def __init__(self, clock: Callable[[], float], seconds: float = math.inf) -> None:
        self._clock = clock
        self._seconds = seconds
        self._values: OrderedDict[str, tuple[Value, float]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str) -> Value | None:
        with self._lock:
            value, until = self._values.get(key, (None, -math.inf))
            return value if self._clock() < until else None

    def put(self, key: str, value: Value) -> None:
        with self._lock:
            self._values[key] = value, self._clock() + self._seconds
            self._values.move_to_end(key)
            while len(self._values) > MOST_KEPT:
                self._values.popitem(last=False)

    def forget(self, key: str) -> None:
        with self._lock:
            self._values.pop(key, None)


@dataclass(frozen=True)
class Board:
    """A document in its current form, and what is known about it. ``tried`` is the row that was tried last.

    ``sample_problem`` says why its file cannot be read, "" if it can.
    """

    look: Look
    known: Known
    targets: list[Target]
    sample_problem: str = ""
    tried_id: str = ""
    tried: Tried | None = None


@dataclass(frozen=True)
class RemapBoard:
    """Another output mapping of a run, tried on its first kept answers. ``answer`` is the one whose keys are shown."""

    document: Document
    problems: list[Problem]
    kept: Kept
    mapped: list[MappedAnswer]
    columns: list[OutColumn]
    answer: AnsweredRow | None


class Workbench:
    """The workbench of one deployment. It keeps files that were read, targets, and rows that were tried."""

    def __init__(self, deployment: Deployment, clock: Callable[[], float] = time.monotonic) -> None:
        self._deployment = deployment
        self._samples = _Kept[Sample](clock)
        self._etags = _Kept[str](clock, KEPT_SECONDS)
        self._tried = _Kept[Tried](clock)
        self._asked = _Kept[str](clock)
        self._kept_answers = _Kept[Kept](clock, KEPT_SECONDS)
        self._targets = _Kept[list[Target]](clock, KEPT_SECONDS)

    def board(self, text: str, change: str = "", given: Mapping[str, str] | None = None, tried_id: str = "") -> Board:
        """The document of a text after a change, as a run would use it.

        Raises ClientError for a text that is no document or a change that cannot be done, and what AWS refuses.
        """
        document, given = read_text(text), dict(given or {})
        registered = self.targets()
        if change == "target":
            before = self._known(document, registered)[0].target
            known = self._known(document, registered, given.get("value", ""))[0]
            document = changed(document, change, given, replace(known, before=before))
        elif change:
            before = document.get(INPUT)
            document = changed(document, change, given, self._known(document, registered)[0])
            if document.get(INPUT) != before:
                document = changed(document, "guess", {}, self._known(document, registered)[0])
        return self._board(document, registered, tried_id)

    def _board(self, document: Document, registered: list[Target], tried_id: str) -> Board:
        known, problem = self._known(document, registered)
        tried = self._tried.get(tried_id)
        if tried is not None and (known.target is None or tried.target != known.target.name):
            tried = None
        return Board(look(document, known, tried), known, registered, problem, tried_id if tried else "", tried)

    def targets(self) -> list[Target]:
        """The registered targets that can be used, as of ``KEPT_SECONDS`` ago at most."""
        found = self._targets.get("")
        if found is None:
            found = [one for one in targets.list_targets(self._deployment) if one.enabled]
            self._targets.put("", found)
        return found

    def _known(self, document: Document, registered: list[Target], name: str = "") -> tuple[Known, str]:
        reference = document.get("target")
        name = name or str(reference.get("name", "") if isinstance(reference, dict) else "")
        target = next((one for one in registered if one.name == name), None)
        uri = with_input_bucket(document, self._deployment.input_bucket).get(INPUT)
        if not isinstance(uri, str) or not uri:
            return Known(target), ""
        try:
            return Known(target, self._sample(uri, input_form(document))), ""
        except (ClientError, InvalidInputError) as wrong:
            return Known(target), str(wrong)

    def _sample(self, uri: str, form: InputFormat) -> Sample:
        key = f"{uri}\n{self._etag(uri)}\n{form.model_dump_json()}"
        found = self._samples.get(key)
        if found is None:
            found = samples.sample_of_uri(self._deployment, uri, form)
            self._samples.put(key, found)
        return found

    def _etag(self, uri: str) -> str:
        """The ETag of an address, as of ``KEPT_SECONDS`` ago at most; "" of one that names no object."""
        found = self._etags.get(uri)
        if found is None:
            try:
                found = inputs.find_input(self._deployment, uri).etag
            except (ClientError, InvalidInputError):
                found = ""
            self._etags.put(uri, found)
        return found

    def upload(self, path: Path, transfer: files.Transfer | None = None) -> str:
        """Put a file into the input bucket, and return its address. Raises ClientError if it is cancelled."""
        return files.upload(self._deployment, path, PREFIX, transfer)

    def try_row(self, text: str, row: int) -> Board:
        """Call the document's target once with a row of the sample. The call is paid for. Raises ClientError."""
        document, registered = read_text(text), self.targets()
        known, problem = self._known(document, registered)
        if known.target is None or known.sample is None:
            raise ClientError(problem or "Choose a file and a target first.")
        if not 0 < row <= len(known.sample.rows):
            raise ClientError(f"Choose one of the first {len(known.sample.rows)} rows.")
        cells = dict(zip(known.sample.columns, known.sample.rows[row - 1], strict=True))
        mapping = {"input_mapping": document.get("input_mapping") or {}}
        tried = targets.try_target(self._deployment, known.target.name, cells, mapping)
        tried_id = uuid.uuid4().hex
        self._tried.put(tried_id, tried)
        return self._board(document, registered, tried_id)

    def estimate(self, text: str, name: str) -> estimates.Estimate:
        """The plan and cost of the document, from a dry run of this name. Raises ClientError, InvalidInputError."""
        return estimates.estimate(self._deployment, read_text(text), name)

    def start(self, text: str, name: str) -> str:
        """Start a run of the document, and return its name. The same request again starts nothing.

        Raises ClientError for a name that another run has, and InvalidInputError.
        """
        document, asked_before = read_text(text), self._asked.get(name) == text
        if not asked_before:
            self._asked.put(name, text)
        try:
            return executions.name_of(runs.start(self._deployment, document, name))
        except (ClientError, InvalidInputError):
            if asked_before and self._is_started(name, document):
                return name
            self._asked.forget(name)  # it began nothing, so a run of this name is another's
            raise

    def remap_board(
        self, execution: str, text: str = "", change: str = "", given: Mapping[str, str] | None = None, row: int = 0
    ) -> RemapBoard:
        """The document of a remap after a change; without a text, that of the run. ``row`` is that of an answer.

        Raises ClientError for a change that cannot be done, or if the run's answers have expired.
        """
        kept = self._kept_answers.get(execution)
        if kept is None:
            kept = remap.kept_answers(self._deployment, execution)
            self._kept_answers.put(execution, kept)
        known = Known(names=kept.batch.plan.columns)
        document = read_text(text) if text else kept.document
        if change:
            document = changed(document, change, given or {}, known)
        problems: list[Problem] = []
        mapped: list[MappedAnswer] = []
        try:
            mapped = remap.preview(kept, document)
        except InvalidInputError as invalid:
            problems = invalid.problems
        answer = next((one for one in kept.rows if one.row == row), kept.rows[0] if kept.rows else None)
        shown = next((one for one in mapped if answer is not None and one.row == answer.row), None)
        cells = cells_of(shown.cells, shown.missing, shown.unfit) if shown else {}
        return RemapBoard(document, problems, kept, mapped, out_columns(document, cells), answer)

    def remap(self, execution: str, text: str) -> Remap:
        """Write the output of a run again, as the document says. Raises InvalidInputError, RemapError."""
        return remap.remap(self._deployment, execution, read_text(text))

    def _is_started(self, name: str, document: Document) -> bool:
        """Whether the run of this name is of this document."""
        states = self._deployment.client("stepfunctions")
        try:
            found = executions.describe(states, self._deployment.execution_arn(name))
        except ClientError:
            return False
        return bool(json.loads(found["input"]) == with_input_bucket(document, self._deployment.input_bucket))
