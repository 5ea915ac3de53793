"""A deployment, as its Terraform outputs describe it, and AWS clients for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from pydantic import BaseModel, ConfigDict, ValidationError

from batch_processor_client.errors import ClientError

LOCAL_ROOT = "test"
"""Key and secret of the local AWS's root."""


class Deployment(BaseModel):
    """The outputs that the operations need; an outputs file has more."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    environment: str
    region: str
    batch_processor_state_machine_arn: str
    results_bucket: str
    runs_table: str
    endpoint_url: str | None = None
    """Of a local AWS only."""

    @classmethod
    def read(cls, path: Path) -> Deployment:
        """From the JSON that ``make output`` prints. Raises ClientError when it is none."""
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise ClientError(f"{path} cannot be read: {error.strerror}.") from None
        except (ValueError, ValidationError):
            raise ClientError(f"{path} holds no outputs of a deployment: write them with `make output`.") from None

    def execution_arn(self, name: str) -> str:
        """The ARN of an execution, from its name; an ARN is left as it is."""
        if name.startswith("arn:"):
            return name
        return f"{self.batch_processor_state_machine_arn.replace(':stateMachine:', ':execution:', 1)}:{name}"

    def client(self, service: str) -> Any:
        """A boto3 client, with your own credentials; for a local AWS with those of its root."""
        config = Config(retries={"mode": "standard", "total_max_attempts": 8})
        if self.endpoint_url is None:
            # boto3's stubs know each service by name; here it is a variable.
            return boto3.Session(region_name=self.region).client(service, config=config)  # type: ignore[call-overload]
        session = boto3.Session(aws_access_key_id=LOCAL_ROOT, aws_secret_access_key=LOCAL_ROOT, region_name=self.region)
        return session.client(service, endpoint_url=self.endpoint_url, config=config)  # type: ignore[call-overload]
