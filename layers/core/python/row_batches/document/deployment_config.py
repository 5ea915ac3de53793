"""The model of a deployment's configuration, ``batch-processor-config.yaml`` (docs/reference/deployment-config.md).

Terraform writes it as JSON to ``KEY`` in the results bucket. ``ValidateInput`` reads it for each batch and pins the
result in the plan, so that a change never disturbs a running batch.
"""

from typing import Annotated, Any, Self, get_args

import orjson
from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from foundation.errors import DeploymentError
from foundation.model_problems import ModelProblems
from foundation.problems import listed
from foundation.validation import Part, refuse
from row_batches.document.batch_config import ExecutionConfig, TargetName
from row_batches.extraction.rules import ExtractionMethods, ExtractionRules, check_transforms
from row_batches.extraction.transforms import Transforms

FILE = "batch-processor-config.yaml"
KEY = "deployment/batch-processor-config.json"
PER_BATCH = frozenset({"storage_mode", "max_rows", "resume_from", "only_causes", "accept_version"})
"""Fields of ``execution_config`` that ``defaults`` cannot give."""

STORAGE_MODES: tuple[str, ...] = get_args(ExecutionConfig.model_fields["storage_mode"].annotation)


def _check_storage_mode(mode: str) -> str:
    if mode not in STORAGE_MODES:
        refuse("not an allowed value", f"write one of {listed(STORAGE_MODES)}")
    return mode


def _without_per_batch(schema: dict[str, Any]) -> None:
    for name in PER_BATCH:
        schema["properties"].pop(name, None)


class Defaults(ExecutionConfig):
    """Values of ``execution_config`` for batches that leave these fields out."""

    model_config = ConfigDict(json_schema_extra=_without_per_batch)

    @model_validator(mode="after")
    def _check_per_batch(self) -> Self:
        for name in sorted(self.model_fields_set & PER_BATCH):
            where = "at the top of the file" if name == "storage_mode" else "in the document of a batch"
            refuse(f"{name} cannot be a default of a deployment", f"write it {where}", at=(name,))
        return self


class AgentConfig(Part):
    """The settings for one target."""

    transforms: Transforms = Field(default={}, description='transforms of your own: name → `{"regex", "group"}`')
    extraction: ExtractionMethods = Field(
        default=[], description="the same as `extraction_methods` in `output_mappings`; write one of the two"
    )

    @model_validator(mode="after")
    def _check_transforms(self) -> Self:
        check_transforms(self.extraction, self.transforms)
        return self


class DeploymentConfig(Part):
    """The whole file. Everything can be left out."""

    storage_mode: Annotated[str, AfterValidator(_check_storage_mode)] | None = Field(
        default=None,
        description="`execution_config.storage_mode` of batches that name none; none: `s3`",
        json_schema_extra={"enum": [*STORAGE_MODES, None]},
    )
    agents: dict[TargetName, AgentConfig] = Field(
        default={}, description="by the registered name of a target: its `extraction` and `transforms`"
    )
    output_mappings: dict[TargetName, ExtractionRules] = Field(
        default={},
        description="by the registered name of a target: how its answers are read if a document has no "
        "`output_mapping.extraction_methods`",
    )
    defaults: Defaults = Field(
        default_factory=Defaults, description="fields of `execution_config` for batches that leave them out"
    )

    @model_validator(mode="after")
    def _check_once(self) -> Self:
        for name, agent in self.agents.items():
            if agent.extraction and name in self.output_mappings:
                message = f"output_mappings has extraction methods of {name} too"
                refuse(message, "keep one of the two", at=("agents", name, "extraction"))
        return self

    @property
    def execution_defaults(self) -> dict[str, Any]:
        """The fields of ``execution_config`` that it gives, as JSON."""
        mode = {} if self.storage_mode is None else {"storage_mode": self.storage_mode}
        return mode | self.defaults.model_dump(mode="json", exclude_unset=True)

    def extraction_of(self, target: str) -> dict[str, Any]:
        """The fields of ``output_mapping`` that it gives for a target, as JSON."""
        part: Part | None = self.output_mappings.get(target) or self.agents.get(target)
        given = part.model_dump(mode="json", exclude_unset=True) if part is not None else {}
        methods = given.pop("extraction", None) or given.get("extraction_methods")
        return given | {"extraction_methods": methods} if methods else {}


def read_deployment_config(text: bytes) -> DeploymentConfig:
    """The configuration that Terraform wrote. Raises DeploymentError naming every mistake in it."""
    value = orjson.loads(text)
    try:
        return DeploymentConfig.model_validate({} if value is None else value)
    except ValidationError as invalid:
        problems = "; ".join(map(str, ModelProblems(DeploymentConfig, FILE).of(invalid)))
        raise DeploymentError(
            f"{FILE} of this deployment is not valid: {problems}. Correct it, look with make config-check, and apply."
        ) from None
