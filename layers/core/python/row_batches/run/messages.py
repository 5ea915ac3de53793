"""The parts that messages between the state machine and the functions share.

The messages are in a module for each group of functions, because a function pays at its start for each model that it
imports. A test compares them with the ASL.
"""

from pydantic import ConfigDict

from foundation.lazy_model import LazyModel


class Message(LazyModel):
    """A message. Its errors, which end in the logs, do not show cells."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ObjectVersion(Message):
    """One version of an object in the results bucket."""

    bucket: str
    key: str
    version_id: str


class BatchReference(Message):
    """The part of every child's input that is not its rows."""

    plan_key: str


class ChildInput(Message):
    """The input of a child: its rows, as a map with an ItemBatcher gives them to it.

    A row is {"r": "<row number>", "c1": "...", ...}, as the CSV reader of Step Functions gives it.
    """

    BatchInput: BatchReference
    Items: list[dict[str, str]]


class CaughtError(Message):
    """The error that a Catch gets as ``$states.errorOutput``."""

    Error: str = ""
    Cause: str = ""
