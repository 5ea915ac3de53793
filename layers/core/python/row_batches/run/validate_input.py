"""Checks the document and the CSV, stages the rows, makes the plan and estimates the cost, before any row runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from foundation.errors import InvalidInputError, ObjectNotFoundError, Problem
from foundation.ports import Deadline
from foundation.problems import did_you_mean
from row_batches.document.agent_schema import AgentSchema
from row_batches.document.batch_config import (
    MAX_AGENT_TIMEOUT_SECONDS,
    BatchConfig,
    Rate,
    S3Location,
    TargetReference,
    names_several,
    parse_input_uri,
)
from row_batches.document.deployment_config import KEY, DeploymentConfig, read_deployment_config
from row_batches.document.effective import complete, schema_of, schema_version
from row_batches.document.header import problems_against_header, replaced_columns
from row_batches.document.input_document import as_written, parse_batch_config, with_one_name
from row_batches.document.input_format import InputFormat
from row_batches.document.plan import (
    RESULTS_PREFIX,
    WORK_PREFIX,
    Concurrency,
    DistinctInput,
    Execution,
    Keys,
    Plan,
    StagedInput,
    StorageMode,
    Target,
)
from row_batches.document.target_version import CODE_CHARACTERS
from row_batches.files.csv_writer import output_header
from row_batches.files.hashed_inputs import HashedInputs
from row_batches.files.ports import InputObject, InputObjects, OutputObjects, WorkObjects
from row_batches.files.prefix import FoundInput, choose_objects, prefix_of, single
from row_batches.files.several import NamedFile, open_files
from row_batches.files.table import MAX_FILE_BYTES, InputStaging, too_large
from row_batches.mapping.mapping_in import compile_input_mapping
from row_batches.run.cost import estimate
from row_batches.run.destination import destination_problem, tried_destination
from row_batches.run.duplicates import stage_distinct
from row_batches.run.formats import format_problems
from row_batches.run.messages import (
    BatchReference,
    ChildInput,
    MapSettings,
    ObjectVersion,
    ValidateRequest,
    ValidateResponse,
)
from row_batches.run.returned_rows import find_returned
from row_batches.run.runs import Run, Runs
from row_batches.run.spending import cost_problems
from row_batches.run.staging import Finished, Stager, check
from row_batches.run.storage import Items, StoragePlan, plan_storage
from row_batches.targets.kind import Processor
from row_batches.targets.kinds import kind_of, parse_document
from row_batches.targets.ports import FunctionSettings, MachineSettings, Targets

if TYPE_CHECKING:
    from row_batches.run.earlier_execution import Earlier, ExecutionStates

SECONDS_A_DAY = 86_400
NAMES_LISTED_BYTES = 20_000
"""The size of the column names in a dry run's output. An execution's output can be up to 256 KiB."""


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
        problems: list[Problem] = []
        completed = complete(request.input, self._deployment(), self._schema(request.input))
        document = with_one_name(completed.document)
        config = self._parse(document, problems)
        sound_part = config or _sound_part(document, problems)
        reference = config.target if config else _target_reference(document, problems)
        target = self._resolve(reference, problems) if reference else None
        if reference is None and (name := _target_name(document)):
            self._registered(name, problems)
        if target is not None and config is not None:
            problem = kind_of(target).timeout_problem(config.execution_config.timeout_seconds)
            problems += [] if problem is None else [problem]
            problems += cost_problems(config, target)
        keys = Keys(request.execution.name)
        destination = destination_problem(document, keys, self._outputs, self._output_buckets, self._work.bucket)
        problems += [] if destination is None else [destination]
        execution = Execution.model_validate(request.execution.model_dump())
        problems_of_earlier: list[Problem] = []
        earlier = self._find_earlier(config, target, execution, problems_of_earlier)
        location = config.source if config else _source(document)
        if not (problems_of_earlier and location is not None and location.key.startswith(f"{WORK_PREFIX}/")):
            found = self._find(location, earlier, problems)
        else:
            found = None  # The earlier execution staged these rows, and its problem is already reported.
        problems += problems_of_earlier
        is_readable = not any(problem.path.startswith("input_format") for problem in problems)
        stager = None
        if found is not None and is_readable:
            stager = Stager(self._work, keys, execution, found.etag, self._deadline, self._inputs.reads)
        staging, staged = self._stage(sound_part, found, stager, target, earlier, problems)
        if problems:
            raise InvalidInputError(as_written(request.input, completed.told(problems)))
        assert config is not None
        assert target is not None
        assert found is not None
        assert staging is not None
        if staged is None:
            return _come_again(execution.name, keys, self._work.bucket)
        returned = find_returned(self._work, keys.staged, staged.version_id, staging.columns)
        marked = returned.marked_columns if returned else []
        distinct = self._stage_distinct(config, staging, keys, staged, marked)
        with_content = staged.total_rows - staged.rows_skipped
        stored = plan_storage(
            config,
            target,
            execution=request.execution.name,
            total_rows=with_content if distinct is None else distinct.rows,
            staged_bytes=staged.size_bytes if distinct is None else distinct.size_bytes,
            read_staged=lambda: [self._work.get(keys.staged if distinct is None else keys.distinct)],
            work_retention_days=self._work_retention_days,
        )
        if isinstance(stored, Problem):
            raise InvalidInputError(as_written(request.input, completed.told([stored])))
        plan = self._plan(execution, config, target, found, staging, staged, distinct, earlier, stored)
        schema = None if completed.schema is None else schema_version(target, completed.schema)
        changes = returned.warnings(replaced_columns(config, staging.columns)) if returned else []
        plan = plan.model_copy(
            update={
                "sources": dict(completed.sources),
                "output_schema": schema,
                "marked_columns": marked,
                "warnings": [*plan.warnings, *changes],
            }
        )
        if impossible := format_problems(plan):
            raise InvalidInputError(impossible)
        self._work.put(keys.plan, plan.stored)
        if not config.dry_run:
            self._runs.start(Run.of_plan(plan))
        return _response(plan, stored.items, self._work_retention_days)

    def _deployment(self) -> DeploymentConfig:
        """The deployment's current configuration; the defaults if the environment has none."""
        try:
            return read_deployment_config(self._work.get(KEY))
        except ObjectNotFoundError:
            return DeploymentConfig()

    def _schema(self, document: Any) -> AgentSchema | None:
        """The schema of the target that the document names, if there is one."""
        name = _target_name(document)
        return schema_of(self._targets.get(name)) if name else None

    # --- checks: each adds its problems and returns None, so that the others still run

    def _parse(self, document: Any, problems: list[Problem]) -> BatchConfig | None:
        try:
            return parse_document(document, work_retention_days=self._work_retention_days)
        except InvalidInputError as error:
            problems += error.problems
            return None

    def _registered(self, name: str, problems: list[Problem]) -> Target | None:
        target = self._targets.get(name)
        if target is None:
            names = sorted(known.name for known in self._targets.all() if known.enabled)
            fix = f"{did_you_mean(name, names)}known: {', '.join(names[:12]) or 'none'}"
            problems.append(Problem("target.name", name, "no target is registered under this name", fix))
        elif not target.enabled:
            fix = "enable it in the Terraform variable targets, or name another"
            problems.append(Problem("target.name", name, "the target is disabled", fix))
        return target

    def _resolve(self, reference: TargetReference, problems: list[Problem]) -> Target | None:
        """The registered target, with the ARN that the document asks for."""
        before = len(problems)
        target = self._registered(reference.name, problems)
        if target is None:
            return None
        if target.type != reference.type:
            problems.append(
                Problem("target.type", reference.type, f"{target.name} is registered as {target.type}", "correct it")
            )
        has_other_arn = reference.arn not in (None, target.arn)
        if has_other_arn and not any(problem.path == "target.arn" for problem in problems):
            target = self._with_arn(target, reference, problems)
        if len(problems) > before:
            return None
        code = kind_of(target).code(target, self._functions, self._machines)
        return target.model_copy(update={"code_version": code[:CODE_CHARACTERS]})

    def _with_arn(self, target: Target, reference: TargetReference, problems: list[Problem]) -> Target:
        """``target`` with another ARN. It must belong to an enabled entry, because nothing else may be invoked."""
        for known in self._targets.all():
            if known.enabled and known.arn == reference.arn and known.type == reference.type:
                return known.model_copy(update={"name": target.name})
        problems.append(
            Problem(
                "target.arn",
                str(reference.arn),
                "the deployment does not allow this ARN",
                "leave it out, or register it in the Terraform variable targets",
            )
        )
        return target

    def _find(self, location: S3Location | None, earlier: Earlier | None, problems: list[Problem]) -> FoundInput | None:
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

    def _stage_distinct(
        self, config: BatchConfig, staging: InputStaging, keys: Keys, staged: Finished, marked: list[str]
    ) -> DistinctInput | None:
        if not config.execution_config.deduplicate:
            return None
        columns = staging.columns
        mapper = compile_input_mapping(config.input_mapping, columns, replaced_columns(config, columns), marked)
        rows, skipped = staged.total_rows, staged.rows_skipped
        return stage_distinct(self._work, keys, staged.version_id, len(columns), mapper, rows, skipped)

    # --- the plan

    def _plan(
        self,
        execution: Execution,
        config: BatchConfig,
        target: Target,
        found: FoundInput,
        staging: InputStaging,
        staged: Finished,
        distinct: DistinctInput | None,
        earlier: Earlier | None,
        stored: StoragePlan,
    ) -> Plan:
        concurrency, storage = stored.concurrency, stored.storage
        with_content = staged.total_rows - staged.rows_skipped
        rows_sent = with_content if distinct is None else distinct.rows
        taken_over = repeated = left = 0
        if earlier is not None:
            taken_over = min(with_content, earlier.taken_over(config, staging.columns, staged.total_rows))
            repeated = earlier.repeated(config, staging.columns, self._work.bucket, execution.started_at)
            repeated = min(taken_over, repeated)
            left = earlier.left(config)
        costs = estimate(
            config,
            target,
            concurrency,
            storage,
            total_rows=with_content,
            staged_bytes=staged.size_bytes,
            distinct=distinct,
            groups_skipped=0 if staged.skipped is None else staged.skipped.groups,
            idle_at_best=taken_over + left,
            idle_at_worst=repeated + left,
        )
        warnings = self._warnings(config, target, staging, staged, rows_sent, concurrency)
        if earlier is not None:
            assumption = earlier.assumption(taken_over, repeated)
            costs = costs.model_copy(update={"assumptions": [*costs.assumptions, assumption]})
            warnings += earlier.warnings(target, config, staging.columns, staged.total_rows)
        return Plan(
            execution=execution,
            config=config,
            target=target,
            columns=staging.columns,
            header=staging.header if staging.header != staging.columns else [],
            output_header=output_header(config, staging.columns, staging.header),
            typed_input=staging.typed,
            total_rows=staged.total_rows,
            staged=StagedInput(
                bucket=self._work.bucket,
                key=Keys(execution.name).staged,
                version_id=staged.version_id,
                size_bytes=staged.size_bytes,
                source_etag=found.etag,
            ),
            skipped=staged.skipped,
            # Rows that an earlier execution staged are those of the file that it read.
            read=self._inputs.reads.of(found.objects) or (earlier.plan.read if earlier else []),
            distinct=distinct,
            concurrency=concurrency,
            storage=storage,
            estimate=costs,
            warnings=warnings,
            call_seconds=kind_of(target).call_seconds(config, target, self._functions),
            resume_from=earlier.executions(staged.total_rows) if earlier else [],
            taken_over=taken_over + left,
        )

    def _warnings(
        self,
        config: BatchConfig,
        target: Target,
        staging: InputStaging,
        staged: Finished,
        rows_sent: int,
        concurrency: Concurrency,
    ) -> list[str]:
        settings = config.execution_config
        warnings = [*staged.warnings]
        if staged.total_rows == 0:
            warnings.append("The file has a header and no rows.")
        replaced = sorted(replaced_columns(config, staging.columns))
        if replaced:
            warnings.append(f"Columns of an earlier output are not mapped and are replaced: {', '.join(replaced)}.")
        if settings.deduplicate:
            rows = staged.total_rows - staged.rows_skipped
            warnings.append(f"{rows:,} rows, {rows_sent:,} distinct: equal inputs are sent once.")
        if config.trial is not None and rows_sent <= config.trial.rows:
            warnings.append(f"Only {rows_sent:,} rows are sent: all of them run at once, without a trial.")
        if settings.max_rows is not None:
            warnings.append(f"max_rows: only the first {settings.max_rows:,} rows are read, checked and processed.")
        warnings += kind_of(target).warnings(config, target, self._functions)
        warnings += _limit_warnings(config, target)
        in_flight = concurrency.children * concurrency.threads
        longest_days = rows_sent / in_flight * settings.timeout_seconds / SECONDS_A_DAY
        kept_days = settings.ttl_days or self._work_retention_days
        if longest_days > min(kept_days, self._work_retention_days):
            said = "ttl_days" if kept_days < self._work_retention_days else "the Terraform variable work_retention_days"
            warnings.append(
                f"If every row took its timeout_seconds, the run would take {longest_days:,.0f} days; finished "
                f"rows are kept for {min(kept_days, self._work_retention_days)} ({said})."
            )
        if in_flight < min(kind_of(target).rows_in_flight(config, target), rows_sent):
            warnings.append(f"At most {in_flight} rows are in flight, not {settings.max_concurrency:,}.")
        return warnings


def _limit_warnings(config: BatchConfig, target: Target) -> list[str]:
    """Warnings about the target's limits in the registry."""
    settings, warnings = config.execution_config, []
    shared = "the runs in progress share it equally"
    if target.max_concurrency is not None and target.max_concurrency < settings.max_concurrency:
        warnings.append(
            f"The registry limits {target.name} to {target.max_concurrency:,} rows in flight over all runs, less than "
            f"max_concurrency ({settings.max_concurrency:,}); {shared}."
        )
    allowed, wanted = target.rate or Rate(), settings.rate or Rate()
    for most, asked, what in (
        (allowed.rows_per_minute, wanted.rows_per_minute, "rows a minute"),
        (allowed.tokens_per_minute, wanted.tokens_per_minute, "tokens a minute"),
    ):
        if most is not None and (asked is None or most < asked):
            warnings.append(f"The registry limits {target.name} to {most:,g} {what} over all runs; {shared}.")
    return warnings


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


def _target_reference(document: Any, problems: list[Problem]) -> TargetReference | None:
    """The target of a document that has problems, if this part of it has none."""
    if any(problem.path.startswith("target") for problem in problems):
        return None
    try:
        return TargetReference.model_validate(document.get("target") if isinstance(document, dict) else None)
    except ValidationError:
        return None


def _target_name(document: Any) -> str | None:
    """The name of a target whose other fields have problems, if the name has none."""
    section = document.get("target") if isinstance(document, dict) else None
    name = section.get("name") if isinstance(section, dict) else None
    try:
        return TargetReference(type="tool", name=name).name if isinstance(name, str) else None
    except ValidationError:
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


def _come_again(execution: str, keys: Keys, bucket: str) -> ValidateResponse:
    """The answer of a call whose time ended before the input was staged."""
    return ValidateResponse(
        done=False,
        execution_id=execution,
        plan_key=keys.plan,
        processor=Processor.NONE,
        dry_run=False,
        total_rows=0,
        staged=ObjectVersion(bucket=bucket, key=keys.staged, version_id=""),
        map=MapSettings(max_concurrency=1, batch_size=1),
        map_prefix=keys.map,
    )


def _response(plan: Plan, items: Items, retention_days: int) -> ValidateResponse:
    read = plan.distinct or plan.staged
    processor = kind_of(plan.target).processor if plan.rows_sent else Processor.NONE
    return ValidateResponse(
        execution_id=plan.execution.name,
        plan_key=plan.keys.plan,
        processor=processor,
        dry_run=plan.config.dry_run,
        total_rows=plan.total_rows,
        staged=ObjectVersion(bucket=plan.staged.bucket, key=read.key, version_id=read.version_id),
        map=MapSettings(max_concurrency=plan.concurrency.children, batch_size=plan.concurrency.batch_size),
        map_prefix=plan.keys.map,
        inline=plan.storage.mode is StorageMode.INLINE,
        children=[] if plan.config.dry_run else _children(plan, items),
        document=_dry_run_document(plan) if plan.config.dry_run else None,
        trial=plan.has_trial,
        approval_seconds=_approval_seconds(plan, retention_days) if plan.has_trial else 0,
    )


def _children(plan: Plan, items: Items) -> list[ChildInput]:
    """The rows of an inline run, as the children of a map would get them."""
    size = plan.concurrency.batch_size
    reference = BatchReference(plan_key=plan.keys.plan)
    return [ChildInput(BatchInput=reference, Items=items[at : at + size]) for at in range(0, len(items), size)]


def _approval_seconds(plan: Plan, work_retention_days: int) -> int:
    """How long the run waits for an approval: as long as its rows are kept, from its start, and at most a year."""
    kept_days = min(plan.storage.ttl_days, work_retention_days)
    return min(kept_days * SECONDS_A_DAY, MAX_AGENT_TIMEOUT_SECONDS)


def _dry_run_document(plan: Plan) -> dict[str, Any]:
    """The output of a dry run: the planned work and its cost. It names only the first of very many columns."""
    return {
        "status": "DRY_RUN",
        "total_rows": plan.total_rows,
        "distinct_rows": plan.rows_sent if plan.config.execution_config.deduplicate else None,
        "skipped": plan.rows_skipped,
        "rows_to_run": plan.rows_to_run,
        "column_count": len(plan.columns),
        "columns": _first_names(plan.columns),
        "output_column_count": len(plan.output_header),
        "output_columns": _first_names(plan.output_header),
        "concurrency": plan.concurrency.model_dump(),
        "storage": plan.storage.model_dump(mode="json"),
        "delivery": tried_destination(plan),
        "estimate": plan.estimate.model_dump(),
        "effective_config": plan.effective_config,
        "output_schema": None if plan.output_schema is None else plan.output_schema.model_dump(),
        "warnings": plan.warnings,
    }


def _first_names(names: list[str]) -> list[str]:
    listed = []
    room = NAMES_LISTED_BYTES
    for name in names:
        room -= len(name.encode())
        if room < 0:
            break
        listed.append(name)
    return listed
