"""Checks of CreateStateMachine that MiniStack lacks (API_CreateStateMachine, dg/state-map-distributed.html)."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

MAX_LABEL = 40
WAITING_RESOURCE = re.compile(r"\.(sync(:2)?|waitForTaskToken)$")
JSONATA_FIELDS = frozenset({"Arguments", "Output", "Items"})
JSONPATH_FIELDS = frozenset(
    {
        *("InputPath", "OutputPath", "Parameters", "ResultPath", "ResultSelector"),
        *("ItemsPath", "SecondsPath", "TimestampPath", "TimeoutSecondsPath", "HeartbeatSecondsPath"),
        *(
            "ErrorPath",
            "CausePath",
            "MaxConcurrencyPath",
            "ToleratedFailureCountPath",
            "ToleratedFailurePercentagePath",
        ),
    }
)
"""Fields that a state can only have in one of the two languages
(https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html)."""
LABEL = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/]+")


def problem(definition: str | None, machine_type: str) -> str | None:
    """The first reason to refuse a definition, or None. MiniStack refuses text that is not JSON."""
    try:
        machine = json.loads(definition or "{}")
    except ValueError:
        return None
    labels: set[str] = set()
    for path, state, express in _states(machine, "", machine_type == "EXPRESS"):
        found = _state_problem(state, express, labels)
        if found:
            what, field = found
            return f"SCHEMA_VALIDATION_FAILED: {what} at {path}/{field}"
    return None


def _states(machine: dict[str, Any], path: str, express: bool) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Every state, including those of branches and maps, and whether it runs in an Express workflow."""
    language = machine.get("QueryLanguage", "JSONPath")
    for name, state in machine.get("States", {}).items():
        here = f"{path}/States/{name}"
        yield here, {"QueryLanguage": language, **state}, express
        inner = [(f"Branches[{number}]", branch) for number, branch in enumerate(state.get("Branches", []))]
        inner += [(field, state[field]) for field in ("ItemProcessor", "Iterator") if field in state]
        for field, part in inner:
            config = part.get("ProcessorConfig", {})
            distributed = config.get("Mode") == "DISTRIBUTED"
            yield from _states(
                {"QueryLanguage": language, **part},
                f"{here}/{field}",
                config.get("ExecutionType") == "EXPRESS" if distributed else express,
            )


def _language_problem(state: dict[str, Any]) -> tuple[str, str] | None:
    language = state["QueryLanguage"]
    other, fields = ("JSONPath", JSONPATH_FIELDS) if language == "JSONata" else ("JSONata", JSONATA_FIELDS)
    field = next((field for field in state if field in fields), None)
    if field is None:
        return None
    what = f"The QueryLanguage is set to '{language}', but field '{field}' is only supported for the '{other}'"
    return f"{what} QueryLanguage", field


def _state_problem(state: dict[str, Any], express: bool, labels: set[str]) -> tuple[str, str] | None:
    if found := _language_problem(state):
        return found
    kind = state.get("Type")
    if kind == "Task" and express:
        waiting = WAITING_RESOURCE.search(state.get("Resource", ""))
        if waiting:
            suffix = waiting.group().removesuffix(":2")
            return f"Express state machine does not support '{suffix}' service integration", "Resource"
    if (
        kind == "Wait"
        and "Timestamp" in state
        and not (state["QueryLanguage"] == "JSONata" and "{%" in state["Timestamp"])
    ):
        try:
            moment = datetime.fromisoformat(state["Timestamp"])
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None or "T" not in state["Timestamp"]:
            return "String does not match RFC3339 timestamp", "Timestamp"
    return _map_problem(state, express, labels) if kind == "Map" else None


def _map_problem(state: dict[str, Any], express: bool, labels: set[str]) -> tuple[str, str] | None:
    config = (state.get("ItemProcessor") or state.get("Iterator") or {}).get("ProcessorConfig", {})
    if config.get("Mode") != "DISTRIBUTED":
        found = next((field for field in ("ItemReader", "ItemBatcher", "ResultWriter") if field in state), None)
        return ("Field is only supported in DISTRIBUTED mode", found) if found else None
    if express:
        return "Express state machine does not support DISTRIBUTED mode", "ItemProcessor/ProcessorConfig/Mode"
    if config.get("ExecutionType") not in ("STANDARD", "EXPRESS"):
        return "ExecutionType must be STANDARD or EXPRESS", "ItemProcessor/ProcessorConfig/ExecutionType"
    label = state.get("Label")
    if label is None:
        return None
    if len(label) > MAX_LABEL or not LABEL.fullmatch(label):
        return (
            f"Label must have at most {MAX_LABEL} characters and no blanks, brackets, wildcards or special characters",
            "Label",
        )
    if label in labels:
        return "Label must be unique in the definition", "Label"
    labels.add(label)
    return None
