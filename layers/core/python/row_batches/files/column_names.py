"""Names that address a file's columns, derived from its header.

A header can have columns that no mapping can address: columns without a name (pandas and R write their index this way),
and names that occur more than once. Such a column gets a unique name for the input document and the target. The
output's header is the same as the file's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from foundation.problems import shown

_NAMED = 5


def addressed(header: Sequence[str]) -> list[str]:
    """One name for each column of ``header``, all different.

    A column without a name, or with a blank one, is ``column_<n>``, where n is its 1-based position. The second column
    called ``name`` is ``name_2``, the third ``name_3``. If the header itself has such a name, the next free number is
    used.
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
    """Warnings about columns with another name than in the header; [] if there are none."""
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
