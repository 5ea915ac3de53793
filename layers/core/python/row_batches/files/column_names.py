"""The names under which a file's columns are addressed, made from its header.

A header can hold what no mapping could address: a column without a name (pandas and R write their index so) or a name
that occurs more than once. Such a column gets a name of its own for the input document and the target; the output's
header repeats the file's header as it was written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from foundation.problems import shown

_NAMED = 5


def addressed(header: Sequence[str]) -> list[str]:
    """One name for each column of ``header``, all different.

    A column without a name, or with a blank one, is ``column_<n>``, n being its 1-based place. The second column called
    ``name`` is ``name_2``, the third ``name_3``. A name that the header itself has is never taken for another column:
    the next free number is used.
    """
    taken = {name for name in header if name.strip()}
    occurrences: Counter[str] = Counter()
    names = []
    for place, written in enumerate(header, 1):
        if not written.strip():
            name = _free(f"column_{place}", 1, taken)
        else:
            occurrences[written] += 1
            name = written if occurrences[written] == 1 else _free(written, occurrences[written], taken)
        taken.add(name)
        names.append(name)
    return names


def _free(base: str, number: int, taken: set[str]) -> str:
    name = base if number == 1 else f"{base}_{number}"
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name


def naming_warnings(header: Sequence[str], names: Sequence[str]) -> list[str]:
    """What to tell the user about columns that are not addressed by what the header says; [] when all are."""
    unnamed = [name for written, name in zip(header, names, strict=True) if not written.strip()]
    repeated = [
        f"{shown(name)} (column {place})"
        for place, (written, name) in enumerate(zip(header, names, strict=True), 1)
        if written.strip() and written != name
    ]
    warnings = []
    if len(unnamed) == 1:
        warnings.append(f"The header has a column without a name. It is addressed as {unnamed[0]}.")
    elif unnamed:
        warnings.append(f"The header has {len(unnamed):,} columns without a name, addressed as {_listed(unnamed)}.")
    if repeated:
        warnings.append(f"The header repeats names. The later columns are addressed as {_listed(repeated)}.")
    return warnings


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
