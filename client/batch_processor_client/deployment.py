"""A deployment, read from its Terraform outputs, and AWS clients for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from pydantic import BaseModel, ConfigDict, ValidationError

from batch_processor_client.errors import ClientError

STANDARD = Config(retries={"mode": "standard", "total_max_attempts": 8})
LOCAL_ROOT = "test"
"""Key and secret of the local AWS's root."""


class Deployment(BaseModel):
    """The outputs that the operations need. An outputs file has more of them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    environment: str
    region: str
    batch_processor_state_machine_arn: str
    results_bucket: str
    results_table: str
    runs_table: str
    bedrock_function_names: dict[str, str] | None = None
    """None where the deployment has no Bedrock batches."""
    endpoint_url: str | None = None
    """Set for a local AWS only."""

    @classmethod
    def read(cls, path: Path | None) -> Deployment:
        """Read the JSON that ``make output`` prints. Raises ClientError if the file is something else, or not named."""
        if path is None:
            raise ClientError("Name the deployment: --outputs <file>, with what `make output` prints.")
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise ClientError(f"{path} cannot be read: {error.strerror}.") from None
        except (ValueError, ValidationError):
            raise ClientError(f"{path} holds no outputs of a deployment: write them with `make output`.") from None

    def execution_arn(self, name: str) -> str:
        """The ARN of an execution, from its name or ARN."""
        if name.startswith("arn:"):
            return name
        return f"{self.batch_processor_state_machine_arn.replace(':stateMachine:', ':execution:', 1)}:{name}"

    def bedrock_function(self, function: str) -> str:
        """The name of a function of Bedrock batches. Raises ClientError if the deployment has none."""
        if self.bedrock_function_names is None:
            raise ClientError(
                f"{self.environment} has no Bedrock batches: set bedrock_batches = true in "
                f"terraform/envs/{self.environment}.tfvars and apply."
            )
        return self.bedrock_function_names[function]

    def client(self, service: str, config: Config = STANDARD) -> Any:
        """A boto3 client with the user's own credentials, or for a local AWS with those of its root."""
        if self.endpoint_url is None:
            # boto3's stubs need a literal service name; here it is a variable.
            return boto3.Session(region_name=self.region).client(service, config=config)  # type: ignore[call-overload]
        session = boto3.Session(aws_access_key_id=LOCAL_ROOT, aws_secret_access_key=LOCAL_ROOT, region_name=self.region)
        return session.client(service, endpoint_url=self.endpoint_url, config=config)  # type: ignore[call-overload]
