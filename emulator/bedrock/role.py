"""The job's service role: its permissions are checked for everything that the job reads and writes.

https://docs.aws.amazon.com/bedrock/latest/userguide/batch-iam-sr.html
"""

from __future__ import annotations

from ministack import app

from emulator import authorization, event_targets
from emulator.step_functions.roles import Role

SERVICE = "bedrock.amazonaws.com"


class JobRole:
    """The service role of one batch inference job."""

    def __init__(self, role_arn: str, job_arn: str) -> None:
        self._role_arn = role_arn
        self._job_arn = job_arn
        self._role = Role(role_arn, job_arn)

    def is_trusted(self) -> bool:
        """Whether the role exists and lets Bedrock assume it for this job."""
        return not app.AUTH or event_targets.role_trusts(self._role_arn, SERVICE, self._job_arn)

    def read_denial(self, bucket: str, key: str) -> str | None:
        """The permission that the role lacks to read the object; None if it lacks none."""
        used = authorization.stored_key(bucket, key)
        return self._first(("s3:GetObject", f"arn:aws:s3:::{bucket}/{key}"), *([("kms:Decrypt", used)] if used else []))

    def list_denial(self, bucket: str) -> str | None:
        """The permission that the role lacks to list the bucket; None if it lacks none."""
        return self._first(("s3:ListBucket", f"arn:aws:s3:::{bucket}"))

    def write_denial(self, bucket: str, key: str, headers: dict[str, str]) -> str | None:
        """The permission that the role lacks to write the object, also with its KMS key; None if it lacks none."""
        used = authorization.written_key(bucket, headers)
        return self._first(
            ("s3:PutObject", f"arn:aws:s3:::{bucket}/{key}"), *([("kms:GenerateDataKey", used)] if used else [])
        )

    def invoke_denial(self, *models: str) -> str | None:
        """The permission that the role lacks to invoke an inference profile and its models; None if it lacks none.

        https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-prereq.html
        """
        return self._first(*(("bedrock:InvokeModel", model) for model in models))

    def _first(self, *checks: tuple[str, str]) -> str | None:
        denials = (self._role.denial(action, resource) for action, resource in checks)
        return next((denial for denial in denials if denial), None)
