"""Checks that a run's output belongs to its input: each row once, in order, unchanged, as ``proof.json`` says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from batch_processor_client.files import readable_file
from batch_processor_client.proof_check import Finding, OutputCheck, Part, hashed_parts
from foundation.aws.s3 import S3ObjectStore
from foundation.errors import ObjectChangedError, ObjectNotFoundError
from row_batches.document.input_format import InputFormat
from row_batches.document.plan import Keys, Plan
from row_batches.document.s3_location import parse_s3_uri
from row_batches.files.s3 import S3InputObjects
from row_batches.files.several import NamedFile, open_files
from row_batches.files.staged_copy import read_staged
from row_batches.run.skipped import all_rows

CHUNK_BYTES = 1024 * 1024

Source = Callable[[], Iterable[bytes]]
"""Each call returns the bytes from the start."""


class _Stored(BaseModel):
    model_config = ConfigDict(extra="ignore")  # a later release may add to it


class _ReadObject(_Stored):
    uri: str
    etag: str
    size_bytes: int
    sha256: str | None
    parts: list[_Part] = []
    name: str = ""

    @property
    def hashes(self) -> list[Part]:
        """The hashes of its parts, one after the other; none if it was not read to its end."""
        whole = [] if self.sha256 is None else [Part(self.size_bytes, self.sha256)]
        return whole or [part.part for part in self.parts]


class _Input(_Stored):
    objects: list[_ReadObject]
    format: InputFormat
    rows: int


class _Part(_Stored):
    bytes: int
    sha256: str

    @property
    def part(self) -> Part:
        return Part(self.bytes, self.sha256)


class _File(_Stored):
    key: str
    parts: list[_Part]


class _Output(_Stored):
    key: str
    first_line: _Part
    original_columns: list[int]


class _Plan(_Stored):
    key: str
    sha256: str


class Proof(_Stored):
    """``proof.json``, as far as it is checked."""

    schema_version: int
    execution_id: str
    input: _Input
    plan: _Plan
    output: _Output
    rows: _File
    files: list[_File]


class Verified(BaseModel):
    """The result. ``rows`` of ``total_rows`` were found in the output, each once and in its place.

    ``compared`` rows were compared with the input, and ``unchanged`` says whether the input's cells were compared with
    the output's. ``notes`` say what could not be checked.
    """

    model_config = ConfigDict(frozen=True)

    execution: str
    total_rows: int
    rows: int
    compared: int
    unchanged: bool
    findings: list[Finding] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return not self.findings

    @property
    def verdict(self) -> str:
        """The result in one line."""
        if self.findings:
            return (
                f"NOT verified: {self.rows:,} of {self.total_rows:,} rows of {self.execution} are in the output as the "
                f"proof says; {len(self.findings):,} findings."
            )
        said = "each once, in order"
        said += ", with the input's cells unchanged" if self.unchanged else ""
        against = "the proof and the input" if self.compared else "the proof"
        return f"Verified: {self.rows:,} rows of {self.execution} are in the output, {said}, as {against} say."


def read_proof(text: bytes, source: str) -> Proof:
    """The content of ``proof.json``. Raises ClientError naming its ``source`` if it is something else."""
    try:
        proof = Proof.model_validate_json(text)
    except ValidationError:
        raise ClientError(f"{source} is not the proof of a run.") from None
    if proof.schema_version > 1:
        raise ClientError(f"{source} was written by a newer release: verify it with that one.")
    return proof


def verify_files(proof: Path, output: Path, input_file: Path | None = None, rows: Path | None = None) -> Verified:
    """Check files on this machine, without AWS. ``proof_rows.b64`` is beside the proof, unless ``rows`` names it.

    Raises ClientError when a file cannot be read.
    """
    read = read_proof(readable_file(proof).read_bytes(), str(proof))
    lines = readable_file(rows or proof.parent / "proof_rows.b64")
    readable_file(output)
    checking = _Checking(read, lambda: _chunks(output), lambda: _chunks(lines))
    if input_file is None:
        checking.notes.append("The input was not compared: name it with INPUT=.")
    else:
        paths = [input_file / one.name for one in read.input.objects] if input_file.is_dir() else [input_file]
        if len(paths) != max(1, len(read.input.objects)):
            raise ClientError(f"{read.execution_id} read {len(read.input.objects):,} files: name their folder.")
        checking.input_of([partial(_chunks, readable_file(path)) for path in paths])
    return checking.run()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def verify(deployment: Deployment, execution: str) -> Verified:
    """Check the output of a run in S3.

    The input is read as the run read it. If it was changed or deleted since, the copy that the run staged takes its
    place, as long as that is kept. Raises ClientError if there is no proof.
    """
    name = execution.rpartition(":")[2]
    keys = Keys(name)
    store = S3ObjectStore(deployment.client("s3"), deployment.results_bucket)
    try:
        body = store.get(keys.proof)
        summary = json.loads(store.get(keys.summary))
    except ObjectNotFoundError:
        raise ClientError(
            f"The run '{name}' has no proof: it does not exist, has not ended yet, or is of an earlier release. "
            "List the runs: make runs."
        ) from None
    proof = read_proof(body, keys.proof)
    checking = _Checking(proof, lambda: store.read(proof.output.key), lambda: store.read(proof.rows.key))
    named = (summary.get("proof") or {}).get("sha256")
    if named != hashlib.sha256(body).hexdigest():
        checking.findings.append(Finding(0, "proof.json is not the one that summary.json names"))
    checking.check_plan(store)
    for file in proof.files:
        checking.check_file(file, store)
    checking.open_input(S3InputObjects(deployment.client("s3")), store, keys)
    return checking.run()


@dataclass
class _Checking:
    """A check that is being prepared, then run."""

    proof: Proof
    output: Source
    lines: Source

    def __post_init__(self) -> None:
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self._inputs: Iterator[Sequence[str]] | None = None

    def check_plan(self, store: S3ObjectStore) -> None:
        try:
            plan = store.get(self.proof.plan.key)
        except ObjectNotFoundError:
            self.notes.append("The plan has expired, so it was not compared.")
            return
        if hashlib.sha256(plan).hexdigest() != self.proof.plan.sha256:
            self.findings.append(Finding(0, f"{self.proof.plan.key} is not the plan of the run"))

    def check_file(self, file: _File, store: S3ObjectStore) -> None:
        """Check another file of the result as a whole."""
        wrong = Finding(0, f"{file.key} was changed")
        try:
            parts = [part.part for part in file.parts]
            for _ in hashed_parts(store.read(file.key), parts, lambda: self.findings.append(wrong)):
                pass
        except ObjectNotFoundError:
            self.findings.append(Finding(0, f"{file.key} is missing"))

    def open_input(self, inputs: S3InputObjects, store: S3ObjectStore, keys: Keys) -> None:
        """Take the rows from the user's object, or from the staged copy if it is not the same any more."""
        objects = self.proof.input.objects
        unchanged = []
        for read in objects:
            with suppress(ObjectNotFoundError, ObjectChangedError):
                found = inputs.head(parse_s3_uri(read.uri))
                if found.etag == read.etag:
                    unchanged.append(partial(inputs.stream, found))
                    continue
            self.notes.append(f"{read.uri} was changed or deleted since the run.")
        if objects and len(unchanged) == len(objects):
            self.input_of(unchanged)
            return
        try:
            plan = Plan.model_validate_json(store.get(keys.plan))
        except ObjectNotFoundError:
            self.notes.append("The staged copy of the input has expired, so the input was not compared.")
            return
        self.notes.append("The output is compared with the copy of the input that the run staged.")
        self._inputs = (cells for _, cells, _ in all_rows(store, plan))

    def input_of(self, sources: Sequence[Source]) -> None:
        """Take the rows from the user's files, read with the run's ``input_format``."""
        objects = self.proof.input.objects
        whole = bool(objects) and all(read.hashes for read in objects)
        names = [read.name for read in objects] or [""]
        files = [
            NamedFile(name, 0 if not objects else objects[place].size_bytes, partial(self._hashed, source, place))
            for place, (name, source) in enumerate(zip(names, sources, strict=True))
        ]
        max_rows = None if whole else self.proof.input.rows
        staging = open_files(files, self.proof.input.format, max_rows=max_rows, unrelated=True)
        self._inputs = (cells for _, cells in read_staged(staging))

    def _hashed(self, source: Source, place: int) -> Iterator[bytes]:
        read = self.proof.input.objects[place] if self.proof.input.objects else None
        if read is None or not read.hashes:
            yield from source()
            return
        name = f" {read.name}" if len(self.proof.input.objects) > 1 else ""
        wrong = Finding(0, f"the input{name} is not the file that the run read: its bytes differ")
        yield from hashed_parts(source(), read.hashes, lambda: self.findings.append(wrong))

    def run(self) -> Verified:
        wrong = Finding(0, "proof_rows.b64 is not the one that proof.json names")
        rows = hashed_parts(
            self.lines(), [part.part for part in self.proof.rows.parts], lambda: self.findings.append(wrong)
        )
        checked = OutputCheck(
            self.proof.input.rows,
            self.output(),
            rows,
            self._inputs,
            first_line=self.proof.output.first_line.part,
            original_columns=self.proof.output.original_columns,
        ).run()
        for _ in rows:  # to its end, for its hash
            pass
        notes = list(self.notes)
        if checked.unknown:
            notes.append(f"{checked.unknown:,} rows were written by an earlier release, without a hash of their input.")
        return Verified(
            execution=self.proof.execution_id,
            total_rows=checked.total_rows,
            rows=checked.rows,
            compared=checked.compared,
            unchanged=checked.unchanged and checked.compared == checked.total_rows,
            findings=[*dict.fromkeys(self.findings), *checked.findings],  # a reader can read the input several times
            notes=notes,
        )
