"""JMESPath expressions that users write: the ``jmespath`` library, with bounded work.

A short expression can do any amount of work: each ``[@, @][]`` doubles a list. So each search has a budget, which
counts the values that expressions and functions visit. It counts work, not seconds, so that the same answer gives the
same result on every machine.

Source of the language: https://jmespath.org/specification.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.visitor import TreeInterpreter

from foundation.problems import closest, listed

MAX_EXPRESSION_LENGTH = 2_000
MAX_STEPS = 250_000
"""The budget of one search: visited values, and blocks of ``CHARACTERS_A_STEP`` in texts and numbers that it reads
or creates. A search takes up to about half a second."""
CHARACTERS_A_STEP = 100
_DEEP_FUNCTIONS = frozenset({"contains", "to_string"})
"""Functions that visit everything inside their arguments. The others visit only the elements."""

_UNKNOWN_CHARACTER = "Unknown token"
_QUOTE = 'put a name that has other characters than letters, digits and _ in double quotes, as in "a-b"'
_REFERENCE = "& begins an argument of a function such as sort_by(list, &name), and nothing else"
_TOO_MUCH = f"the expression takes more than {MAX_STEPS:,} steps on this answer: make it narrower"


class _TooMuchWorkError(ValueError):
    """Raised when a search has used up its budget."""


class _Budget:
    """The steps that a search has left."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_STEPS

    def draw(self, steps: int) -> None:
        """Raises ``_TooMuchWorkError`` when they are used up."""
        self.left -= steps
        if self.left < 0:
            raise _TooMuchWorkError(_TOO_MUCH)

    def draw_elements(self, value: Any) -> None:
        """Draw for a value and its elements."""
        self.draw(_steps(value))
        if isinstance(value, list):
            self.draw(sum(len(element) // CHARACTERS_A_STEP for element in value if isinstance(element, str)))

    def draw_all(self, value: Any) -> None:
        """Draw for a value and all that is in it."""
        left = [value]
        while left:
            one = left.pop()
            self.draw(_steps(one))
            if isinstance(one, dict):
                left += one.values()
            elif isinstance(one, list):
                left += one


def _steps(value: Any) -> int:
    if isinstance(value, str):
        return 1 + len(value) // CHARACTERS_A_STEP
    if isinstance(value, int):
        return 1 + value.bit_length() // (3 * CHARACTERS_A_STEP)  # a digit takes a little more than three bits
    return 1 + (len(value) if isinstance(value, list | dict) else 0)


class _BoundedFunctions(Functions):  # type: ignore[misc]
    def __init__(self, budget: _Budget) -> None:
        self._budget = budget

    def call_function(self, function_name: str, resolved_args: list[Any]) -> Any:
        draw = self._budget.draw_all if function_name in _DEEP_FUNCTIONS else self._budget.draw_elements
        for argument in resolved_args:
            draw(argument)
        if function_name == "join" and len(resolved_args) == 2:
            separator, parts = resolved_args
            if isinstance(separator, str) and isinstance(parts, list):
                self._budget.draw(len(separator) * len(parts) // CHARACTERS_A_STEP)
        result = super().call_function(function_name, resolved_args)
        if isinstance(result, float) and not math.isfinite(result):
            return None  # to_number reads "inf" and "nan", which JSON lacks
        self._budget.draw(_steps(result))
        return result


class _BoundedInterpreter(TreeInterpreter):  # type: ignore[misc]
    def __init__(self, budget: _Budget) -> None:
        super().__init__(jmespath.Options(custom_functions=_BoundedFunctions(budget)))
        self._budget = budget

    def visit(self, node: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        self._budget.draw(1)
        return super().visit(node, *args, **kwargs)

    def visit_comparator(self, node: dict[str, Any], value: Any) -> Any:
        sides = [self.visit(child, value) for child in node["children"]]
        for side in sides:
            self._budget.draw_all(side)
        literals = [{"type": "literal", "value": side, "children": []} for side in sides]
        return super().visit_comparator({**node, "children": literals}, value)

    def visit_flatten(self, node: dict[str, Any], value: Any) -> Any:
        # Drawn before the list is flattened, because the same long list can be in it many times. A slice needs no such
        # draw: it is never longer than its list, and the projection around it visits each element.
        base = self.visit(node["children"][0], value)
        if isinstance(base, list):
            self._budget.draw(sum(len(element) if isinstance(element, list) else 1 for element in base))
        literal = {"type": "literal", "value": base, "children": []}
        return super().visit_flatten({**node, "children": [literal]}, value)


@lru_cache(maxsize=1_024)
def compile_jmes_path(text: str) -> Callable[[Any], Any]:
    """A function that evaluates the expression on a document; it returns None if the expression matches nothing.

    Raises ValueError saying what is wrong with the expression. The function raises ValueError when the document has
    other types than the expression's functions take, or when the search takes more than ``MAX_STEPS``.
    """
    if len(text) > MAX_EXPRESSION_LENGTH:
        raise ValueError(f"the expression has {len(text):,} characters; at most {MAX_EXPRESSION_LENGTH:,} are allowed")
    try:
        parsed = jmespath.compile(text).parsed
    except JMESPathError as error:
        reason = str(error).splitlines()[0].rstrip(":") if str(error) else "not an expression"
        raise ValueError(f"{reason}; {_QUOTE}" if _UNKNOWN_CHARACTER in reason else reason) from None
    except RecursionError:
        raise ValueError("the expression is nested too deep") from None
    if parsed["type"] == "expref":
        raise ValueError(_REFERENCE)
    for node in _nodes(parsed):
        if node["type"] == "function_expression":
            _check_function(node)
        elif any(child["type"] == "expref" for child in node["children"] if isinstance(child, dict)):
            raise ValueError(_REFERENCE)

    def search(document: Any) -> Any:
        try:
            return _BoundedInterpreter(_Budget()).visit(parsed, document)
        except _TooMuchWorkError:
            raise
        except (JMESPathError, TypeError, OverflowError):
            raise ValueError("a function of the expression does not take what the answer has there") from None
        except RecursionError:
            raise ValueError("nested too deep for the expression") from None

    return search


def _nodes(parsed: dict[str, Any]) -> Iterator[dict[str, Any]]:
    left: list[Any] = [parsed]
    while left:
        node = left.pop()
        if isinstance(node, dict) and "type" in node:
            yield node
            left += node["children"]


def _check_function(node: dict[str, Any]) -> None:
    """Check name and arguments of a function now, because the library checks them only when it evaluates it."""
    name, count = node["value"], len(node["children"])
    known = Functions.FUNCTION_TABLE
    if name not in known:
        nearest = closest(name, known)
        hint = f"did you mean {nearest}()? " if nearest else ""
        raise ValueError(f"unknown function {name}(); {hint}known: {listed(sorted(known), 30)}")
    signature = known[name]["signature"]
    least = len(signature)
    variadic = bool(signature and signature[-1].get("variadic"))
    if count < least or (count > least and not variadic):
        raise ValueError(f"{name}() takes {'at least ' if variadic else ''}{least} arguments, not {count}")
    for index, argument in enumerate(node["children"]):
        if argument["type"] == "expref" and "expref" not in signature[min(index, least - 1)]["types"]:
            raise ValueError(_REFERENCE)
