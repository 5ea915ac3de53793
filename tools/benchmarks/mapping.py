"""Compares compiled mappings with loops that use the same libraries anew for each row.

5 columns, a template, a concat and a JSONPath in; 5 columns out of a tool's answer. The sides give the same input and
the same cells, which is checked first. One thread; repetitions of the sides take turns.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jsonpath_rfc9535

from row_batches.mapping.mapping_in import compile_input_mapping
from row_batches.mapping.mapping_out import compile_output_mapping
from row_batches.mapping.models import InputMapping, OutputMapping
from row_batches.mapping.template_text import parse_template

REPETITIONS = 7
OURS_ROWS, PEER_ROWS = 20_000, 1_000
SPEEDUP_AIM = 10
ROWS_PER_SECOND_AIM = 20_000

COLUMNS = ["product_id", "title", "features", "details", "price"]
TEMPLATE = "Write a compelling product description for {title} with features: {features}"
SEPARATOR = " | "
DETAIL = "$.specs.battery.hours"
SOURCES = {
    "description": "$.description",
    "keywords": "$.keywords",
    "score": "$.scores.quality",
    "approved": "$.approved",
    "language": "$.meta.language",
}
TYPES = {"keywords": "json_string", "score": "number", "approved": "boolean"}
FORMAT = "%.2f"
DEFAULT = "unknown"

MAPPING_IN = {
    "column_mappings": {name: name for name in COLUMNS},
    "transformations": {
        "prompt": {"type": "template", "config": {"template": TEMPLATE}},
        "label": {"type": "concat", "config": {"columns": ["product_id", "title"], "separator": SEPARATOR}},
        "hours": {"type": "jsonpath", "config": {"column": "details", "path": DETAIL}},
    },
}
MAPPING_OUT = {
    "columns": [
        {"name": name, "source": source, "default": DEFAULT, "type": TYPES.get(name, "string")}
        | ({"format": FORMAT} if name == "score" else {})
        for name, source in SOURCES.items()
    ]
}

Row = tuple[list[str], dict[str, Any]]
Mapped = tuple[dict[str, Any], list[str]]
MapRow = Callable[[Row], Mapped]
Find = Callable[[str, Any], Any]


def rows(count: int) -> Iterator[Row]:
    """Cells and the tool's answer, no two alike."""
    for number in range(count):
        details = {"sku": f"S{number}", "specs": {"weight": number % 900, "battery": {"hours": number % 48}}}
        cells = [
            f"P{number:06}",
            f"Smart Watch {number}",
            f"GPS, {number} sensors",
            json.dumps(details),
            f"{number}.99",
        ]
        content: dict[str, Any] = {
            "description": f"A watch of its kind, number {number}, made to be worn. " * 3,
            "keywords": ["watch", f"model {number}"],
            "scores": {"quality": number / 7},
            "approved": number % 2 == 0,
        }
        yield cells, {"type": "tool_result", "tool_use_id": f"run:{number}:1", "content": content}


def ours() -> MapRow:
    """The product's mappers."""
    mapper_in = compile_input_mapping(InputMapping.model_validate(MAPPING_IN), COLUMNS)
    mapper_out = compile_output_mapping(OutputMapping.model_validate(MAPPING_OUT))
    return lambda row: (mapper_in.map(row[0]), mapper_out.map(row[1], row[1]["content"]).values)


def peer(find: Find) -> MapRow:
    """A plain loop: the template parsed for each row, JSONPaths looked up by ``find``."""

    def first(path: str, document: Any) -> Any:
        nodes = find(path, document)
        return nodes[0].value if nodes else None

    def render(name: str, value: Any) -> str:
        match TYPES.get(name):
            case "json_string":
                return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
            case "number":
                return str(FORMAT % value)
            case "boolean":
                return "true" if value else "false"
        return str(value)

    def map_row(row: Row) -> Mapped:
        cells, answer = row
        record = dict(zip(COLUMNS, cells, strict=True))
        template = parse_template(TEMPLATE)
        filled = (literal + record[name] for literal, name in zip(template.literals, template.names, strict=False))
        fields: dict[str, Any] = dict(record)
        fields["prompt"] = "".join(filled) + template.literals[-1]
        fields["label"] = SEPARATOR.join([record["product_id"], record["title"]])
        fields["hours"] = first(DETAIL, json.loads(record["details"]))
        values = []
        for name, source in SOURCES.items():
            for document in (answer, answer["content"], {"agent_output": answer["content"]}):
                value = first(source, document)
                if value is not None:
                    values.append(render(name, value))
                    break
            else:
                values.append(DEFAULT)
        return fields, values

    return map_row


def compiled_find() -> Find:
    """The library with each path compiled once."""
    queries = {path: jsonpath_rfc9535.compile(path) for path in (DETAIL, *SOURCES.values())}
    return lambda path, document: queries[path].find(document)


def rows_per_second(map_row: MapRow, given: list[Row]) -> float:
    """One pass over the rows."""
    started = time.perf_counter()
    for row in given:
        map_row(row)
    return len(given) / (time.perf_counter() - started)


def run() -> list[dict[str, Any]]:
    """Rows per second of one core, and how many times those of the plain loops that is."""
    given = list(rows(OURS_ROWS))
    sides = {
        "ours": (ours(), given),
        "parsed": (peer(jsonpath_rfc9535.find), given[:PEER_ROWS]),
        "compiled": (peer(compiled_find()), given[:PEER_ROWS]),
    }
    for row in given[:PEER_ROWS]:
        results = [map_row(row) for map_row, _ in sides.values()]
        assert all(result == results[0] for result in results), "the sides do different work"
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(REPETITIONS):
        for name, (map_row, its_rows) in sides.items():
            speeds[name].append(rows_per_second(map_row, its_rows))
    unit = "rows/s of one core"
    return [
        result("mapping", speeds["ours"], None, ROWS_PER_SECOND_AIM, unit),
        result("mapping_to_parsing_per_row", speeds["ours"], speeds["parsed"], SPEEDUP_AIM, unit),
        result(
            "mapping_to_compiled_paths", speeds["ours"], speeds["compiled"], None, f"{unit}; peer: paths compiled once"
        ),
    ]


def result(name: str, mine: list[float], others: list[float] | None, aim: float | None, unit: str) -> dict[str, Any]:
    """Medians; ``spread`` is (max - min) / median of what the aim is about. Larger is better."""
    figures = mine if others is None else [a / b for a, b in zip(mine, others, strict=True)]
    middle = statistics.median(figures)
    return {
        "name": name,
        "ours": statistics.median(mine),
        "peer": None if others is None else statistics.median(others),
        "ratio": None if others is None else middle,
        "aim": aim,
        "met": None if aim is None else middle >= aim,
        "unit": unit,
        "spread": (max(figures) - min(figures)) / middle,
    }
