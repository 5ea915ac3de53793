"""The section ``output_format`` of the input document: the files that the output is written as."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, PlainValidator

from foundation.problems import did_you_mean, listed
from foundation.validation import Part, refuse

OutputFormatName = Literal["csv", "xlsx", "jsonl", "parquet"]
"""The formats of ``files.writers``, which compares the two when it is imported."""


def _check_types(given: Any) -> str | list[str]:
    names = given if isinstance(given, list) else [given]
    known = get_args(OutputFormatName)
    if not names:
        refuse("is empty", "name at least one format")
    for name in names:
        if not isinstance(name, str) or name not in known:
            hint = did_you_mean(name, known) if isinstance(name, str) else ""
            refuse("not a format, or a list of formats", f"{hint}known: {listed(known)}")
    if len(set(names)) != len(names):
        refuse("a format is listed twice", "list each format once")
    return list(names) if isinstance(given, list) else str(given)


class OutputFormat(Part):
    """The files of the output. ``output.csv`` is always written; the other files are made from it."""

    type: Annotated[OutputFormatName | list[OutputFormatName], PlainValidator(_check_types)] = Field(
        default="csv", description="one format, or a list of formats that are written from the same rows"
    )
    bom: bool = Field(
        default=False,
        description="begin `output.csv` and `failed_rows.csv` with a byte order mark, by which Excel recognises UTF-8",
    )
    formulas: Literal["keep", "neutralise"] = Field(
        default="keep",
        description="a text from the target that a spreadsheet would read as a formula: `keep` writes it unchanged; "
        "`neutralise` puts a single quote in front of it. Numbers and original cells are never changed",
    )

    @property
    def neutralises(self) -> bool:
        """Whether texts of the target that look like formulas are marked in the CSV."""
        return self.formulas == "neutralise"

    @property
    def types(self) -> tuple[str, ...]:
        """The formats of the output, ``csv`` among them."""
        given = (self.type,) if isinstance(self.type, str) else self.type
        return tuple(dict.fromkeys(("csv", *given)))
