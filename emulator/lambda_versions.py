"""ListVersionsByFunction as on AWS: each version's ARN ends in its version.

Source: https://docs.aws.amazon.com/lambda/latest/api/API_ListVersionsByFunction.html (its example). Terraform takes a
function's ``qualified_arn`` from there.
"""

import json
from typing import Any

from ministack.services import lambda_svc


def install() -> None:
    """Qualify the ARNs of listed versions."""
    plain = lambda_svc._list_versions

    def list_versions(name: str, query_params: dict[str, Any]) -> Any:
        status, headers, body = plain(name, query_params)
        if status != 200:
            return status, headers, body
        answer = json.loads(body)
        for version in answer["Versions"]:
            if version["FunctionArn"].count(":") == 6:
                version["FunctionArn"] += f":{version['Version']}"
        return lambda_svc.json_response(answer)

    lambda_svc._list_versions = list_versions
