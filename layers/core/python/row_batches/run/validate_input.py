"""Checks the document and the CSV, stages the rows, makes the plan and estimates the cost, before any row runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foundation.errors import InvalidInputError, ObjectNotFoundError, Problem
from foundation.ports import Deadline
from row_batches.document.agent_schema import AgentSchema
from row_batches.document.batch_config import BatchConfig
from row_batches.document.deployment_config import KEY, DeploymentConfig, read_deployment_config
from row_batches.document.effective import Completed, complete, schema_of
from row_batches.document.header import problems_against_header
from row_batches.document.input_document import as_written, parse_batch_config, with_one_name
from row_batches.document.input_format import InputFormat
from row_batches.document.plan import RESULTS_PREFIX, WORK_PREFIX, Execution, Keys, Target
from row_batches.document.s3_location import S3Location, names_several, parse_input_uri
from row_batches.files.hashed_inputs import HashedInputs
from row_batches.files.ports import InputObject, InputObjects, OutputObjects, WorkObjects
from row_batches.files.prefix import FoundInput, choose_objects, prefix_of, single
from row_batches.files.several import NamedFile, open_files
from row_batches.files.table import MAX_FILE_BYTES, InputStaging, too_large
from row_batches.run.destination import destination_problem
from row_batches.run.formats import format_problems
from row_batches.run.input_messages import ValidateRequest, ValidateResponse
from row_batches.run.make_plan import CheckedInput, make_plan
from row_batches.run.resolve_target import TargetResolver, sound_name, sound_reference
from row_batches.run.runs import Run, Runs
from row_batches.run.spending import cost_problems
from row_batches.run.staging import Finished, Stager, check
from row_batches.run.validate_response import not_staged_yet, planned
from row_batches.targets.kinds import kind_of, parse_document
from row_batches.targets.ports import FunctionSettings, MachineSettings, Targets

if TYPE_CHECKING:
    from row_batches.run.earlier_execution import Earlier, ExecutionStates


def validate_input(
    request: ValidateRequest,
    *,
    inputs: InputObjects,
    work: WorkObjects,
    targets: Targets,
    functions: FunctionSettings,
    machines: MachineSettings,
    runs: Runs,
    executions: ExecutionStates,
    input_buckets: list[str],
    outputs: OutputObjects,
    output_buckets: list[str],
    work_retention_days: int,
    deadline: Deadline,
) -> ValidateResponse:
    """Validate, stage and plan an execution. Idempotent. Call again until ``done``.

    Raises ``InvalidInputError``, which names every problem of the document, the target and the CSV, before anything is
    spent. Users' files can be in ``input_buckets``, and their copies of the results in ``output_buckets``. Results of
    earlier executions can be submitted from where they are. Answers can be taken over only from an earlier execution
    of this deployment, from the same target.
    """
    return _Validation(
        HashedInputs(inputs),
        work,
        targets,
        functions,
        machines,
        runs,
        executions,
        input_buckets,
        outputs,
        output_buckets,
        work_retention_days,
        deadline,
    ).run(request)


@dataclass(frozen=True, slots=True)
class _Validation:
    _inputs: HashedInputs
    _work: WorkObjects
    _targets: Targets
    _functions: FunctionSettings
    _machines: MachineSettings
    _runs: Runs
    _executions: ExecutionStates
    _input_buckets: list[str]
    _outputs: OutputObjects
    _output_buckets: list[str]
    _work_retention_days: int
    _deadline: Deadline

    def run(self, request: ValidateRequest) -> ValidateResponse:
        completed = complete(request.input, self._deployment(), self._schema(request.input))
        keys = Keys(request.execution.name)
        checked = self._check(request, completed)
        if checked is None:
            return not_staged_yet(request.execution.name, keys, self._work.bucket)
        made = make_plan(checked, self._work, self._inputs.reads, self._functions, self._work_retention_days)
        if isinstance(made, Problem):
            raise InvalidInputError(as_written(request.input, completed.with_origins([made])))
        plan, items = made
        if impossible := format_problems(plan):
            raise InvalidInputError(impossible)
        self._work.put(keys.plan, plan.stored)
        if not plan.config.dry_run:
            self._runs.start(Run.of_plan(plan))
        return planned(plan, items, self._work_retention_days)

    def _check(self, request: ValidateRequest, completed: Completed) -> CheckedInput | None:
        """Check everything, and stage the input. None if another call goes on staging.

        Raises ``InvalidInputError`` with every problem.
        """
        problems: list[Problem] = []
        document = with_one_name(completed.document)
        config = self._parse(document, problems)
        sound_part = config or _sound_part(document, problems)
        target = self._find_target(document, config, problems)
        keys = Keys(request.execution.name)
        destination = destination_problem(document, keys, self._outputs, self._output_buckets, self._work.bucket)
        problems += [] if destination is None else [destination]
        execution = Execution.model_validate(request.execution.model_dump())
        earlier, found = self._find_rows(document, config, target, execution, problems)
        is_readable = not any(problem.path.startswith("input_format") for problem in problems)
        stager = None
        if found is not None and is_readable:
            stager = Stager(self._work, keys, execution, found.etag, self._deadline, self._inputs.reads)
        staging, staged = self._stage(sound_part, found, stager, target, earlier, problems)
        if problems:
            raise InvalidInputError(as_written(request.input, completed.with_origins(problems)))
        assert config is not None
        assert target is not None
        assert found is not None
        assert staging is not None
        if staged is None:
            return None
        return CheckedInput(execution, completed, config, target, found, staging, staged, earlier)

    def _deployment(self) -> DeploymentConfig:
        """The deployment's current configuration; the defaults if the environment has none."""
        try:
            return read_deployment_config(self._work.get(KEY))
        except ObjectNotFoundError:
            return DeploymentConfig()

    def _schema(self, document: Any) -> AgentSchema | None:
        """The schema of the target that the document names, if there is one."""
        name = sound_name(document)
        return schema_of(self._targets.get(name)) if name else None

    # --- checks: each adds its problems and returns None, so that the others still run

    def _parse(self, document: Any, problems: list[Problem]) -> BatchConfig | None:
        try:
            return parse_document(document, work_retention_days=self._work_retention_days)
        except InvalidInputError as error:
            problems += error.problems
            return None

    def _find_target(self, document: Any, config: BatchConfig | None, problems: list[Problem]) -> Target | None:
        resolver = TargetResolver(self._targets, self._functions, self._machines)
        reference = config.target if config else sound_reference(document, problems)
        if reference is None:
            if name := sound_name(document):
                resolver.registered(name, problems)
            return None
        target = resolver.resolve(reference, problems)
        if target is not None and config is not None:
            problem = kind_of(target).timeout_problem(config.execution_config.timeout_seconds)
            problems += [] if problem is None else [problem]
            problems += cost_problems(config, target)
        return target

    def _find_rows(
        self,
        document: Any,
        config: BatchConfig | None,
        target: Target | None,
        execution: Execution,
        problems: list[Problem],
    ) -> tuple[Earlier | None, FoundInput | None]:
        """The execution that is resumed, if any, and the file."""
        problems_of_earlier: list[Problem] = []
        earlier = self._find_earlier(config, target, execution, problems_of_earlier)
        location = config.source if config else _source(document)
        if problems_of_earlier and location is not None and location.key.startswith(f"{WORK_PREFIX}/"):
            found = None  # The earlier execution staged these rows, and its problem is already reported.
        else:
            found = self._find_input(location, earlier, problems)
        problems += problems_of_earlier
        return earlier, found

    def _find_input(
        self, location: S3Location | None, earlier: Earlier | None, problems: list[Problem]
    ) -> FoundInput | None:
        if location is None:
            return None
        if earlier is not None and earlier.has_staged(location, self._work.bucket):
            staged = earlier.plan.staged
            return single(InputObject(location, staged.size_bytes, staged.source_etag))
        # A presigned address has its signature after the question mark.
        uri = location.uri.partition("?")[0]
        # The results of earlier runs can be submitted from where they are.
        several = names_several(location)
        is_result = location.bucket == self._work.bucket and location.key.startswith(f"{RESULTS_PREFIX}/")
        if location.bucket not in self._input_buckets and (several or not is_result):
            fix = f"use one of {', '.join(self._input_buckets)}, or add it to the Terraform variable input_buckets"
            problems.append(Problem("csv_s3_uri", uri, "the deployment does not allow this bucket", fix))
            return None
        if several:
            chosen = choose_objects(location, self._inputs.objects_under(location.bucket, prefix_of(location)))
            if isinstance(chosen, Problem):
                problems.append(chosen)
                return None
            return chosen
        try:
            found = self._inputs.head(location)
        except ObjectNotFoundError:
            fix = "upload the file first, or correct the key: it is case-sensitive"
            problems.append(Problem("csv_s3_uri", uri, "the object does not exist", fix))
            return None
        if found.size > MAX_FILE_BYTES:
            problems.append(too_large("the file", found.size))
            return None
        return single(found)

    def _find_earlier(
        self, config: BatchConfig | None, target: Target | None, current: Execution, problems: list[Problem]
    ) -> Earlier | None:
        settings = config.execution_config if config else None
        if settings is None or settings.resumed_execution is None or settings.resume_from is None:
            return None
        name = settings.resumed_execution
        from row_batches.run.earlier_execution import find_earlier  # noqa: PLC0415 (few documents resume a run)

        arn = settings.resume_from if settings.resume_from != name else None
        found = find_earlier(
            self._work, self._runs, self._executions, name=name, arn=arn, current=current, target=target
        )
        if isinstance(found, Problem):
            problems.append(found)
            return None
        return found

    def _stage(
        self,
        config: BatchConfig | None,
        found: FoundInput | None,
        stager: Stager | None,
        target: Target | None,
        earlier: Earlier | None,
        problems: list[Problem],
    ) -> tuple[InputStaging | None, Finished | None]:
        """The staged input and its copy; without it, another call goes on.

        If there are problems, the rows are checked but not uploaded.
        """
        if found is None or stager is None:
            return None, None
        try:
            form = config.input_format if config else InputFormat()
            max_rows = config.execution_config.max_rows if config else None
            staging: InputStaging
            if earlier is not None and earlier.has_staged(found.objects[0][1].location, self._work.bucket):
                staging = earlier.staged_again(self._work, max_rows)
            else:
                staging = self._open(found, form, max_rows)
            if config is not None:
                problems += problems_against_header(config, staging.columns)
                if earlier is not None and target is not None:
                    problems += earlier.version_problems(target, config, staging.columns)
                    problems += earlier.cause_problems(config)
            if not problems:
                return staging, stager.stage(staging, form)
            check(staging, form, self._deadline)
        except InvalidInputError as error:
            problems += error.problems
        return None, None

    def _open(self, found: FoundInput, form: InputFormat, max_rows: int | None) -> InputStaging:
        files = [_named(self._inputs, name, one) for name, one in found.objects]
        return open_files(files, form, max_rows=max_rows, notes=found.warnings)


def _sound_part(document: Any, problems: list[Problem]) -> BatchConfig | None:
    """The document without the sections that have a problem, so that the others are still checked against the CSV.

    The replacement of such a section reports nothing in the CSV that the corrected section would allow.
    """
    if not isinstance(document, dict):
        return None
    unsound = [problem.path for problem in problems]

    def is_sound(place: str) -> bool:
        return not any(path == place or path.startswith((f"{place}.", f"{place}[")) for path in unsound)

    sections = {name: value for name, value in document.items() if is_sound(name)}
    if not is_sound("output_mapping"):
        sections["output_mapping"] = {"include_original": False}  # No name can collide with anything.
    settings = document.get("execution_config")
    if not is_sound("execution_config") and isinstance(settings, dict) and is_sound("execution_config.max_rows"):
        sections["execution_config"] = {"max_rows": settings.get("max_rows")}  # Rows after it are not read.
    try:
        return parse_batch_config(sections)
    except InvalidInputError:
        return None


def _source(document: Any) -> S3Location | None:
    """The CSV's address in a document that has problems, if this part of it has none."""
    uri = document.get("csv_s3_uri") if isinstance(document, dict) else None
    try:
        return parse_input_uri(uri) if isinstance(uri, str) else None
    except ValueError:
        return None


def _named(inputs: InputObjects, name: str, found: InputObject) -> NamedFile:
    return NamedFile(name, found.size, lambda: inputs.stream(found), lambda start: inputs.stream(found, start))
