"""The engine behind JSONPaths that are more than names and indexes: the library ``jsonpath-rfc9535``, with one change.

``match()`` and ``search()`` run on RE2, so that their time is linear. Patterns are I-Regexps (RFC 9485), whose section
5.4 gives the mapping: a dot outside a character class becomes ``[^\\n\\r]``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from iregexp_check import check
from jsonpath_rfc9535 import JSONPathEnvironment, JSONPathError, JSONPathQuery, JSONPathTypeError
from jsonpath_rfc9535.filter_expressions import Expression, StringLiteral
from jsonpath_rfc9535.function_extensions import ExpressionType, FilterFunction
from jsonpath_rfc9535.lex import tokenize
from jsonpath_rfc9535.selectors import IndexSelector, NameSelector
from jsonpath_rfc9535.tokens import Token, TokenType

from foundation.regular_expressions import Pattern, compile_pattern

MAX_DEPTH = 100
"""Levels that ``..`` descends into: the library visits recursively, so Python's stack bounds it."""
MAX_DESCENTS = 3
"""How often ``..`` may stand in a path: each multiplies the matches by the levels of the document, of which a small
cell can have 100. Six of them took minutes and gigabytes."""


def compile_query(text: str) -> JSONPathQuery:
    """Raises ValueError saying what is wrong, and where."""
    try:
        query = _environment.compile(text)
        descents = sum(token.type_ is TokenType.DOUBLE_DOT for token in tokenize(text))  # those in filters included
    except JSONPathError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("the path is nested too deep") from None
    if descents > MAX_DESCENTS:
        raise ValueError(
            f"the path has '..' {descents} times; at most {MAX_DESCENTS} are allowed: name the levels between them"
        )
    return query


def singular_steps(query: JSONPathQuery) -> list[str | int] | None:
    """The names and indexes of a query that can match one value at most; None when it can match many."""
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


def find(query: JSONPathQuery, document: Any) -> list[Any]:
    """All matches, in document order. Raises ValueError when the document is nested deeper than can be followed."""
    try:
        return query.find(document).values()
    except (JSONPathError, RecursionError):
        raise ValueError(f"the document is nested deeper than {MAX_DEPTH} levels") from None


@lru_cache(maxsize=64)
def _compile_i_regexp(text: str) -> Pattern:
    if not check(text):
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
            return self._test(_compile_i_regexp(pattern), text)
        except ValueError:
            return False


class _LinearEnvironment(JSONPathEnvironment):
    max_recursion_depth = MAX_DEPTH

    def setup_function_extensions(self) -> None:
        super().setup_function_extensions()
        self.function_extensions["match"] = _LinearFunction(Pattern.matches)
        self.function_extensions["search"] = _LinearFunction(Pattern.found_in)

    def validate_function_extension_signature(self, token: Token, args: list[Any]) -> list[Expression]:
        checked = super().validate_function_extension_signature(token, args)
        if token.value in ("match", "search") and isinstance(args[1], StringLiteral):
            # A pattern written in the path is known now: a mistake in it should not wait and then match nothing.
            try:
                _compile_i_regexp(args[1].value)
            except ValueError as error:
                raise JSONPathTypeError(f"pattern of {token.value}(): {error}", token=token) from None
        return checked


_environment = _LinearEnvironment()


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
