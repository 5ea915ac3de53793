"""The engine for JSONPaths that have more than names and indexes: ``jsonpath-rfc9535``, with bounded work.

``match()`` and ``search()`` run on RE2, so their time is linear. Patterns are I-Regexps (RFC 9485), whose section 5.4
gives the mapping: a dot outside a character class becomes ``[^\\n\\r]``.

The code uses the library's own extension points: ``function_extensions`` for the two functions, and nodes and queries
that count. Each node of a search, also inside filters, uses one shared budget, because a small document can have
billions of matches: ``$..*..*..*`` in a list 100 levels deep.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from iregexp_check import check
from jsonpath_rfc9535 import JSONPathEnvironment, JSONPathError, JSONPathNode, JSONPathQuery
from jsonpath_rfc9535.filter_expressions import (
    ComparisonExpression,
    FilterExpression,
    FilterQuery,
    FunctionExtension,
    LogicalExpression,
    PrefixExpression,
    StringLiteral,
)
from jsonpath_rfc9535.function_extensions import ExpressionType, FilterFunction
from jsonpath_rfc9535.segments import JSONPathRecursiveDescentSegment
from jsonpath_rfc9535.selectors import FilterSelector, IndexSelector, NameSelector

from foundation.regular_expressions import Pattern, compile_pattern

MAX_DEPTH = 100
"""Levels that ``..`` descends into. The library recurses, so Python's stack limits it."""
MAX_VISITS = 1_000_000
"""Values that one search can visit; repeated visits count. A search takes up to about 3 seconds and 100 MB."""
MAX_CHARACTERS = 6 * 1024 * 1024
"""Approximate size of all matches together as JSON. No target accepts more: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""


class Query:
    """A compiled path: ``find`` gives its matches."""

    __slots__ = ("_query", "_repeats", "steps")

    def __init__(self, query: JSONPathQuery) -> None:
        self._query = query
        self._repeats = any(
            isinstance(segment, JSONPathRecursiveDescentSegment) or len(segment.selectors) > 1
            for segment in query.segments
        )
        self.steps = _singular_steps(query)
        """The names and indexes of a path that can match one value at most; None when it can match many."""

    def find(self, document: Any) -> list[Any]:
        """All matches, in document order.

        Raises ValueError when the document is nested deeper than ``MAX_DEPTH``, a limit above is reached, or a text is
        too long for a pattern.
        """
        budget = _budget.set([MAX_VISITS])
        try:
            matches = [node.value for node in self._query.finditer(document)]
        except (JSONPathError, RecursionError):
            raise ValueError(f"the document is nested deeper than {MAX_DEPTH} levels") from None
        finally:
            _budget.reset(budget)
        # Only matches that overlap can be larger than the document.
        if self._repeats and not _fits(matches, MAX_CHARACTERS):
            raise ValueError(f"the matches have more than {MAX_CHARACTERS:,} characters: make the path narrower")
        return matches


def compile_query(text: str) -> Query:
    """Compile a path. Raises ValueError with the mistake and its position."""
    try:
        query = _environment.compile(text)
    except JSONPathError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("the path is nested too deep") from None
    for part in _filter_parts(query):
        if isinstance(part, FilterQuery):
            part.query = _CountedQuery(env=_environment, segments=part.query.segments)
        elif part.name in ("match", "search") and isinstance(part.args[1], StringLiteral):
            # Check literal patterns now. Otherwise a mistake in one only shows as a path that matches nothing.
            try:
                _compile_i_regexp(part.args[1].value)
            except ValueError as error:
                raise ValueError(f"pattern of {part.name}(): {error}") from None
    return Query(_CountedQuery(env=_environment, segments=query.segments))


def _singular_steps(query: JSONPathQuery) -> list[str | int] | None:
    if not query.singular_query():
        return None
    steps: list[str | int] = []
    for segment in query.segments:
        selector = segment.selectors[0]
        if isinstance(selector, NameSelector):
            steps.append(selector.name)
        elif isinstance(selector, IndexSelector):
            steps.append(selector.index)
    return steps


def _filter_parts(query: JSONPathQuery) -> Iterator[FilterQuery | FunctionExtension]:
    """The queries and function calls in the filters of a query, at any depth."""
    left: list[object] = [query]
    while left:
        part = left.pop()
        if isinstance(part, JSONPathQuery):
            selectors = (selector for segment in part.segments for selector in segment.selectors)
            left += [selector.expression for selector in selectors if isinstance(selector, FilterSelector)]
        elif isinstance(part, FilterExpression):
            left.append(part.expression)
        elif isinstance(part, PrefixExpression):
            left.append(part.right)
        elif isinstance(part, LogicalExpression | ComparisonExpression):
            left += [part.left, part.right]
        elif isinstance(part, FilterQuery):
            left.append(part.query)
            yield part
        elif isinstance(part, FunctionExtension):
            left += part.args
            yield part


def _fits(values: list[Any], characters: int) -> bool:
    """Whether the values have at most so many characters as JSON, not counting escapes. Stops at the first excess."""
    left = [iter(values)]
    while left:
        for value in left[-1]:
            characters -= 1
            if isinstance(value, str):
                characters -= len(value) + 2
            elif isinstance(value, int):
                characters -= value.bit_length() // 4  # a digit takes less than four bits
            elif isinstance(value, dict):
                characters -= sum(map(len, value)) + 3 * len(value)
                left.append(iter(value.values()))
            elif isinstance(value, list):
                left.append(iter(value))
            if characters < 0:
                return False
            if isinstance(value, dict | list):
                break
        else:
            left.pop()
    return True


# --- counting what a search looks at

_budget: ContextVar[list[int]] = ContextVar("_budget")


class _CountedNode(JSONPathNode):
    """A node that counts against the search's budget: itself and its members, because the search visits them too.

    It keeps no location, which at 100 levels would be most of a node's size.
    """

    __slots__ = ("_left",)

    def __init__(self, value: object, root: Any, left: list[int]) -> None:
        super().__init__(value=value, location=(), parent=None, root=root)
        self._left = left
        left[0] -= 1 + (len(value) if isinstance(value, dict | list) else 0)
        if left[0] < 0:
            raise ValueError(f"the path looks at more than {MAX_VISITS:,} values: make it narrower, with fewer '..'")

    def new_child(self, value: object, key: int | str, parent: JSONPathNode | None) -> JSONPathNode:  # noqa: ARG002
        return _CountedNode(value, self.root, self._left)


class _CountedQuery(JSONPathQuery):
    __slots__ = ()

    def finditer(self, value: Any) -> Iterable[JSONPathNode]:
        nodes: Iterable[JSONPathNode] = [_CountedNode(value, value, _budget.get())]
        for segment in self.segments:
            nodes = segment.resolve(nodes)
        return nodes


# --- match() and search()

_QUANTIFIER = re.compile(r"\{(?:0|[1-9][0-9]*)(?P<upper>,(?:0|[1-9][0-9]*)?)?\}")
"""RFC 9485 has numbers of any length, and ``iregexp_check`` reads one digit only. RE2 checks their values, and reads
``{012}`` as a text, so that is refused."""


@lru_cache(maxsize=64)
def _compile_i_regexp(text: str) -> Pattern:
    if not check(_QUANTIFIER.sub(lambda found: "{1,}" if found["upper"] else "{1}", text)):
        raise ValueError("not an I-Regexp (RFC 9485): write [0-9] for \\d, [A-Za-z0-9_] for \\w, no look-around")
    return compile_pattern(_re2_form(text))


class _LinearFunction(FilterFunction):
    arg_types = [ExpressionType.VALUE, ExpressionType.VALUE]
    return_type = ExpressionType.LOGICAL

    def __init__(self, test: Callable[[Pattern, str], bool]) -> None:
        self._test = test

    def __call__(self, text: object, pattern: object) -> bool:
        # RFC 9535, 2.4.6 and 2.4.7: anything but two strings, or an invalid pattern, is LogicalFalse.
        if not isinstance(text, str) or not isinstance(pattern, str):
            return False
        try:
            compiled = _compile_i_regexp(pattern)
        except ValueError:
            return False
        return self._test(compiled, text)


def _re2_form(pattern: str) -> str:
    """The I-Regexp with each dot outside a character class as RE2's ``[^\\n\\r]``."""
    parts: list[str] = []
    escaped = in_class = False
    for character in pattern:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "[":
            in_class = True
        elif character == "]":
            in_class = False
        elif character == "." and not in_class:
            parts.append(r"[^\n\r]")
            continue
        parts.append(character)
    return "".join(parts)


_environment = JSONPathEnvironment()
_environment.max_recursion_depth = MAX_DEPTH
_environment.function_extensions["match"] = _LinearFunction(Pattern.matches)
_environment.function_extensions["search"] = _LinearFunction(Pattern.found_in)
