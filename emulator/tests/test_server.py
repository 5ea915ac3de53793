"""The local AWS starts, answers on loopback only, and stops clean."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from emulator.testing import FOLDER, LocalAws


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    interpreter = os.environ.get("EMULATOR_PYTHON") or str(FOLDER / ".venv-emulator" / "bin" / "python")
    return subprocess.run(
        [interpreter, "-m", "emulator", *arguments],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def test_two_servers_at_once_keep_their_state_apart(local_aws: LocalAws) -> None:
    with LocalAws() as other:
        other.client("s3").create_bucket(Bucket="only-here")
        assert "only-here" in [bucket["Name"] for bucket in other.client("s3").list_buckets()["Buckets"]]
        assert "only-here" not in [bucket["Name"] for bucket in local_aws.client("s3").list_buckets()["Buckets"]]


def test_the_server_listens_on_the_loopback_interface_only(local_aws: LocalAws) -> None:
    port = int(local_aws.endpoint_url.rsplit(":", 1)[1])
    listening = [
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    ]
    assert f"0100007F:{port:04X}" in listening
    assert f"00000000:{port:04X}" not in listening


def test_start_is_idempotent_and_stop_leaves_no_process_and_no_worker_folder(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    first = run_command("start", "--port", "0", "--state-dir", state)
    try:
        assert first.returncode == 0, first.stderr
        pid = int((tmp_path / "state" / "pid").read_text())
        again = run_command("start", "--port", "0", "--state-dir", state)
        assert again.returncode == 0
        assert "already runs" in again.stdout
        assert int((tmp_path / "state" / "pid").read_text()) == pid
        assert str(pid) in run_command("status", "--state-dir", state).stdout
    finally:
        stopped = run_command("stop", "--state-dir", state)
    assert stopped.returncode == 0
    assert not alive(pid)
    assert run_command("status", "--state-dir", state).returncode == 3
    assert not (tmp_path / "state" / "tmp").exists()


def test_a_taken_port_is_refused_by_name(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = run_command("start", "--port", str(port), "--state-dir", str(tmp_path))
    assert refused.returncode == 1
    assert f"Port {port}" in refused.stderr
    assert "LOCAL_AWS_PORT" in refused.stderr
