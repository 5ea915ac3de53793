"""Writes violations.csv: made-up violations of seven agencies, the same bytes each time.

    python examples/violations/generate.py

The records cover every priority tier and typical sources of errors: quotes, commas, line breaks, other scripts, unknown
values, fatalities, fines at the limit of a tier, texts that look like SQL. Dates are in the three years before TODAY.
The companies do not exist.
"""

from __future__ import annotations

import csv
import json
import random
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

TODAY = date(2026, 10, 1)
COLUMNS = (
    "violation_id",
    "agency",
    "company_name",
    "fine_amount",
    "violation_type",
    "raw_title",
    "raw_description",
    "violation_details",
    "city",
    "state",
    "event_date",
)
RECORDS = {"osha": 600, "msha": 280, "nhtsa": 260, "faa": 260, "uscg": 240, "fra": 240, "epa": 240}
SUBJECTS = {
    "osha": ("1926.501(b)(13)", "fall protection", "roof edge"),
    "msha": ("56.14107(a)", "machine guarding", "conveyor tail pulley"),
    "nhtsa": ("49 CFR 573.6", "defect report", "brake hose recall"),
    "faa": ("14 CFR 91.13", "careless operation", "runway incursion"),
    "uscg": ("46 CFR 185.304", "navigation underway", "unlit tow"),
    "fra": ("49 CFR 213.109", "crosstie condition", "main track curve"),
    "epa": ("40 CFR 122.41", "permit condition", "stormwater outfall"),
}
TYPES = ("Serious", "Other-than-Serious", "Willful", "Repeat", "Failure to Abate", "serious", "SERIOUS")
TYPE_WEIGHTS = (30, 40, 8, 10, 6, 3, 3)
NAMES = ("Northgate", "Blue Heron", "Ridgeline", "Cedar & Sons", "Fjällvik Quarry", "O'Malley", "Três Rios", "東海")
TRADES = ("Roofing LLC", "Aggregates Inc.", "Motors", "Air Charter", "Towing, Inc.", "Rail Services", "Chemical Co.")
PLACES = (("Toledo", "OH"), ("Mobile", "AL"), ("Española", "NM"), ("St. John's", "FL"), ("Coeur d'Alene", "ID"))
EDGE_FINES = ("0.00", "49999.99", "50000.00", "50000.01", "100000.00", "100000.01")
REMARKS = (
    "",
    'The foreman said: "we never use it".',
    "Line one.\nLine two, with a comma.",
    "Employees; supervisors; contractors -- all exposed.",
    "' OR 1=1 --",
    "Trabajadores sin protección — 3 m de caída.",
    "作業員が保護具を着用していなかった。",
    "\N{WARNING SIGN} guard removed \N{WRENCH}",
)


def records(seed: int = 20261001) -> Iterator[dict[str, str]]:
    """The records in the order of the file."""
    chance = random.Random(seed)  # noqa: S311 (made-up data)
    for agency, count in RECORDS.items():
        for number in range(1, count + 1):
            yield record(chance, agency, number)


def record(chance: random.Random, agency: str, number: int) -> dict[str, str]:
    """One violation. About every tenth lacks a value, or has one at the limit of a tier."""
    rule, subject, place = SUBJECTS[agency]
    city, state = chance.choice(PLACES)
    details: dict[str, object] = {"inspection": f"{chance.randrange(10**9):09d}", "rule": rule}
    if chance.random() < 0.05:
        details["fatalities"] = chance.choice((1, 1, 1, 2, 5))
    elif chance.random() < 0.3:
        details["fatalities"] = 0
    if chance.random() < 0.2:
        details["note"] = chance.choice(REMARKS)
    large = chance.random() < (0.35 if agency == "osha" else 0.2)
    fine = chance.uniform(50_000, 250_000) if large else chance.lognormvariate(8.5, 1.0) % 50_000
    days = chance.randrange(30) if chance.random() < 0.04 else chance.randrange(1_095)
    values = {
        "company_name": f"{chance.choice(NAMES)} {chance.choice(TRADES)}",
        "fine_amount": EDGE_FINES[number % len(EDGE_FINES)] if number % 23 == 0 else f"{fine:.2f}",
        "violation_type": chance.choices(TYPES, TYPE_WEIGHTS)[0],
        "raw_title": f"{rule}: {subject}, {place}",
        "raw_description": (
            f"Inspectors found a breach of {rule} ({subject}) at the {place}; {chance.randrange(1, 40)} exposed. "
            f"{chance.choice(REMARKS)}"
        ).strip(),
        "violation_details": json.dumps(details, ensure_ascii=False),
        "city": city,
        "state": state,
        "event_date": (TODAY - timedelta(days=days)).isoformat(),
    }
    if chance.random() < 0.08:
        values[chance.choice(sorted(values))] = ""
    return {"violation_id": f"{agency.upper()}-{number:06d}", "agency": agency, **values}


def write(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records())


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("violations.csv"))
