"""Common forms around an answer that does not follow the protocol, and what is inside of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from row_batches.extraction.content_blocks import json_in

MOST_WRAPPINGS = 3
"""Most wrappings that are read: the JSON text in the body of an HTTP response that a Lambda task received."""


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


def within(answer: Any) -> list[Any]:
    """The objects or lists inside of the answer's wrappings, the outermost first; also as JSON in a text."""
    found: list[Any] = []
    while len(found) < MOST_WRAPPINGS and (answer := _inside(answer)) is not None:
        found.append(answer)
    return found


def _inside(answer: Any) -> Any:
    """The object or list that a wrapping holds, or that a text is as JSON. None: neither."""
    if isinstance(answer, str):
        return json_in(answer)
    if isinstance(answer, dict):
        for wrapping in WRAPPINGS:
            if wrapping.fields <= answer.keys():
                held = answer[wrapping.inside]
                return held if isinstance(held, dict | list) else json_in(held)
    return None
