"""Common forms around an answer that does not follow the protocol: what is inside is the payload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from row_batches.extraction.content_blocks import json_in


@dataclass(frozen=True, slots=True)
class Wrapping:
    """An object that wraps an answer. It has all of ``fields``; the answer is in the field ``inside``."""

    fields: frozenset[str]
    inside: str
    source: str


WRAPPINGS = (
    Wrapping(
        frozenset({"statusCode", "body"}),
        "body",
        "https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html, the response of an HTTP handler",
    ),
    Wrapping(
        frozenset({"ExecutedVersion", "Payload", "StatusCode"}),
        "Payload",
        "https://docs.aws.amazon.com/step-functions/latest/dg/connect-lambda.html, the result of a Lambda task",
    ),
    Wrapping(
        frozenset({"Body", "ContentType"}),
        "Body",
        "https://docs.aws.amazon.com/step-functions/latest/dg/connect-bedrock.html, the result of a Bedrock task",
    ),
)


def inside(answer: Any) -> Any:
    """The object or list that a wrapping holds, also as JSON in a text; or that a text holds as JSON. None: neither."""
    if isinstance(answer, str):
        return json_in(answer)
    if isinstance(answer, dict):
        for wrapping in WRAPPINGS:
            if wrapping.fields <= answer.keys():
                held = answer[wrapping.inside]
                return held if isinstance(held, dict | list) else json_in(held)
    return None
