"""Reads the code of a user's handler, without running it: its function, the fields that it returns, its own modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

FUNCTIONS = ("handler", "lambda_handler")
"""Names of the function that Lambda calls: ours, and that of AWS's console and samples."""


def function_of(module: ast.Module) -> str | None:
    """The first of ``FUNCTIONS`` that the module defines, assigns or imports."""
    defined = set(_defined(module))
    return next((name for name in FUNCTIONS if name in defined), None)


def _defined(module: ast.Module) -> Iterator[str]:
    for node in module.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (to.id for to in node.targets if isinstance(to, ast.Name))
        elif isinstance(node, ast.ImportFrom):
            yield from (name.asname or name.name for name in node.names)


def modules_beside(file: Path) -> list[Path]:
    """The modules and packages in the file's folder that it imports, and those that they import, without itself."""
    folder = file.resolve().parent
    found: dict[Path, None] = {}
    unread = [file.resolve()]
    while unread:
        for name in _imported(unread.pop()):
            is_package = (folder / name / "__init__.py").is_file()
            places = (folder / name, folder / f"{name}.py")
            for path in places if is_package else reversed(places):  # as Python prefers them
                code = sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.is_file() else []
                if code and path != file.resolve() and path not in found:
                    found[path] = None
                    unread += code
                if code:
                    break
    return sorted(found)


def _imported(file: Path) -> Iterator[str]:
    """The first part of the name of each module that the file imports. None of a file that is not Python."""
    try:
        module = ast.parse(file.read_text(encoding="utf-8-sig"))
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def returned_fields(code: str) -> list[str]:
    """The fields of the objects that the handler returns, if each ``return`` spells its object out; else none.

    Of a ``tool_result``, those of its content; of an HTTP response, those of its body. An error has no fields.
    """
    fields: dict[str, None] = {}
    module = ast.parse(code)
    function = function_of(module)
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            for answer in _returns(node):
                found = _fields_of(answer)
                if found is None:
                    return []
                fields |= dict.fromkeys(found)
    return list(fields)


def _returns(function: ast.FunctionDef) -> Iterator[ast.expr | None]:
    """What the function returns, without the functions in it."""
    nodes: list[ast.AST] = list(function.body)
    while nodes:
        node = nodes.pop(0)
        if isinstance(node, ast.Return):
            yield node.value
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            nodes = [*ast.iter_child_nodes(node), *nodes]


def _fields_of(answer: ast.expr | None) -> list[str] | None:
    """The fields of an answer; None if the code does not show them."""
    if isinstance(answer, ast.Call) and answer.args and _name_of(answer.func) == "dumps":
        return _fields_of(answer.args[0])
    if not isinstance(answer, ast.Dict):
        return None
    parts: dict[str, ast.expr] = {}
    for key, value in zip(answer.keys, answer.values, strict=True):
        if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
            return None
        parts[key.value] = value
    if "tool_use_id" in parts:
        return _fields_of(parts.get("content")) if _is_false(parts.get("is_error")) else []
    if {"statusCode", "body"} <= parts.keys():
        return _fields_of_response(parts["statusCode"], parts["body"])
    return [] if parts.keys() == {"error"} else list(parts)


def _fields_of_response(status: ast.expr, body: ast.expr) -> list[str] | None:
    if not isinstance(status, ast.Constant) or not isinstance(status.value, int):
        return None
    return [] if status.value >= 400 else _fields_of(body)


def _name_of(function: ast.expr) -> str:
    """``dumps`` of both ``dumps`` and ``json.dumps``."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _is_false(value: ast.expr | None) -> bool:
    """Whether a field is absent or the constant False."""
    return value is None or (isinstance(value, ast.Constant) and value.value is False)
