"""Write the tables of the reference pages that come from the code: `make reference`.

Only the text between ``<!-- table: name -->`` and ``<!-- end -->`` is generated; the rest of a page is written by hand.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from batch_processor_client import cli, target_files
from bedrock_batches.api.routes import ROUTES
from bedrock_batches.request.models import Model, model_table, sources_of_models
from bedrock_batches.violations import FILTERS, TIERS
from row_batches.document import agent_schema, batch_config, deployment_config, input_format, output_format
from row_batches.extraction.methods import METHOD_OF
from row_batches.extraction.transforms import TRANSFORMS, RegexTransform
from row_batches.files.opening import FORMATS
from row_batches.files.writers import WRITERS
from row_batches.mapping import models
from row_batches.mapping.metadata_columns import METADATA
from row_batches.mapping.output_types import OUTPUT_TYPES
from row_batches.mapping.transformations import TRANSFORMATION_OF, FallibleTransformation
from tools import scale
from tools.errors import CommandError, exit_code_of

REPOSITORY = Path(__file__).resolve().parent.parent
REFERENCE = REPOSITORY / "docs" / "reference"
_PLACE = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [" | ".join(cell.replace("|", "\\|") for cell in line) for line in (head, *rows)]
    lines.insert(1, " | ".join("---" for _ in head))
    return "".join(f"| {line} |\n" for line in lines)


def fields(model: type[BaseModel]) -> str:
    """The fields of a model: name, default, and meaning with limits. Raises CommandError for a missing description."""
    rows = []
    for name, field in model.model_fields.items():
        if not field.description:
            raise CommandError(f"{model.__name__}.{name} has no description: write one, for the reference page.")
        limits = _limits(field)
        rows.append((f"`{name}`", _default(field), f"{field.description}{f' ({limits})' if limits else ''}"))
    return table(("field", "default", "meaning"), rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "see below"
    return "none" if field.default is None else f"`{json.dumps(field.default)}`"


def _limits(field: FieldInfo) -> str:
    """The allowed values, or the bounds."""
    choices = _choices(field.annotation)
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices).replace("\t", "\\t")
    bounds = {
        name: f"{getattr(item, name):,}"
        for item in field.metadata
        for name in ("ge", "gt", "le")
        if hasattr(item, name)
    }
    if "ge" in bounds and "le" in bounds:
        return f"{bounds['ge']} to {bounds['le']}"
    words = (("at least", "ge"), ("more than", "gt"), ("at most", "le"))
    return ", ".join(f"{word} {bounds[name]}" for word, name in words if name in bounds)


def _choices(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next(filter(None, map(_choices, get_args(annotation))), ()) if get_origin(annotation) is not dict else ()


def file_formats() -> str:
    rows = [(f"`{one.name}`", one.doc, one.rows, one.cells) for one in FORMATS]
    return table(("`type`", "the file", "rows", "cells"), rows)


def transformations() -> str:
    rows = [
        (
            f"`{name}`",
            _config(member.model_fields["config"].annotation),
            "yes" if issubclass(member, FallibleTransformation) else "no",
            member.doc,
            f"`{json.dumps(member.example)}`",
        )
        for name, member in TRANSFORMATION_OF.items()
    ]
    return table(("`type`", "`config`", "takes a `default`", "gives", "example of `config`"), rows)


def _config(model: Any) -> str:
    """The fields of a transformation's ``config``, with their defaults."""
    return ", ".join(
        f"`{name}`" if field.is_required() else f"`{name}` ({_default(field)})"
        for name, field in model.model_fields.items()
    )


def output_types() -> str:
    return table(("`type`", "the cell"), ((f"`{kind.name}`", kind.doc) for kind in OUTPUT_TYPES))


def output_formats() -> str:
    return table(("`type`", "what is written"), ((f"`{writer.name}`", writer.doc) for writer in WRITERS))


def extraction_methods() -> str:
    rows = [
        (f"`{name}`", f"`{member.schema_type}`", member.doc, f"`{json.dumps({'method': name, **member.example})}`")
        for name, member in METHOD_OF.items()
    ]
    return table(("`method`", "`type` in a schema", "looks at", "example"), rows)


def transforms() -> str:
    return table(("transform", "gives"), ((f"`{one.name}`", one.doc) for one in TRANSFORMS))


def metadata_columns() -> str:
    rows = [(f"`{column.name}`", "on request" if column.on_request else "default", column.doc) for column in METADATA]
    return table(("column", "in the output", "the cell"), rows)


def defaults() -> str:
    names = (name for name in batch_config.ExecutionConfig.model_fields if name not in deployment_config.PER_BATCH)
    return ", ".join(f"`{name}`" for name in names) + "\n"


def bedrock_filters() -> str:
    rows = [(f"`{one.name}`", one.doc, f"`{json.dumps(one.example)}`") for one in FILTERS]
    return table(("field of `filters`", "takes", "example"), rows)


def bedrock_tiers() -> str:
    return table(("tier", "records"), ((f"`{tier.name}`", tier.doc) for tier in TIERS))


def bedrock_models() -> str:
    head = (
        "model",
        "batch inference in",
        "input, USD",
        "output, USD",
        "prices as of",
        "structured output",
        "Flex tier",
        "end of life",
    )
    known = {True: "yes", False: "no", None: "not known"}
    rows = [
        (
            f"`{model_id}`",
            _batch_regions(model_id, model),
            f"{model.input_usd_per_1k_tokens:f}",
            f"{model.output_usd_per_1k_tokens:f}",
            str(model.as_of),
            known[model.structured_output],
            known[model.flex_tier],
            str(model.end_of_life or "not announced"),
        )
        for model_id, model in model_table().items()
    ]
    return table(head, rows)


def _batch_regions(model_id: str, model: Model) -> str:
    if not model.batch:
        return "no region"
    if model.batch_regions is not None:
        return ", ".join(f"`{region}`" for region in model.batch_regions)
    return f"the regions of the `{model_id.split('.', maxsplit=1)[0]}.` profile"


def model_sources() -> str:
    return table(("property", "source"), ((f"`{names}`", source) for names, source in sources_of_models().items()))


def bedrock_routes() -> str:
    return table(("route", "does"), ((f"`{route.key()}`", route.doc) for route in ROUTES))


def scale_simulations() -> str:
    head = (
        "rows",
        "target",
        "mode",
        "rows in flight",
        "rows a second",
        "writes a second",
        "partition keys",
        "transitions a second",
        "Lambda at once",
        "limit",
        "hours",
        "USD",
    )
    rows = [
        (
            f"{one.rows:,}",
            f"`{one.target}`",
            f"`{one.storage}`",
            f"{one.in_flight:,}",
            f"{one.rows_rate:,.0f}",
            f"{one.write_rate:,.0f}",
            f"{one.partitions or '–'}",
            f"{one.transitions_rate:,.0f}",
            f"{one.lambdas or '–'}",
            one.limit,
            f"{one.hours:,.1f}",
            f"{one.usd:,.0f}",
        )
        for one in scale.simulations()
    ]
    return table(head, rows)


def scale_quotas() -> str:
    rows = [(one.name, f"{one.value:,} {one.unit}", one.stage, one.source) for one in scale.QUOTAS]
    return table(("quota", "default", "met by", "source"), rows)


def cli_commands() -> str:
    """The commands of ``batch-processor``: their arguments and options, and the first paragraph of their help."""
    rows = []
    for name, command in _commands(typer.main.get_command(cli.app), ()):
        taken = [_taken(parameter) for parameter in command.params if parameter.name != "help"]
        help_text = " ".join((command.help or "").split("\n\n")[0].split())
        rows.append((f"`{' '.join(name)}`", "<br>".join(taken), help_text))
    return table(("command", "takes", "does"), rows)


def _commands(command: Any, name: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The commands below a command, by name; the command itself if it has none."""
    below: dict[str, Any] = getattr(command, "commands", {})
    if not below:
        yield name, command
    for part in sorted(below):
        yield from _commands(below[part], (*name, part))


def _taken(parameter: Any) -> str:
    """An argument or option with its meaning."""
    said = f": {parameter.help}" if getattr(parameter, "help", None) else ""
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`{said}"
    return f"`{parameter.opts[-1]}`{said}"


def schema(model: type[BaseModel], title: str) -> str:
    """The JSON Schema of a file that people write, for their editors."""
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema(), "title": title}
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


Tables = Mapping[str, Callable[[], str]]
INPUT_DOCUMENT: Tables = MappingProxyType(
    {
        "document": lambda: fields(batch_config.BatchConfig),
        "formats": file_formats,
        "target": lambda: fields(batch_config.TargetReference),
        "input_format": lambda: fields(input_format.InputFormat),
        "input_mapping": lambda: fields(models.InputMapping),
        "transformations": transformations,
        "output_mapping": lambda: fields(models.OutputMapping),
        "columns": lambda: fields(models.OutputColumn),
        "output_types": output_types,
        "output_format": lambda: fields(output_format.OutputFormat),
        "output_formats": output_formats,
        "metadata_columns": metadata_columns,
        "execution_config": lambda: fields(batch_config.ExecutionConfig),
        "stop_after": lambda: fields(batch_config.StopAfter),
        "rate": lambda: fields(batch_config.Rate),
        "retry_policy": lambda: fields(batch_config.RetryPolicy),
        "trial": lambda: fields(batch_config.Trial),
        "notification_config": lambda: fields(batch_config.NotificationConfig),
    }
)


ADMIN_API: Tables = MappingProxyType(
    {
        "filters": bedrock_filters,
        "tiers": bedrock_tiers,
        "routes": bedrock_routes,
    }
)
MODELS: Tables = MappingProxyType({"models": bedrock_models, "sources": model_sources})
SCALE: Tables = MappingProxyType({"simulations": scale_simulations, "quotas": scale_quotas})
EXTRACTION: Tables = MappingProxyType(
    {
        "methods": extraction_methods,
        "transforms": transforms,
        "regex_transform": lambda: fields(RegexTransform),
        "schema": lambda: fields(agent_schema.AgentSchema),
        "schema_field": lambda: fields(agent_schema.SchemaField),
        "schema_extraction": lambda: fields(agent_schema.FieldExtraction),
    }
)
DEPLOYMENT_CONFIG: Tables = MappingProxyType(
    {
        "deployment_config": lambda: fields(deployment_config.DeploymentConfig),
        "agents": lambda: fields(deployment_config.AgentConfig),
        "defaults": defaults,
    }
)
SCHEMAS: Mapping[Path, Callable[[], str]] = MappingProxyType(
    {
        REFERENCE / "batch-processor-config.schema.json": lambda: schema(
            deployment_config.DeploymentConfig, deployment_config.FILE
        ),
        REPOSITORY / "schemas" / "agent-schema.schema.json": lambda: schema(
            agent_schema.AgentSchema, "Schema of an agent's output"
        ),
    }
)
TARGET_FILE: Tables = {
    "target": lambda: fields(target_files.TargetFile),
    "permission": lambda: fields(target_files.Permission),
    "input": lambda: fields(target_files.InputField),
    "output": lambda: fields(models.DeclaredColumn),
    "vpc": lambda: fields(target_files.Vpc),
    "prices": lambda: fields(target_files.Prices),
    "rate": lambda: fields(batch_config.Rate),
}

CLI: Tables = MappingProxyType({"commands": cli_commands})

PAGES: Mapping[Path, Tables] = MappingProxyType(
    {
        REFERENCE / "input-document.md": INPUT_DOCUMENT,
        REFERENCE / "admin-api.md": ADMIN_API,
        REFERENCE / "extraction.md": EXTRACTION,
        REFERENCE / "models.md": MODELS,
        REFERENCE / "scale.md": SCALE,
        REFERENCE / "deployment-config.md": DEPLOYMENT_CONFIG,
        REFERENCE / "target-file.md": TARGET_FILE,
        REFERENCE / "cli.md": CLI,
    }
)


def written(path: Path) -> str:
    """The page with its tables generated. Raises CommandError if the page has no place for a table."""
    page, tables = path.read_text(encoding="utf-8"), PAGES[path]
    missing = tables.keys() - {place["name"] for place in _PLACE.finditer(page)}
    if missing:
        raise CommandError(
            f"{path.name} has no place for {', '.join(sorted(missing))}: add <!-- table: … --> <!-- end -->."
        )
    return _PLACE.sub(lambda place: place[1] + tables[place["name"]]() + place[3], page)


def main() -> int:
    for path in PAGES:
        path.write_text(written(path), encoding="utf-8")
    for path, text in SCHEMAS.items():
        path.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
