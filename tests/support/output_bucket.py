"""A bucket of a user's, to which batches of the end-to-end tests copy their results."""

from __future__ import annotations

import json
from typing import Any

OUTPUT_BUCKET = "their-own-results"
MISSING_BUCKET = "their-missing-bucket"


def output_variables(s3: Any, kms: Any) -> dict[str, str]:
    """Create the bucket, which encrypts with a key of its own. Returns the Terraform variables that allow both."""
    key = kms.create_key()["KeyMetadata"]["Arn"]
    s3.create_bucket(Bucket=OUTPUT_BUCKET)
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    s3.put_bucket_encryption(
        Bucket=OUTPUT_BUCKET,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": default}]},
    )
    return {
        "TF_VAR_output_buckets": json.dumps([OUTPUT_BUCKET, MISSING_BUCKET]),
        "TF_VAR_output_kms_key_arns": json.dumps([key]),
    }
