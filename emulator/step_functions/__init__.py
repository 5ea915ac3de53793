"""Step Functions of the local AWS: what MiniStack lacks of Distributed Map, JSONata, time-outs, limits and roles.

MiniStack keeps the API's front and its stores; the engine behind StartExecution is this package's. Where a docstring
cites `dg/…`, it means that page below https://docs.aws.amazon.com/step-functions/latest/, `API_…` one below its
apireference; a recording is a file of answers of real AWS that `emulator/tests/test_recordings.py` replays.
"""

from emulator.step_functions import distributed_map, executions, nested


def install() -> None:
    """Replace the Step Functions engine of MiniStack in this process. Calling it again changes nothing."""
    nested.install()
    distributed_map.install()
    executions.install()
