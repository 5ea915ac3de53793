"""The settings of the functions of row batches; see ``foundation.settings``."""

from pydantic import Json

from foundation.settings import FunctionSettings


class RowBatchSettings(FunctionSettings):
    results_bucket: str


class ValidateInputSettings(RowBatchSettings):
    input_buckets: Json[list[str]]
    """Names of the buckets that inputs can be in (a JSON list)."""
    output_buckets: Json[list[str]]
    """Names of the users' buckets that outputs can be copied to (a JSON list)."""
    registry_table: str
    runs_table: str
    work_retention_days: int


class WorkerSettings(RowBatchSettings):
    """The settings of each function that runs rows."""

    results_table: str
    answers_table: str
    dead_letter_queue: str
    runs_table: str


class AggregateResultsSettings(RowBatchSettings):
    notification_topic_arn: str
    results_table: str
    metrics_namespace: str
    dead_letter_queue: str
    runs_table: str


class NotifySettings(RowBatchSettings):
    notification_topic_arn: str


class FinishRunSettings(RowBatchSettings):
    state_machine_arn: str
    finish_machine_arn: str
    runs_table: str


SETTINGS_BY_FUNCTION: dict[str, type[FunctionSettings]] = {
    "validate_input": ValidateInputSettings,
    "process_tool_rows": WorkerSettings,
    "map_input": WorkerSettings,
    "map_output": WorkerSettings,
    "aggregate_results": AggregateResultsSettings,
    "notify": NotifySettings,
    "finish_run": FinishRunSettings,
}
