"""Writes the formats that the document asks for besides CSV, when ``output.csv`` is complete."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from foundation.errors import Problem
from row_batches.document.output_format import OutputFormat
from row_batches.document.plan import Plan
from row_batches.files.result_file import FileProof
from row_batches.files.result_table import ResultTable, columns_of
from row_batches.files.writer import Progress
from row_batches.files.writers import WRITER_OF


@dataclass(frozen=True)
class Written:
    """The files of an output: their addresses by format, the warnings about them, and their hashes."""

    addresses: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    proofs: list[FileProof] = field(default_factory=list)

    def keys(self, output_key: str) -> list[str]:
        """The keys of the files; ``output_key`` is that of the CSV."""
        return [output_key, *(proof.key for proof in self.proofs)]


def write_formats(
    table: ResultTable,
    formats: OutputFormat,
    progress: dict[str, Progress],
    save: Callable[[], object],
    has_time: Callable[[float], bool],
    *,
    fresh: bool = False,
) -> bool:
    """Write the formats, one after the other. Returns whether there was time for all of them.

    ``progress`` has what earlier calls did, by format, and is updated; ``save`` is called after each update.
    ``has_time`` says whether there is time for a step of so many seconds. ``fresh`` says that this call begins with
    the formats, so no later call has more time: a step that is too long even then is left out, with its reason.
    """
    for name in formats.types:
        seconds = WRITER_OF[name].step_seconds(table.rows, len(table.columns))
        done = progress.get(name, Progress(place=table.start))
        steps = WRITER_OF[name].write(table, done)
        while not done.done:
            if has_time(seconds):
                done = next(steps)
            elif fresh and seconds and has_time(0):
                done = done.model_copy(update={"done": True, "left_out": _too_long(WRITER_OF[name].file, seconds)})
            else:
                return False
            fresh = False
            progress[name] = done
            save()
    return True


def _too_long(file: str, seconds: float) -> str:
    return (
        f"{file} is not written, because it can take {seconds:,.0f} seconds in one call, and even a new call had less "
        "time left. make remap writes it without that limit."
    )


def format_problems(plan: Plan) -> list[Problem]:
    """Why the output cannot have the formats that its document asks for."""
    columns = [column.name for column in columns_of(plan)]
    problems = (WRITER_OF[name].problem(plan.total_rows, columns) for name in plan.config.output_format.types)
    return [problem for problem in problems if problem is not None]


def written(table: ResultTable, progress: Mapping[str, Progress]) -> Written:
    """The files that ``write_formats`` wrote."""
    folder = f"s3://{table.objects.bucket}/{table.folder}"
    addresses = {name: folder + WRITER_OF[name].file for name, done in progress.items() if not done.left_out}
    warnings = [warning for done in progress.values() for warning in (done.left_out, *done.warnings) if warning]
    return Written(addresses, warnings, [proof for done in progress.values() for proof in done.proofs])
