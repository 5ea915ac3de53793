"""Groups failed rows by their cause: the name of the error, and its message without what differs from row to row.

Numbers, ids, quoted texts, times and addresses in a message become placeholders, so that rows that failed for the same
reason have one cause. A cause therefore holds no quoted value and no number of a row. It can still hold words that the
target put into its message: if ``notification_config.include_details`` is false, notifications have ``without_texts``.

Memory: up to ``MOST_CAUSES`` causes with up to ``MOST_ROWS`` row numbers each. Time: linear in the length of the text.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Self

from foundation.lazy_model import LazyModel
from row_batches.rows.records import RowFailure, RowRecord, RowStatus
from row_batches.targets.protocol import ROW_TIMEOUT

MOST_CAUSES = 100
MOST_ROWS = 5
MOST_SHOWN = 20
"""The summary, the notification and the table of runs show this many causes. The rest counts as "other"."""
MOST_TEXT_READ = 1_000
"""The first characters of a message. Longer ones are cut when the row fails (``targets.protocol``)."""
MOST_MESSAGE_CHARACTERS = 200
MOST_NAME_CHARACTERS = 100
ID_CHARACTERS = 8
OTHER = "other"
"""The name of the rows whose causes are not shown."""

# The patterns are texts, which ``re`` compiles at their first use: most runs have no failed row.
_VARIABLE = r"""
      (?P<url>(?:https?|s3|wss?|ftp)://[^\s"'<>)\]}]+)
    | (?P<arn>\barn:aws[^\s"',<>)\]}]+)
    | (?P<text>"[^"]*+" | `[^`]*+` | “[^“”]*+” | «[^«»]*+» | (?<!\w)'[^']*+'(?!\w))
    | (?P<time>\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)?(?:Z|[+-]\d\d:?\d\d)?)
    | (?P<id>\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b)
    | (?P<word>[^\W_]+)
    """
"""No alternative has a repetition inside another one. A quote without its partner is looked for up to the next one."""
_NUMBERS = r"<number>(?:[.,:/]<number>)+"
_IDS = r"<id>(?:[-_]<(?:id|number)>)+"
_NAME = r"[A-Za-z][\w.]{0,99}(?=: )"
_IDENTIFIER = r"[\w.]+"
_FEWEST_ID_CHARACTERS = 6
"""A word with a digit in it is an id from this length on. Shorter ones with one digit, such as ``utf8``, stay."""


@lru_cache(maxsize=1_024)
def normalised(text: str) -> str:
    """The text with placeholders such as ``<number>`` for what differs from row to row, on one line, cut."""
    line = " ".join(text[:MOST_TEXT_READ].split())
    line = re.sub(_VARIABLE, _placeholder, line, flags=re.VERBOSE)
    line = re.sub(_IDS, "<id>", re.sub(_NUMBERS, "<number>", line))
    return line if len(line) <= MOST_MESSAGE_CHARACTERS else line[: MOST_MESSAGE_CHARACTERS - 1] + "…"


def _placeholder(found: re.Match[str]) -> str:
    kind = str(found.lastgroup)
    if kind != "word":
        return f"<{kind}>"
    word = found.group()
    digits = sum(map(str.isdigit, word))
    if not digits:
        return word
    if digits == len(word) or (word[0].isdigit() and len(word) < _FEWEST_ID_CHARACTERS):
        return "<number>" + word.lstrip("0123456789" if digits < len(word) else word)
    return "<id>" if digits > 1 or len(word) >= _FEWEST_ID_CHARACTERS else word


def name_of(error_name: str, message: str, status: str) -> str:
    """The name of a failed row's error. Rows of an earlier release lack it, but their message can begin with it."""
    if error_name:
        is_identifier = re.fullmatch(_IDENTIFIER, error_name) is not None
        return (error_name if is_identifier else normalised(error_name))[:MOST_NAME_CHARACTERS]
    if status == RowStatus.TIMEOUT:
        return ROW_TIMEOUT
    named = re.match(_NAME, message)
    return named.group() if named else ""


def cause_id(error: str, message: str) -> str:
    """The id of a cause. It must not change from release to release, because runs name causes of earlier runs."""
    digest = hashlib.sha256(f"{error}\n{message}".encode()).hexdigest()[:ID_CHARACTERS]
    return f"{error or 'Error'}-{digest}"


class Cause(LazyModel):
    """Rows that failed for one reason: how many, and the first ``MOST_ROWS`` of them. ``message`` is normalised."""

    error: str
    message: str
    count: int = 0
    rows: list[int] = []

    @classmethod
    def of(cls, error_name: str, error: str, status: str) -> Self:
        """The cause of a row that failed with this error, without rows."""
        name = name_of(error_name, error, status)
        return cls(error=name, message=normalised(error.removeprefix(f"{name}: ")))

    @property
    def id(self) -> str:
        return cause_id(self.error, self.message)

    @property
    def cure(self) -> str:
        """The advice for a person who wants to fix it."""
        from row_batches.run.cures import cure_of  # noqa: PLC0415 (no worker asks for it)

        return cure_of(self.error, self.message).advice

    @property
    def for_a_person(self) -> dict[str, Any]:
        """The cause in summary and notification."""
        return {"id": self.id, **self.model_dump(), "cure": self.cure}

    def is_one_of(self, chosen: Iterable[str]) -> bool:
        """Whether ``chosen`` has its id, or the name of its error."""
        return not {self.id, self.error}.isdisjoint(chosen)


class Causes(LazyModel):
    """Counts failed rows by cause. If there are too many causes, the rarest are dropped: they count as "other"."""

    found: dict[str, Cause] = {}
    """By id."""

    def add(self, failures: Iterable[RowFailure]) -> None:
        """Count failed rows, which ascend."""
        rows: dict[tuple[str, str, str], list[int]] = {}
        for failure in failures:
            key = failure.get("error_name", ""), failure["error"], failure["status"]
            rows.setdefault(key, []).append(failure["row"])
        for (error_name, error, status), failed in rows.items():
            self.count(error_name, error, status, failed)

    def count(self, error_name: str, error: str, status: str, rows: list[int]) -> None:
        """Count ``rows``, which ascend and failed with the same error."""
        cause = Cause.of(error_name, error, status)
        if cause.id not in self.found and len(self.found) >= MOST_CAUSES:
            self._drop_the_rarest()
        cause = self.found.setdefault(cause.id, cause)
        cause.count += len(rows)
        cause.rows = sorted({*cause.rows, *rows[:MOST_ROWS]})[:MOST_ROWS]

    def _drop_the_rarest(self) -> None:
        """Drop half of the causes, so that a frequent cause that comes late is counted as well."""
        frequent = Counter({key: cause.count for key, cause in self.found.items()}).most_common(MOST_CAUSES // 2)
        self.found = {key: self.found[key] for key, _ in frequent}

    @property
    def most_frequent(self) -> list[Cause]:
        """Up to ``MOST_SHOWN`` causes, the most frequent first."""
        return most_frequent(self.found.values())[:MOST_SHOWN]

    @classmethod
    def of_rows(cls, records: Iterable[RowRecord]) -> Self:
        """The causes of those finished rows that failed."""
        causes = cls()
        for record in records:
            if record["status"] != RowStatus.SUCCESS:
                causes.count(record.get("error_name", ""), record["error"], record["status"], [record["row"]])
        return causes


def most_frequent(causes: Iterable[Cause]) -> list[Cause]:
    """The causes, the most frequent first."""
    return sorted(causes, key=lambda cause: (-cause.count, cause.rows))


def shown_causes(causes: Causes, failed: int) -> list[dict[str, Any]]:
    """``failures_by_cause`` of ``failed`` rows, for the summary: the most frequent causes, and the rest as "other"."""
    shown = [cause.for_a_person for cause in causes.most_frequent]
    other = failed - sum(cause["count"] for cause in shown)
    if other > 0:
        advice = "See failed_rows.csv: these rows failed for many other reasons."
        shown.append({"id": OTHER, "error": OTHER, "message": "", "count": other, "rows": [], "cure": advice})
    return shown


def without_texts(shown: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """``failures_by_cause`` without messages and rows: the number of rows by error name, and what to do."""
    counts: dict[tuple[str, str], int] = {}
    for cause in shown:
        key = cause["error"], cause["cure"]
        counts[key] = counts.get(key, 0) + cause["count"]
    return [{"error": error, "count": count, "cure": cure} for (error, cure), count in counts.items()]
