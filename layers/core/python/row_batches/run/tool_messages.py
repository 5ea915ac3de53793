"""The messages between the state machine and ProcessToolRows, which runs tools and Express agents."""

from row_batches.run.messages import ChildInput, Message


class ToolRowsRequest(ChildInput):
    """The rows of a child."""


class ToolRowsResponse(Message):
    """Counts of the rows. The rows themselves are in the row store.

    If ``remaining`` > 0, call again with the same items. If ``come_again_in_seconds`` > 0, wait that long and call
    again: another call owns these rows, or no row may start yet.
    """

    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    not_attempted: int = 0
    remaining: int = 0
    come_again_in_seconds: int = 0
