"""A team's own targets: the folders in ``targets/``, which Terraform deploys and registers. They need no deployment.

A folder holds ``handler.py`` (a tool) or ``agent.asl.json`` (an agent), and can hold ``target.yaml``, the settings.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from batch_processor_client.errors import ClientError
from batch_processor_client.handler_code import function_of, modules_beside, returned_fields
from batch_processor_client.yaml_files import FileProblem, FileProblemsError, YamlFile, parse_yaml, read_yaml
from foundation.errors import Problem
from foundation.json_text import parse_json
from foundation.problems import listed
from foundation.validation import Part, matches, refuse
from row_batches.document.batch_config import Rate
from row_batches.mapping.models import MAX_OUTPUT_COLUMNS, DeclaredColumn

FOLDER = Path("targets")
SETTINGS, HANDLER, DEFINITION = "target.yaml", "handler.py", "agent.asl.json"
FREE_NAMES = ("lambda_function", "own_lambda_function", "own_lambda_handler")
"""Names for code whose own name cannot be imported. It takes the first that no module beside it has."""
NAME = r"[A-Za-z0-9_-]{1,64}"
"""As in the Terraform variable ``targets``."""
MOST_FUNCTION_NAME = 64 - len("batch-processor-target--stage")
"""A function's name has up to 64 characters (https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html)."""
TEMPLATES = Path(__file__).resolve().parent / "templates"

Kind = Literal["tool", "agent", "express_agent"]
Template = Literal["tool", "agent", "express"]


class Vpc(Part):
    """The VPC of a function that must reach private addresses."""

    subnet_ids: list[str] = Field(min_length=1, description="ids of the subnets")
    security_group_ids: list[str] = Field(min_length=1, description="ids of the security groups")


class Permission(Part):
    """The permissions of a target on AWS, besides writing its log."""

    actions: list[
        Annotated[
            str,
            matches(
                r"[a-z0-9-]+:[A-Za-z*]*[A-Za-z][A-Za-z*]*", "not an action of one service", "write s3:GetObject, say"
            ),
        ]
    ] = Field(min_length=1, description="IAM actions, such as `bedrock:InvokeModel`; never all of a service")
    resources: list[str] = Field(min_length=1, description="their ARNs")


class InputField(Part):
    """A field of the input that the target takes."""

    description: str = Field(default="", description="what it is, for people")
    required: bool = Field(default=True, description="whether the target needs it")


class Prices(Part):
    """The price of the tokens that the answers report, in USD."""

    input_usd_per_million_tokens: float = Field(ge=0, description="of input tokens")
    output_usd_per_million_tokens: float = Field(ge=0, description="of output tokens")


class TargetFile(Part):
    """``target.yaml``. All fields are optional."""

    kind: Kind | None = Field(
        default=None,
        description="`tool` for a `handler.py`, `agent` or `express_agent` for an `agent.asl.json`; none: by the file",
    )
    timeout_seconds: int = Field(default=60, ge=1, le=900, description="time-out of a tool's function")
    memory_mb: int = Field(default=256, ge=128, le=10_240, description="memory of a tool's function")
    environment: dict[str, str] = Field(default={}, description="environment variables of a tool; no secrets")
    secrets: dict[
        str,
        Annotated[
            str,
            matches(
                r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[^\s*]+",
                "not the ARN of a secret",
                "write arn:aws:secretsmanager:<region>:<account>:secret:<name>-<6 characters>",
            ),
        ],
    ] = Field(
        default={},
        description="environment variables of a tool with the ARNs of secrets that it may read from Secrets Manager",
    )
    vpc: Vpc | None = Field(default=None, description="the VPC that a tool works in; none: no VPC")
    permissions: list[Permission] = Field(default=[], description="the target's permissions on AWS")
    input: dict[str, InputField] = Field(
        default={}, description="the fields that it takes; `make run TARGET=…` maps columns of the same names to them"
    )
    output: list[DeclaredColumn] = Field(
        default=[],
        description="the columns of the output, in this order, for `make run TARGET=…`; a document names its own. "
        "None: one column, `result`, with the whole answer as JSON",
    )
    cost_per_call_usd: float | None = Field(default=None, ge=0, description="price of a call, for estimates and costs")
    prices: Prices | None = Field(default=None, description="prices of the tokens that its answers report")
    expected_seconds: float | None = Field(default=None, gt=0, description="usual duration of a call, for estimates")
    max_concurrency: int | None = Field(
        default=None, ge=1, le=10_000, description="most rows in flight over all runs in progress"
    )
    rate: Rate | None = Field(default=None, description="rows or tokens a minute over all runs in progress")
    output_schema: str | None = Field(
        default=None, description="name of the schema of its answers, in `schemas/`; none: the one with its name"
    )
    version: str = Field(default="1", min_length=1, description="version of its behaviour, stored with each answer")
    enabled: bool = Field(default=True, description="whether batches may call it")

    @field_validator("rate")
    @classmethod
    def _check_rate(cls, rate: Rate | None) -> Rate | None:
        if rate is not None and rate.rows_per_minute is None and rate.tokens_per_minute is None:
            refuse("the rate is empty", "write rows_per_minute, tokens_per_minute or both")
        return rate

    @field_validator("output")
    @classmethod
    def _check_output(cls, output: list[DeclaredColumn]) -> list[DeclaredColumn]:
        if len(output) > MAX_OUTPUT_COLUMNS:
            refuse(f"more than {MAX_OUTPUT_COLUMNS:,} columns", "declare those that you need")
        names = [column.name for column in output]
        for number, name in enumerate(names):
            if name in names[:number]:
                refuse("output has this column twice", "rename one of the two", at=(number, "name"))
        return output

    @model_validator(mode="after")
    def _check_variables(self) -> TargetFile:
        for name in sorted(self.environment.keys() & self.secrets.keys()):
            refuse("environment has this variable too", "rename one of the two", at=("secrets", name))
        return self


class TargetFolder(BaseModel):
    """A valid target. ``kind`` is never None."""

    model_config = ConfigDict(frozen=True)

    name: str
    path: Path
    kind: Kind
    settings: TargetFile


def create(name: str, *, file: Path | None = None, template: Template | None = None, folder: Path = FOLDER) -> Path:
    """Make a target's folder from the user's handler or definition, or from a template; return its path.

    With a handler come a ``requirements.txt`` and the modules and packages that it imports, if they are beside it. If
    its code shows what it returns, that is declared as its output, unless a field cannot be a column. Raises
    ClientError if the name cannot be one, is taken, or if the file is neither Python with a ``handler`` or
    ``lambda_handler`` nor the definition of a state machine.
    """
    if re.fullmatch(NAME, name) is None or len(name) > MOST_FUNCTION_NAME:
        raise ClientError(
            f"No target can be named {name!r}: 1 to {MOST_FUNCTION_NAME} letters, digits, - or _, say NAME=sentiment."
        )
    path = folder / name
    if path.exists():
        raise ClientError(f"{path} exists. Change its files and deploy again, or choose another NAME.")
    if (file is None) == (template is None):
        raise ClientError("Give your own code, FILE=handler.py, or a template, FROM=tool, FROM=agent or FROM=express.")
    if template is not None:
        shutil.copytree(TEMPLATES / template, path, ignore=shutil.ignore_patterns("__pycache__"))
        return path
    assert file is not None
    function = _function_of_code(file)
    settings = (TEMPLATES / "own" / SETTINGS).read_text(encoding="utf-8")
    fields = returned_fields(file.read_text(encoding="utf-8-sig")) if function else []
    settings += output_lines(fields, settings)
    beside = modules_beside(file) if function else []
    code_name = _name_in_folder(file, function, beside)
    path.mkdir(parents=True)
    try:
        shutil.copyfile(file, path / code_name)
        (path / SETTINGS).write_text(settings, encoding="utf-8")
        if code_name not in (HANDLER, DEFINITION):
            module = Path(code_name).stem
            (path / HANDLER).write_text(f'from {module} import {function} as handler\n\n__all__ = ["handler"]\n')
        for one in beside:
            if one.is_dir():
                shutil.copytree(one, path / one.name, ignore=_not_copied)
            else:
                shutil.copyfile(one, path / one.name)
        requirements = file.resolve().parent / "requirements.txt"
        if function and requirements.is_file():
            shutil.copyfile(requirements, path / requirements.name)
    except OSError as error:  # shutil.Error is one
        shutil.rmtree(path)
        raise ClientError(f"The code of {file} cannot be copied: {error}.") from error
    return path


def _not_copied(folder: str, names: list[str]) -> list[str]:
    """What stays behind: bytecode, hidden files such as ``.env``, and links, which can lead out of the package."""
    return [name for name in names if name == "__pycache__" or name[0] == "." or Path(folder, name).is_symlink()]


def _name_in_folder(file: Path, function: str | None, beside: Sequence[Path]) -> str:
    """The name that the code gets. With ``lambda_handler``, ``handler.py`` is a line that imports it from there."""
    if function is None:
        return DEFINITION
    taken = {one.stem for one in beside}
    if Path(HANDLER).stem in taken:
        raise ClientError(f"{file} imports {HANDLER} beside it. Define `handler` in that file, and give it as FILE.")
    if function == "handler":
        return HANDLER
    is_module = file.name != HANDLER and file.suffix == ".py" and file.stem.isidentifier()
    if is_module and not iskeyword(file.stem) and file.stem not in sys.stdlib_module_names:
        return file.name
    return next(f"{name}.py" for name in FREE_NAMES if name not in taken)


def _function_of_code(file: Path) -> str | None:
    """The function that Lambda calls; None for a state machine. Raises ClientError for a file that is neither."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"{file} cannot be read: {error}.") from None
    if file.suffix == ".json":
        try:
            definition = parse_json(text)
        except ValueError as error:
            raise ClientError(f"{file} is {error}.") from None
        if not isinstance(definition, dict) or not {"StartAt", "States"} <= definition.keys():
            raise ClientError(f"{file} is not the definition of a state machine: it has no StartAt and States.")
        return None
    try:
        module = ast.parse(text)
    except SyntaxError as error:
        raise ClientError(f"{file}, line {error.lineno}, is not Python: {error.msg}.") from None
    function = function_of(module)
    if function is None:
        raise ClientError(
            f"{file} defines no `handler`. Lambda calls `handler(event, context)`, or `lambda_handler`: use one of "
            "these names, or add `handler = <your function>`."
        )
    return function


def output_lines(names: Sequence[str], settings: str = "") -> str:
    """The lines that declare columns with these names in a ``target.yaml``, which has ``settings`` so far.

    "" without any name, and if the check of the file refuses the lines, say for a column ``_status``.
    """
    # YAML reads JSON's escape of a character beyond U+FFFF as two characters, so such a character is not escaped.
    columns = [f"  - {{name: {json.dumps(name, ensure_ascii=False)}}}\n" for name in names]
    lines = "".join(["output:\n", *columns])
    try:
        read = parse_yaml(SETTINGS, (settings + lines).encode()).check(TargetFile, SETTINGS)
    except (FileProblemsError, UnicodeEncodeError):
        return ""
    # In quotes, too, YAML drops white space around some characters, such as U+2028, which it reads as a line break.
    return lines if names and [column.name for column in read.output] == list(names) else ""


def output_in_terraform(names: Sequence[str]) -> str:
    """The line that declares columns with these names in the Terraform variable ``targets``; "" as ``output_lines``."""
    columns = [f"{{ name = {json.dumps(name, ensure_ascii=False)} }}" for name in names]
    line = f"output = [{', '.join(columns)}]\n".replace("${", "$${").replace("%{", "%%{")
    return line if output_lines(names) else ""


def check_targets(folder: Path = FOLDER) -> list[TargetFolder]:
    """All targets of the folder. Raises FileProblemsError naming every mistake in all of them."""
    targets: list[TargetFolder] = []
    problems: list[FileProblem] = []
    for path in sorted(path for path in folder.glob("*") if path.is_dir() and path.name != "__pycache__"):
        try:
            targets.append(read_target(path))
        except FileProblemsError as wrong:
            problems += wrong.problems
    if problems:
        raise FileProblemsError(problems)
    return targets


def read_target(path: Path) -> TargetFolder:
    """The target in a folder. Raises FileProblemsError naming every mistake, its line and the fix."""
    place = f"{path.name}/{SETTINGS}"
    settings_path = path / SETTINGS
    file = read_yaml(settings_path, place) if settings_path.exists() else YamlFile(place, None, {})
    if settings_path.exists() and file.value is None:
        # Terraform's yamldecode refuses such a file.
        problem = Problem("the file", "", "it has no field", 'write one, such as version: "1", or delete the file')
        raise FileProblemsError([FileProblem(place, 1, problem)])
    settings = file.check(TargetFile, place)
    problems = list(_problems_of(path, file, settings))
    if problems:
        raise FileProblemsError(problems)
    is_tool = (path / HANDLER).exists()
    return TargetFolder(
        name=path.name, path=path, kind=settings.kind or ("tool" if is_tool else "agent"), settings=settings
    )


def _problems_of(path: Path, file: YamlFile, settings: TargetFile) -> Iterator[FileProblem]:
    def problem(field: str, value: str, message: str, fix: str) -> FileProblem:
        return FileProblem(file.name, file.line_of((field,)), Problem(field, value, message, fix))

    if re.fullmatch(NAME, path.name) is None or len(path.name) > MOST_FUNCTION_NAME:
        fix = f"rename it: 1 to {MOST_FUNCTION_NAME} letters, digits, - or _"
        yield problem("the folder", path.name, "not a target's name", fix)
    code = [name for name in (HANDLER, DEFINITION) if (path / name).exists()]
    if len(code) != 1:
        message = "it has both" if code else "it has neither"
        yield problem("the folder", path.name, f"{message} {HANDLER} and {DEFINITION}", "keep exactly one of the two")
        return
    is_tool = code == [HANDLER]
    if settings.kind is not None and is_tool != (settings.kind == "tool"):
        yield problem("kind", settings.kind, f"the folder has {code[0]}", f"write {'tool' if is_tool else 'agent'}")
    if not is_tool:
        given = settings.model_fields_set & {"timeout_seconds", "memory_mb", "environment", "secrets", "vpc"}
        for field in sorted(given):
            yield problem(field, "", "an agent has no function of its own", "leave it out")


def summary_of(target: TargetFolder) -> str:
    """One line about a target, for people."""
    fields = listed(list(target.settings.input)) if target.settings.input else "any input"
    return f"{target.name}: {target.kind.replace('_', ' ')}, takes {fields}"
