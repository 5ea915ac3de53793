"""Runs from a notebook: the documented example, and what a run shows of itself."""

from __future__ import annotations

import builtins
import json
import re
from pathlib import Path
from typing import Any

import pandas
import pytest

from batch_processor_client import following, notebook
from batch_processor_client.deployment import Deployment as Outputs
from batch_processor_client.errors import ClientError
from batch_processor_client.executions import Ending
from batch_processor_client.notebook import Deployment, Run
from batch_processor_client.progress import Progress
from row_batches.document.plan import InputField, Target
from tests.support.fakes import FakeRuns
from tests.support.terraform_files import REPOSITORY
from tests.unit.client.fakes import EXECUTION, FakeStates, FakeStorage, fake_deployment

EXAMPLE = re.findall(r"```python\n(.*?)```", (REPOSITORY / "client" / "README.md").read_text(encoding="utf-8"), re.S)[0]
RESULTS = "s3://results/results/night-run"
OUTPUT = {"output_s3_uri": f"{RESULTS}/output.csv", "failed_rows_s3_uri": f"{RESULTS}/failed_rows.csv"}


class World:
    """A deployment with a target, whose runs end at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.uploaded: list[str] = []
        self.storage = FakeStorage(
            {
                "results/night-run/output.csv": b"body,result,_status\nGreat!,001,SUCCESS\nBroken.,,FAILED\n",
                "results/night-run/failed_rows.csv": b"body,_error_message\nBroken.,Boom: it broke\n",
            }
        )
        self.states = FakeStates()
        self.ended: dict[str, Any] = {"status": "SUCCEEDED", "output": json.dumps(OUTPUT)}
        deployment = fake_deployment(monkeypatch, stepfunctions=self, s3=self, dynamodb=None)
        monkeypatch.setattr(Outputs, "find", lambda *_: deployment)
        monkeypatch.setattr(following, "DynamoDbRuns", lambda *_: FakeRuns())
        arn = "arn:aws:lambda:us-east-1:000000000000:function:echo"
        target = Target(name="echo", type="tool", arn=arn, invocation="lambda", input={"text": InputField()})
        monkeypatch.setattr(notebook, "find_target", lambda *_: target)

    def start_execution(self, **arguments: Any) -> dict[str, Any]:
        self.states.descriptions = [self.ended]
        return self.states.start_execution(**arguments)

    def upload_file(self, path: str, bucket: str, key: str) -> None:
        self.uploaded.append(Path(path).read_text(encoding="utf-8"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.states if hasattr(self.states, name) else self.storage, name)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_the_documented_example_runs(world: World) -> None:
    names: dict[str, Any] = {}
    exec(EXAMPLE, names)
    assert world.uploaded == ["body\nGreat!\nBroken.\n"]
    sent = json.loads(world.states.started[0]["input"])
    assert sent["input_mapping"] == {"column_mappings": {"body": "text"}}
    assert list(names["output"]["result"]) == ["001", ""]
    assert list(names["failed"]["_error_message"]) == ["Boom: it broke"]


def test_a_run_that_failed_says_why(world: World) -> None:
    world.ended = {"status": "FAILED", "error": "InvalidInputError", "cause": "1 problem"}
    run = Deployment("local").run(pandas.DataFrame({"text": ["a"]}), target="echo")
    with pytest.raises(ClientError, match="night-run ended FAILED: InvalidInputError 1 problem"):
        run.wait()
    with pytest.raises(ClientError, match="left no rows: InvalidInputError"):
        run.df()


def test_an_output_that_was_deleted_is_said(world: World) -> None:
    world.storage.objects.clear()
    world.states.descriptions = [world.ended]
    with pytest.raises(ClientError, match=rf"There is no {RESULTS}/output\.csv\."):
        Deployment("local").follow("night-run").df()


def test_rows_that_are_neither_a_frame_nor_a_path_are_refused(world: World) -> None:
    with pytest.raises(ClientError, match="not list"):
        Deployment("local").run([{"text": "a"}], target="echo")  # type: ignore[arg-type, unused-ignore]


def test_a_document_adds_to_what_is_guessed(world: World, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text\na\n")
    mapping = {"columns": [{"name": "mood", "source": "$.mood"}]}
    Deployment("local").run(tmp_path / "rows.csv", target="echo", document={"output_mapping": mapping})
    assert json.loads(world.states.started[0]["input"])["output_mapping"] == mapping


def test_what_a_notebook_shows_is_escaped(world: World) -> None:
    run = Deployment("local").follow("night-run")
    assert "checking the input" in run._repr_html_()
    run.progress = Progress(
        execution=EXECUTION,
        total=10,
        succeeded=4,
        failed=1,
        in_flight=2,
        cost_usd=0.5,
        seconds_left=30,
        notes=["3 × Boom: <img src=x onerror=alert(1)>"],
    )
    shown = run._repr_html_()
    assert '<progress max="10" value="5"' in shown
    assert "5 of 10 rows · 1 failed · 2 in flight · about 0.5 USD so far · 30 s left" in shown
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown
    run.progress = Progress(execution=EXECUTION, ending=Ending(status="FAILED", cause="</pre><script>"))
    assert "<pre>&lt;/pre&gt;&lt;script&gt;</pre>" in run._repr_html_()


def test_a_look_after_the_end_is_the_last_one(world: World) -> None:
    world.states.descriptions = [world.ended]
    run = Deployment("local").follow("night-run")
    assert run.look().ending == run.look().ending == Ending(status="SUCCEEDED", document=OUTPUT)


def test_a_data_frame_without_pandas_says_what_to_install(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_pandas(name: str, *rest: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return original(name, *rest)

    world.states.descriptions = [world.ended]
    run: Run = Deployment("local").follow("night-run")
    run.wait()
    monkeypatch.setattr(builtins, "__import__", without_pandas)
    with pytest.raises(ClientError, match=r"client\[notebook\]"):
        run.df()
