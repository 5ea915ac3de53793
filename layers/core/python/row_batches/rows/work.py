"""The plan of an execution, its brake and its active workers."""

from __future__ import annotations

from threading import Lock
from typing import NamedTuple

import orjson
from pydantic import ValidationError

from foundation.errors import (
    CostLimitError,
    DeploymentError,
    NotApprovedError,
    ObjectNotFoundError,
    RowFailedError,
    TargetThrottledError,
    TrialFailedError,
)
from foundation.ports import Clock, ObjectStore
from row_batches.document.plan import WORK_PREFIX, Keys, Plan

BRAKE_CACHE_MS = 1000


class Brake(NamedTuple):
    """The reason why no further row starts. ``error`` is the error name that the execution ends with."""

    reason: str
    error: str
    message: str


FINISHING_BRAKE = Brake("the execution was stopped", "StoppedError", "the execution was stopped")
"""The finishing of a stopped run pulls and releases this brake. Nothing else pulls a brake with this reason."""


def execution_of(plan_key: str) -> str:
    """The execution's name, from the key of its plan."""
    return plan_key.removeprefix(f"{WORK_PREFIX}/").partition("/")[0]


def load_plan(objects: ObjectStore, plan_key: str) -> Plan:
    """Read a plan. Raises ``DeploymentError`` if it has expired, was deleted, or is from a newer release."""
    try:
        body = objects.get(plan_key)
    except ObjectNotFoundError as error:
        raise DeploymentError(
            f"{error} The plan of an execution must outlive it: raise work_retention_days."
        ) from error
    try:
        return Plan.model_validate_json(body)
    except ValidationError as error:
        form = orjson.loads(body).get("schema_version")
        raise DeploymentError(
            f"The plan {plan_key} was written in form {form}, which this release cannot read: {error}. Deploy the "
            "release that wrote it again, or a newer one."
        ) from error


def failure_brake(plan: Plan) -> Brake:
    """The brake of a run that ends because of failed rows; it names the field that the user set."""
    execution_config = plan.config.execution_config
    if not execution_config.continue_on_error:
        reason = "a row failed and continue_on_error is false"
    else:
        reason = f"stop_after was reached: {execution_config.failure_limit(plan.rows_sent):,} failed rows"
    return Brake(reason, RowFailedError.__name__, "")


def cost_brake(plan: Plan) -> Brake:
    """The brake of a run whose target has cost ``stop_after.cost_usd``."""
    reason = f"stop_after was reached: {plan.target.name} has cost {plan.config.execution_config.cost_limit:,g} USD"
    return Brake(reason, CostLimitError.__name__, "")


TRIAL_FAILED_BRAKE = Brake(
    "no row of the trial was successful",
    TrialFailedError.__name__,
    "No row of the trial was successful. Look at first_failures, fix the cause, and start the run again.",
)


def not_approved_brake(approved: bool | None) -> Brake:
    """The brake of a run that must not go on after its trial. ``approved`` is None if nobody answered in time."""
    reason = "the trial was not approved in time" if approved is None else "the trial was not approved"
    fix = "To reuse the rows of the trial, start a run with resume_from."
    return Brake(reason, NotApprovedError.__name__, f"{reason}. {fix}")


def throttled_brake(plan: Plan) -> Brake:
    """The brake of a run whose target throttles every call."""
    seconds = plan.config.execution_config.give_up_seconds
    reason = f"{plan.target.name} throttled every call for {seconds:,} s"
    return Brake(
        reason,
        TargetThrottledError.__name__,
        f"{reason} (give_up_seconds). Lower max_concurrency, set a rate, or raise the target's own limit; then resume.",
    )


class Work:
    """The brake and the active workers of one execution. Safe in several threads."""

    def __init__(self, objects: ObjectStore, keys: Keys, clock: Clock) -> None:
        self.objects = objects
        self.keys = keys
        self.clock = clock
        self._lock = Lock()
        self._brake: Brake | None = None
        self._brake_read_ms = -BRAKE_CACHE_MS - 1

    # --- the brake

    def brake(self, *, fresh: bool = False) -> Brake | None:
        """The brake, if it is pulled; read at most once a second unless ``fresh``.

        It is read again even after it was pulled, because the finishing of a stopped run releases it, and the run can
        be redriven.
        """
        with self._lock:
            now = self.clock.now_ms()
            if fresh or now - self._brake_read_ms > BRAKE_CACHE_MS:
                self._brake = self._read_brake()
                self._brake_read_ms = now
            return self._brake

    def _read_brake(self) -> Brake | None:
        try:
            body = orjson.loads(self.objects.get(self.keys.brake))
        except ObjectNotFoundError:
            return None
        return Brake(
            reason=str(body.get("reason", "")), error=str(body.get("error", "")), message=str(body.get("message", ""))
        )

    def pull_brake(self, brake: Brake) -> None:
        """Stop every worker before its next row. If the brake is pulled already, its first reason stays."""
        with self._lock:
            body = {"reason": brake.reason, "error": brake.error, "message": brake.message}
            pulled = self.objects.put_new(self.keys.brake, orjson.dumps(body))
            self._brake = brake if pulled else self._read_brake()

    def release_finishing_brake(self) -> None:
        """Release the brake if the finishing of a stopped run pulled it. Any other brake stays."""
        with self._lock:
            self._brake = self._read_brake()
            if self._brake == FINISHING_BRAKE:
                self.objects.delete(self.keys.brake)
                self._brake = None

    def is_active(self) -> bool:
        """Whether a worker of a run of the previous release has started and not ended. A killed one stays listed."""
        return next(iter(self.objects.list_objects(self.keys.active)), None) is not None
