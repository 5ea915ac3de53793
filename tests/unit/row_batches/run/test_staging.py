"""A large input is staged over several calls of the function, with the same result as in one."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from foundation.errors import InvalidInputError, ObjectChangedError
from row_batches.document.input_format import InputFormat
from row_batches.document.plan import Keys
from row_batches.files import result_file
from row_batches.files.opening import open_input
from row_batches.files.several import FilesStaging, NamedFile
from row_batches.files.staged_copy import read_staged
from row_batches.files.table import InputFile, InputStaging
from row_batches.run.staging import PARTS_A_CHECKPOINT, Finished, Stager
from tests.support.batches import execution_of
from tests.support.fakes import FakeDeadline, FakeObjectStore, KilledError
from tests.support.tables import WRITERS, Rows

EXECUTION = execution_of("run-1")
KEYS = Keys("run-1")
CHUNK = 10_000


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_file, "PART_BYTES", 20_000)


def table(rows: int = 4000, text: str = "some text", end: str = "\n") -> str:
    lines = ["id,text,note"]
    for row in range(rows):
        blank = row % 7 == 3
        lines.append(", ,\t" if blank else f'{row},"{text}, ""{row}""\nand more",{"" if row % 2 else "x"}')
    return end.join(lines) + end


@dataclass
class World:
    """One input, and the calls that stage it. ``read`` counts the bytes that were read in the last call."""

    files: dict[str, bytes]
    form: InputFormat = field(default_factory=InputFormat)
    store: FakeObjectStore = field(default_factory=lambda: FakeObjectStore(smallest_part=0))
    etag: str = "etag"
    read: int = 0

    def _named(self, name: str) -> NamedFile:
        def chunks(start: int = 0) -> Iterator[bytes]:
            body = self.files[name]
            for at in range(start, len(body), CHUNK):
                self.read += len(body[at : at + CHUNK])
                yield body[at : at + CHUNK]

        return NamedFile(name, len(self.files[name]), chunks, chunks)

    def open(self) -> InputStaging:
        files = [self._named(name) for name in self.files]
        if len(files) > 1:
            return FilesStaging(files, self.form)
        (file,) = files
        return open_input(InputFile(file.chunks, self.form, size=file.size, chunks_from=file.chunks_from))

    def call(self, *remaining: float) -> Finished | None:
        self.read = 0
        stager = Stager(self.store, KEYS, EXECUTION, self.etag, FakeDeadline(*remaining))
        return stager.stage(self.open(), self.form)

    def finish(self, *remaining: float) -> tuple[Finished, int]:
        """Call until it is staged, with this time left after each chunk; returns the number of calls, too."""
        calls = 1
        while (finished := self.call(*remaining)) is None:
            calls += 1
            assert calls < 100
        return finished, calls

    def objects(self) -> dict[str, bytes]:
        return {key: self.store.objects.get(key, b"") for key in (KEYS.staged, KEYS.skipped)}


def parquet(rows: int) -> bytes:
    """A Parquet file with small row groups; some rows have no content."""
    columns = "i, 'text \"' || i || '\"\n\\ é' AS t, i / 8 AS d, ['a', NULL] AS l"
    one, blank = f"SELECT {columns} FROM range({rows}) r(i)", "SELECT NULL, '', NULL, NULL"
    select = f"{one} UNION ALL {blank} UNION ALL SELECT {columns} FROM range(9) r(i)"
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        path = Path(folder) / "made.parquet"
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
        return path.read_bytes()


SHEET: Rows = [["a", "b"], *([row, f"text {row}"] for row in range(6_000))]
FEW_CHUNKS = (900.0, 900.0, 100.0)

INPUTS: dict[str, tuple[dict[str, bytes], dict[str, Any]]] = {
    "ASCII": ({"a.csv": table().encode()}, {}),
    "UTF-8 with a mark and CRLF": ({"a.csv": b"\xef\xbb\xbf" + table(text="Grüße 日本", end="\r\n").encode()}, {}),
    "UTF-8 that begins late": ({"a.csv": (table(2000) + table(2000, "é").partition("\n")[2]).encode()}, {}),
    "Windows-1252": ({"a.csv": table(text="Grüße aus Köln").encode("cp1252")}, {}),
    "UTF-16": ({"a.csv": table(text="Grüße").encode("utf-16")}, {}),
    "gzip": ({"a.csv.gz": gzip.compress(table(text="Grüße").encode())}, {}),
    "padded rows": ({"a.csv": (table(2000) + "1\n2,b\n" * 9000).encode()}, {"ragged": "pad"}),
    "rows without content are sent": ({"a.csv": table().encode()}, {"empty_rows": "send"}),
    "several files": (
        {"a.csv": table(1500).encode(), "b.csv": gzip.compress(table(1500).replace("text", "new", 1).encode())},
        {"source_column": "file"},
    ),
    "Parquet": ({"a.parquet": parquet(20_000)}, {}),
    "Parquet in gzip": ({"a.parquet.gz": gzip.compress(parquet(20_000))}, {"empty_rows": "send"}),
    "several Parquet files": ({f"{name}.parquet": parquet(9_000) for name in "abc"}, {"source_column": "file"}),
    "JSON Lines": ({"a.jsonl": b'{"a": 1, "b": "x"}\n\n{"a": null, "c": ""}\n' * 6000}, {}),
    "JSON Lines in UTF-16": ({"a.jsonl": ('{"a": 1, "b": "Grüße"}\n{"c": 2}\n' * 6000).encode("utf-16")}, {}),
    "a JSON array": ({"a.json": b"[" + b'{"a": 1.10, "b": ["x"]}, {"c": ""}, ' * 6000 + b"{}]"}, {}),
    "several JSON files": (
        {f"{name}.jsonl": b'{"a": 1, "%d": "x"}\n' % at * 5000 for at, name in enumerate("abc")},
        {},
    ),
    "several workbooks, each in one call": ({f"{name}.xlsx": WRITERS["xlsx"](SHEET) for name in "abc"}, {}),
}


@pytest.mark.parametrize("name", INPUTS)
def test_several_calls_write_the_same_bytes_as_one(name: str) -> None:
    files, form = INPUTS[name]
    one, several = World(files, InputFormat(**form)), World(files, InputFormat(**form))

    at_once = one.call()
    finished, calls = several.finish(*FEW_CHUNKS)

    assert at_once is not None
    assert calls > 2
    assert several.objects() == one.objects()
    assert finished.model_dump(exclude={"version_id", "skipped"}) == at_once.model_dump(
        exclude={"version_id", "skipped"}
    )
    assert finished.rows_skipped == at_once.rows_skipped
    staged = list(read_staged([several.store.objects[KEYS.staged]]))
    assert finished.total_rows == len(staged) + finished.rows_skipped


def test_a_later_call_reads_only_the_rest_of_a_file_in_utf_8() -> None:
    world = World({"a.csv": table(20_000).encode()})
    size = len(world.files["a.csv"])

    assert world.call(*[900.0] * 15, 0.0) is None
    assert world.call() is not None

    assert world.read < size - 10 * 30_000 + 3 * 70_000


def test_a_call_that_is_killed_is_repeated_from_its_checkpoint() -> None:
    files, _ = INPUTS["ASCII"]
    expected = World({"a.csv": files["a.csv"] * 1})
    expected.call()

    world = World(files)
    assert world.call(*FEW_CHUNKS) is None
    for writes in (1, 2, 3):
        world.store.kill_at = len(world.store.writes) + writes
        with pytest.raises(KilledError):
            world.call()
        world.store.kill_at = None
    assert world.call() is not None

    assert world.objects() == expected.objects()


def test_a_long_call_writes_checkpoints_so_that_a_kill_loses_only_some_parts() -> None:
    world = World({"a.csv": table(20_000).encode()})
    world.store.kill_at = 2 * PARTS_A_CHECKPOINT + 4
    with pytest.raises(KilledError):
        world.call()
    world.store.kill_at = None

    assert KEYS.staging in world.store.objects
    assert world.call() is not None
    assert world.read < len(world.files["a.csv"])


def test_an_input_that_was_replaced_between_two_calls_is_refused() -> None:
    world = World(INPUTS["ASCII"][0])
    assert world.call(*FEW_CHUNKS) is None
    world.etag = "another"

    with pytest.raises(ObjectChangedError, match="replaced while it was staged"):
        world.call()


def test_a_checkpoint_of_an_earlier_execution_of_the_name_does_not_count() -> None:
    world = World(INPUTS["ASCII"][0])
    assert world.call(*FEW_CHUNKS) is None
    checkpoint = world.store.objects[KEYS.staging]
    world.store.objects[KEYS.staging] = checkpoint.replace(b"2026", b"2025")
    world.etag = "another"

    assert world.call() is not None


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_a_mistake_in_a_later_call_names_the_same_line(packed: Callable[[bytes], bytes]) -> None:
    body = packed((table(3000) + "only one cell\n").encode())
    refusals = []
    for remaining in ((900.0,), FEW_CHUNKS):
        with pytest.raises(InvalidInputError) as refused:
            World({"a.csv": body}).finish(*remaining)
        refusals.append(str(refused.value))

    assert refusals[0] == refusals[1]
    assert "line 5,5" in refusals[0] or "line 55" in refusals[0]


def test_mistakes_are_reported_when_the_time_is_over_and_nothing_is_kept() -> None:
    world = World({"a.csv": ("a,b\n1\n" + "1,2\n" * 50_000).encode()})

    with pytest.raises(InvalidInputError, match="more or fewer cells"):
        world.finish(900.0, 900.0, 0.0)

    assert world.store.uploads == {}
    assert KEYS.staging not in world.store.objects


def test_a_file_without_places_that_does_not_fit_into_one_call_is_refused_with_the_figure() -> None:
    world = World({"a.xlsx": WRITERS["xlsx"](SHEET)})

    with pytest.raises(InvalidInputError, match=r"15 minutes are not enough for the file .* so far"):
        world.call(900.0, 100.0, 0.0)

    assert world.store.uploads == {}


def test_a_file_whose_start_alone_takes_a_call_is_refused_instead_of_called_for_ever() -> None:
    world = World(INPUTS["Parquet"][0])
    assert world.call(*FEW_CHUNKS) is None

    with pytest.raises(InvalidInputError, match="15 minutes are not enough for the file"):
        world.call(100.0)


def test_without_time_to_plan_another_call_plans() -> None:
    world = World({"a.csv": b"a,b\n1,2\n,\n"})

    assert world.call(900.0, 900.0, 200.0) is None
    writes = len(world.store.writes)
    finished = world.call(200.0)

    assert finished is not None
    assert (finished.total_rows, finished.rows_skipped) == (2, 1)
    assert len(world.store.writes) == writes


@dataclass
class SlowCall:
    """The time of a call that reads ``bytes_a_second``. The file stands for one of 10 GB."""

    world: World
    bytes_a_second: float

    def remaining_seconds(self) -> float:
        (body,) = self.world.files.values()
        return 900.0 - self.world.read / len(body) * 10e9 / self.bytes_a_second


def test_ten_gigabytes_at_eleven_megabytes_a_second_take_two_calls() -> None:
    files = {"a.csv": table(40_000).encode()}
    at_once, slow = World(files), World(files)
    at_once.call()

    calls, finished = 0, None
    while finished is None:
        calls += 1
        slow.read = 0
        finished = Stager(slow.store, KEYS, EXECUTION, "etag", SlowCall(slow, 11e6)).stage(slow.open(), slow.form)

    assert calls == 2
    assert slow.objects() == at_once.objects()
