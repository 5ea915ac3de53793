"""Runs from a notebook: ``Deployment("stage").run(frame, target="sentiment").wait().df()``.

pandas is needed for data frames only; it is imported when one is asked for.
"""

from __future__ import annotations

import html
import io
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_processor_client import following, runs
from batch_processor_client.deployment import DEFAULT_ENVIRONMENT
from batch_processor_client.deployment import Deployment as Outputs
from batch_processor_client.documents import execution_name
from batch_processor_client.errors import ClientError
from batch_processor_client.executions import Ending, name_of
from batch_processor_client.files import open_object, readable_file
from batch_processor_client.guesses import guess_document, read_header
from batch_processor_client.inputs import named_files
from batch_processor_client.progress import Progress, clock, money
from batch_processor_client.targets import find_target

if TYPE_CHECKING:
    import pandas

ENDED_WELL = "SUCCEEDED"


class Deployment:
    """A deployment of Batch Processor: ``local``, ``stage`` or ``prod`` of the clone around the notebook.

    Elsewhere, ``outputs`` is the file with what ``make output`` prints. Raises ClientError when nothing is deployed.
    """

    def __init__(self, environment: str = DEFAULT_ENVIRONMENT, outputs: str | Path | None = None) -> None:
        self._outputs = Outputs.find(environment, None if outputs is None else Path(outputs))

    def run(
        self,
        rows: pandas.DataFrame | str | Path,
        target: str,
        columns: Mapping[str, str] | None = None,
        *,
        document: Mapping[str, Any] | None = None,
        max_concurrency: int | None = None,
        name: str | None = None,
    ) -> Run:
        """Start a run of a data frame's rows or of a file, and return at once.

        ``columns`` maps columns to fields of the target; the others are guessed as by ``make run``. ``document`` adds
        to the guessed one, such as an ``output_mapping``. Raises ClientError or InvalidInputError before anything is
        uploaded.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = _file_of(rows, Path(folder))
            header = read_header(named_files(path))
            guess = guess_document(find_target(self._outputs, target), header.columns, columns, max_concurrency)
            started = name or execution_name(target, datetime.now(UTC))
            arn = runs.start(self._outputs, {**guess.document, **(document or {})}, started, path)
        return Run(self._outputs, arn)

    def follow(self, execution: str) -> Run:
        """A run that was started before, by its name or ARN."""
        return Run(self._outputs, self._outputs.execution_arn(execution))


class Run:
    """A started run. In a notebook, it shows its progress."""

    def __init__(self, deployment: Outputs, arn: str) -> None:
        self._deployment = deployment
        self._arn = arn
        self._following: Iterator[Progress] = following.follow(deployment, arn)
        self.progress = Progress(execution=name_of(arn))
        """The progress at the last look."""

    @property
    def name(self) -> str:
        return name_of(self._arn)

    def look(self) -> Progress:
        """The progress now; after the end, the last one."""
        self.progress = next(self._following, self.progress)
        return self.progress

    def wait(self) -> Run:
        """Wait for the end, and show the progress in a notebook. Raises ClientError if the run failed."""
        display = _display(self)
        for progress in self._following:
            self.progress = progress
            display.update(self)
        ending = self._ending()
        if ending.status != ENDED_WELL:
            raise ClientError(f"{self.name} ended {ending.status}: {ending.error} {ending.cause}".rstrip())
        return self

    def df(self) -> pandas.DataFrame:
        """The output. Cells of a CSV are text, as they are in the file. Waits for the end.

        pandas reads Parquet with pyarrow, and workbooks with openpyxl.
        """
        return self._frame("output_s3_uri")

    def failures(self) -> pandas.DataFrame:
        """The failed rows with their messages in ``_error_message``. Waits for the end."""
        return self._frame("failed_rows_s3_uri")

    def _ending(self) -> Ending:
        for progress in self._following:
            self.progress = progress
        assert self.progress.ending is not None
        return self.progress.ending

    def _frame(self, address: str) -> pandas.DataFrame:
        ending, frames = self._ending(), _pandas()
        uri = (ending.document or {}).get(address)
        if uri is None:
            if ending.document is None:
                raise ClientError(f"{self.name} ended {ending.status} and left no rows: {ending.error} {ending.cause}")
            return frames.DataFrame()
        content = io.BytesIO(b"".join(open_object(self._deployment, uri)))
        frame: pandas.DataFrame
        match Path(uri).suffix:
            case ".parquet":
                frame = frames.read_parquet(content)
            case ".jsonl":
                frame = frames.read_json(content, lines=True)
            case ".xlsx":
                frame = frames.read_excel(content)
            case _:
                frame = frames.read_csv(content, dtype=str, keep_default_na=False)
        return frame

    def _repr_html_(self) -> str:
        """The run as a notebook shows it. Every text from outside is escaped."""
        progress = self.progress
        total, done = progress.total or 0, progress.done
        parts = [f"{done:,} of {total:,} rows" if total else "checking the input", f"{progress.failed:,} failed"]
        if progress.in_flight is not None:
            parts.append(f"{progress.in_flight:,} in flight")
        if progress.cost_usd is not None:
            parts.append(f"about {money(progress.cost_usd)} so far")
        if progress.seconds_left is not None and progress.ending is None:
            parts.append(f"{clock(progress.seconds_left)} left")
        parts += progress.notes
        state = progress.ending.status if progress.ending else "RUNNING"
        cause = progress.ending.cause if progress.ending and progress.ending.document is None else ""
        return (
            f"<div><b>{html.escape(self.name)}</b> {html.escape(state)}<br>"
            f'<progress max="{max(total, 1)}" value="{done}" style="width: 20em"></progress> '
            f"{html.escape(' · '.join(parts))}"
            f"{f'<pre>{html.escape(cause)}</pre>' if cause else ''}</div>"
        )


def _file_of(rows: Any, folder: Path) -> Path:
    """The file to upload. A data frame becomes a CSV without its index."""
    if isinstance(rows, str | Path):
        return readable_file(rows)
    if not hasattr(rows, "to_csv"):
        raise ClientError(f"Rows are a data frame or a path, not {type(rows).__name__}.")
    path = folder / "rows.csv"
    rows.to_csv(path, index=False, lineterminator="\n")
    return path


def _pandas() -> Any:
    try:
        import pandas  # noqa: PLC0415 (it is an extra of the package)
    except ImportError:
        raise ClientError("Data frames need pandas: pip install './client[notebook]' in the clone.") from None
    return pandas


class _Silent:
    """The display of a program that is not a notebook."""

    def update(self, _: Any) -> None: ...


def _display(shown: Run) -> Any:
    """The notebook's display of a run, which its progress updates."""
    try:
        from IPython import display, get_ipython  # noqa: PLC0415 (a notebook has it)
    except ImportError:
        return _Silent()
    if get_ipython() is None:
        return _Silent()
    return display.display(shown, display_id=True)
