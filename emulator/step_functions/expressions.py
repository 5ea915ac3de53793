"""JSONata as Step Functions evaluates it (dg/transforming-data.html).

Compiled expressions are cached and shared by all threads: each evaluation works on a shallow copy, because
jsonata-python keeps the expression that runs in a thread-local.
"""

import copy
import functools
import json
import re
from typing import Any

from jsonata.jsonata import Jsonata
from jsonata.utils import Utils
from ministack.services import stepfunctions
from ministack.services.stepfunctions import _ExecutionError as StateError

UNDEFINED = object()
"""Values of expressions that JSON cannot represent."""


class QueryEvaluationError(StateError):  # type: ignore[misc]
    """Raised when an expression of the field `location` gives no usable value."""

    def __init__(self, cause: str, location: str) -> None:
        super().__init__("States.QueryEvaluationError", cause)
        self.location = location


_PLAIN_PATH = re.compile(r"\$([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*)*)")


class Evaluation:
    """The scope of a state's expressions: `$states` and the variables."""

    __slots__ = ("states", "variables")

    def __init__(self, states: dict[str, Any], variables: dict[str, Any]) -> None:
        self.states = states
        self.variables = variables

    def template(self, value: Any, field: str) -> Any:
        """`value` with each `{% … %}` string replaced by its result. Errors name `field`."""
        if isinstance(value, str):
            return self.expression(value[2:-2].strip(), field) if is_expression(value) else value
        if isinstance(value, dict):
            return {key: self.template(item, f"{field}/{key}") for key, item in value.items()}
        if isinstance(value, list):
            return [self.template(item, f"{field}[{index}]") for index, item in enumerate(value)]
        return value

    def expression(self, expression: str, field: str) -> Any:
        """The result of one expression.

        Raises:
            StateError: States.QueryEvaluationError, also for a result that is undefined or no JSON.
        """
        value = self._plain_path(expression)
        if value is None:
            value = _evaluate(expression, field, self.states, self.variables)
        elif value is Utils.NULL_VALUE:
            value = None
        if value is UNDEFINED:
            raise query_error(expression, field, "returned nothing (undefined).")
        return value

    def _plain_path(self, expression: str) -> Any:
        """The value of `$states.input.a.b` without the engine; None if the engine must evaluate it."""
        found = _PLAIN_PATH.fullmatch(expression)
        if found is None:
            return None
        name, path = found.groups()
        value = self.states if name == "states" else self.variables.get(name, UNDEFINED)
        for key in path.split(".")[1:]:
            if type(value) is not dict:
                return None
            value = value.get(key, UNDEFINED)
        return Utils.NULL_VALUE if value is None else value

    def typed(self, value: Any, field: str, expected: str) -> Any:
        """A field whose expression must give the JSON type `expected`.

        Recording: map_items_jsonata.json.
        """
        result = self.template(value, field)
        actual = json_type(result)
        if is_expression(value) and actual != expected:
            raise query_error(
                value[2:-2].strip(),
                field,
                f"returned an unexpected result type. Expected '{expected}', but was '{actual}' "
                f"for value: {json.dumps(result, separators=(',', ':'), ensure_ascii=False)}",
            )
        return result


def is_expression(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("{%") and value.endswith("%}")


def query_error(expression: str, field: str, what: str) -> QueryEvaluationError:
    return QueryEvaluationError(
        f"The JSONata expression '{expression}' specified for the field '{field}' {what}", field
    )


def json_type(value: Any) -> str:
    return str(stepfunctions._json_type(value))


@functools.lru_cache(maxsize=4096)
def _compiled(expression: str) -> Jsonata:
    compiled = Jsonata(expression)
    stepfunctions._register_sfn_jsonata_functions(compiled)
    compiled.register_lambda("range", _range)
    compiled.set_output_convert_nulls(False)
    return compiled


def _range(start: float, end: float, step: float) -> Any:
    """`$range` as a JSONata sequence: a single number is not an array (recording: jsonata_functions_2.json)."""
    return Utils.create_sequence_from_iter(stepfunctions._sfn_jsonata_range(start, end, step))


def _evaluate(expression: str, field: str, states: dict[str, Any], variables: dict[str, Any]) -> Any:
    bindings = {name: Utils.NULL_VALUE if value is None else value for name, value in variables.items()}
    bindings["states"] = states
    try:
        engine = copy.copy(_compiled(expression))
        Jsonata.CURRENT.jsonata = engine
        result = engine.evaluate(None, bindings)
    except Exception as error:  # the engine raises whatever its Python code raises
        code = getattr(error, "error", None)
        message = f"{code}: {error}" if isinstance(code, str) and code else str(error)
        raise query_error(expression, field, f"threw an error during evaluation. {message}") from error
    if result is None:
        return UNDEFINED
    try:
        return _as_json(result)
    except TypeError:
        raise query_error(expression, field, "returned an unsupported result type.") from None


def _as_json(value: Any) -> Any:
    """A copy of `value` in plain Python types. Whole numbers lose their fraction, as in JavaScript."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if value is Utils.NULL_VALUE:
        return None
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [_as_json(item) for item in value]
    if kind is float:
        return int(value) if value.is_integer() and abs(value) < 1e21 else value
    raise TypeError(kind.__name__)
