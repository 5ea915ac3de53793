"""The kinds of targets. To add one, write a module with its class and add it to ``KINDS``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from foundation.errors import DeploymentError, InvalidInputError, Problem
from row_batches.document.batch_config import MAX_AGENT_TIMEOUT_SECONDS, BatchConfig
from row_batches.document.input_document import parse_batch_config, section
from row_batches.document.plan import Target
from row_batches.targets.express_agent import ExpressAgent
from row_batches.targets.kind import ClientFactory, TargetKind
from row_batches.targets.lambda_function import LambdaFunction
from row_batches.targets.protocol import Outcome
from row_batches.targets.standard_agent import StandardAgent
from row_batches.targets.worker_kind import WorkerKind

KINDS: tuple[TargetKind, ...] = (LambdaFunction(), ExpressAgent(), StandardAgent())

_BY_NAME = {kind.name: kind for kind in KINDS}


def kind_of(target: Target) -> TargetKind:
    """The kind of a registered target. Raises ``DeploymentError`` for an invocation that this release does not know."""
    kind = _BY_NAME.get(target.invocation)
    if kind is None:
        raise DeploymentError(
            f"The target {target.name} is registered with invocation {target.invocation}, which this release does not "
            f"know. Write one of {', '.join(_BY_NAME)} in the Terraform variable targets and apply."
        )
    return kind


def parse_document(document: Any, *, work_retention_days: int | None = None) -> BatchConfig:
    """``parse_batch_config`` and the checks of the kinds. Raises ``InvalidInputError`` with every problem."""
    problems = []
    try:
        config = parse_batch_config(document, work_retention_days=work_retention_days)
    except InvalidInputError as error:
        problems = error.problems
    problems += _problems(document)
    if problems:
        raise InvalidInputError(problems)
    return config


def _problems(document: Any) -> Iterator[Problem]:
    """Problems with ``target.arn`` and ``timeout_seconds`` for every kind of the document's ``target.type``.

    They are read from the raw document, so that a mistake elsewhere does not hide them. Values of the wrong type are
    reported by ``parse_batch_config``.
    """
    target, execution = (section(document, name) for name in ("target", "execution_config"))
    kinds = [kind for kind in KINDS if kind.type == target.get("type")]
    arn, seconds = target.get("arn"), execution.get("timeout_seconds")
    if kinds and isinstance(arn, str) and not any(re.fullmatch(kind.arn_pattern, arn) for kind in kinds):
        yield Problem("target.arn", arn, f"not the ARN of {kinds[0].resource}", f"write {kinds[0].arn_example}")
    if kinds and type(seconds) is int and seconds <= MAX_AGENT_TIMEOUT_SECONDS:  # the most of any kind
        longest = max(kinds, key=lambda kind: kind.most_timeout_seconds)
        if (problem := longest.timeout_problem(seconds)) is not None:
            yield problem


class KindInvoker:
    """Calls each target with the invoker of its kind. For ``make_client``, see ``ClientFactory``."""

    def __init__(self, make_client: ClientFactory) -> None:
        self._invokers = {kind.name: kind.invoker(make_client) for kind in KINDS if isinstance(kind, WorkerKind)}

    def invoke(self, target: Target, payload: bytes, timeout_seconds: float) -> bytes | Outcome:
        return self._invokers[target.invocation].invoke(target, payload, timeout_seconds)
