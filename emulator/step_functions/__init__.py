"""Step Functions of the local AWS, with what MiniStack lacks: Distributed Map, JSONata, time-outs, limits and roles.

MiniStack provides the API and its stores; this package is the engine behind StartExecution. In docstrings, `dg/…` is a
page under https://docs.aws.amazon.com/step-functions/latest/, `API_…` is a page of its apireference, and a recording is
a file of real AWS responses that `emulator/tests/test_recordings.py` replays.
"""

from emulator.step_functions import distributed_map, executions, nested


def install() -> None:
    """Replace the Step Functions engine of MiniStack in this process. Calling it again changes nothing."""
    nested.install()
    distributed_map.install()
    executions.install()
