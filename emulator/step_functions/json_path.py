"""Paths and templates of JSONPath states (dg/concepts-input-output-filtering.html), variables included."""

import re
from typing import Any

from ministack.services import stepfunctions
from ministack.services.stepfunctions import _ExecutionError as StateError

_VARIABLE = re.compile(r"\$([A-Za-z_]\w*)(.*)", re.DOTALL)


class Paths:
    """The scope of a state's paths: its input, the context object and the variables."""

    def __init__(self, context: dict[str, Any], variables: dict[str, Any]) -> None:
        self._context = context
        self._variables = variables

    def resolve(self, path: str | None, data: Any) -> Any:
        """The value of a path, of an intrinsic function, or `{}` for null.

        Raises:
            StateError: States.Runtime for a variable that is not defined.
        """
        if path is None:
            return {}
        if path.startswith("States."):
            return stepfunctions._evaluate_intrinsic(path, data, self._context)
        variable = _VARIABLE.fullmatch(path)
        if variable is not None:
            name, rest = variable.groups()
            if name not in self._variables:
                raise StateError("States.Runtime", f"The variable '{name}' is not defined.")
            return stepfunctions._resolve_path(f"${rest}", self._variables[name])
        if path == "$$":
            return self._context
        return stepfunctions._resolve_path_or_ctx(path, data, self._context)

    def template(self, template: Any, data: Any) -> Any:
        """The value of a template, in which keys that end in `.$` have paths."""
        if isinstance(template, list):
            return [self.template(item, data) for item in template]
        if not isinstance(template, dict):
            return template
        return {
            key[:-2] if key.endswith(".$") else key: (
                self.resolve(value, data) if key.endswith(".$") else self.template(value, data)
            )
            for key, value in template.items()
        }
