"""Step Functions of the local AWS: what MiniStack lacks of Distributed Map, JSONata, time-outs, limits and roles."""


def install() -> None:
    """Replace the Step Functions engine of MiniStack in this process. Calling it again changes nothing."""
    from emulator.step_functions import executions

    executions.install()
