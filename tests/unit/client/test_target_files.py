"""The folders of a team's own targets: made from code or from a template, and checked before they are deployed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from batch_processor_client.errors import ClientError
from batch_processor_client.target_files import TEMPLATES, check_targets, create, read_target
from batch_processor_client.yaml_files import FileProblemsError

HANDLER = "def handler(event, context):\n    return {'label': 'positive'}\n"
DEFINITION = {"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}}


@pytest.fixture
def handler(tmp_path: Path) -> Path:
    path = tmp_path / "mine" / "sentiment.py"
    path.parent.mkdir()
    path.write_text(HANDLER)
    return path


def target_with(folder: Path, settings: str, *, code: str = "handler.py") -> Path:
    path = folder / "sentiment"
    path.mkdir()
    (path / code).write_text(HANDLER)
    (path / "target.yaml").write_text(settings)
    return path


def test_a_handler_becomes_a_tool_with_its_requirements(handler: Path, tmp_path: Path) -> None:
    (handler.parent / "requirements.txt").write_text("idna==3.10\n")
    path = create("sentiment", file=handler, folder=tmp_path / "targets")
    assert (path / "handler.py").read_text() == HANDLER
    assert (path / "requirements.txt").read_text() == "idna==3.10\n"
    assert read_target(path).kind == "tool"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ('return {"label": text, "score": 1}', ["label", "score"]),
        ('if text:\n        return {"a": 1}\n    return {"a": 2, "b": 3}', ["a", "b"]),
        ('if not text:\n        return {"error": "no text"}\n    return {"a": 1}', ["a"]),
        ('return {"type": "tool_result", "tool_use_id": event["id"], "content": {"words": 3}}', ["words"]),
        ('return {"tool_use_id": event["id"], "is_error": False, "content": {"words": 3}}', ["words"]),
        ('return {"tool_use_id": event["id"], "is_error": True, "content": "no"}', []),
        ('return {"tool_use_id": event["id"], "is_error": not text, "content": {"words": 3}}', []),
        ('return {"größe": 1, "😀 mood": 2, "yes": 3}', ["größe", "😀 mood", "yes"]),
        ('def inner():\n        return {"inner": 1}\n    return {"a": inner()}', ["a"]),
        ("return look_up(text)", []),
        ('if text:\n        return {"a": 1}\n    return look_up(text)', []),
        ('return {"statusCode": 200, "body": json.dumps({"label": "good"})}', ["label"]),
        (
            'if text:\n        return {"statusCode": 400, "body": 1}\n    return {"statusCode": 200, "body": {"a": 1}}',
            ["a"],
        ),
        ('return {"statusCode": text, "body": {"a": 1}}', []),
        ('return {"statusCode": 200, "body": text}', []),
        ('return json.dumps({"a": 1})', ["a"]),
        ("return json.dumps()", []),
        ('return {"a": 1, **more}', []),
        ("return {text: 1}", []),
        ("pass", []),
    ],
)
def test_a_handler_that_spells_its_answer_out_declares_its_output(body: str, fields: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f'def handler(event, context):\n    text = event["input"]["text"]\n    {body}\n')
    path = create("mine", file=tmp_path / "mine.py", folder=tmp_path / "targets")
    assert [column.name for column in read_target(path).settings.output] == fields


@pytest.mark.parametrize(
    ("name", "kept"),
    [("lambda_function.py", "lambda_function.py"), ("app.py", "app.py"), ("handler.py", "lambda_function.py"),
     ("my-app.py", "lambda_function.py")],
)  # fmt: skip
def test_a_lambda_handler_is_called_by_its_own_name(name: str, kept: str, tmp_path: Path) -> None:
    code = "def lambda_handler(event, context):\n    return {'label': event['input']['text']}\n"
    (tmp_path / name).write_text(code)
    path = create("mine", file=tmp_path / name, folder=tmp_path / "targets")
    assert (path / kept).read_text() == code
    assert [column.name for column in read_target(path).settings.output] == ["label"]
    assert called(path, {"text": "good"}) == {"label": "good"}


def called(path: Path, row: dict[str, str]) -> object:
    """What the handler in the folder answers, in a process of its own."""
    program = f"import json, handler; print(json.dumps(handler.handler({{'input': {row!r}}}, None)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=path, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def test_the_modules_and_packages_that_a_handler_imports_come_with_it(tmp_path: Path) -> None:
    files = {
        "app.py": "import json\nimport rules\nfrom lib.text import clean\n\n"
        "def lambda_handler(event, context):\n    return {'text': clean(event['input']['text']), 'n': rules.MOST}\n",
        "rules.py": "from limits import MOST\n",
        "limits.py": "import app\nMOST = 3\n",
        "lib/text.py": "from pathlib import Path\nfrom . import more\n\ndef clean(text):\n"
        "    return text.strip() + (Path(__file__).parent / 'end.txt').read_text()\n",
        "lib/more.py": "",
        "lib/end.txt": "!",
        "lib/__pycache__/x.pyc": "",
        "unused.py": "",
        "notes/readme.md": "",
    }
    for name, text in files.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text(text)

    path = create("mine", file=tmp_path / "mine" / "app.py", folder=tmp_path / "targets")

    assert sorted(one.name for one in path.iterdir()) == [
        "app.py", "handler.py", "lib", "limits.py", "rules.py", "target.yaml",
    ]  # fmt: skip
    assert not (path / "lib" / "__pycache__").exists()
    assert called(path, {"text": " good "}) == {"text": "good!", "n": 3}


IMPORTING = "from lambda_function import clean\n\ndef lambda_handler(event, context):\n    return clean(event)\n"


@pytest.mark.parametrize("name", ["handler.py", "my-app.py", "lambda.py", "json.py"])
def test_code_whose_name_cannot_be_imported_takes_one_that_no_module_has(name: str, tmp_path: Path) -> None:
    (tmp_path / "lambda_function.py").write_text("def clean(event):\n    return event['input']\n")
    (tmp_path / name).write_text(IMPORTING)

    path = create("mine", file=tmp_path / name, folder=tmp_path / "targets")

    assert called(path, {"text": "good"}) == {"text": "good"}


def test_a_module_goes_before_a_folder_that_is_no_package(tmp_path: Path) -> None:
    for name, text in {"rules.py": "MOST = 3\n", "rules/old/script.py": ""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "app.py").write_text("import rules\n\ndef handler(event, context):\n    return {'n': rules.MOST}\n")

    path = create("mine", file=tmp_path / "app.py", folder=tmp_path / "targets")

    assert called(path, {}) == {"n": 3}


def test_hidden_files_and_links_of_a_package_stay_behind(tmp_path: Path) -> None:
    package = tmp_path / "lib"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / ".env").write_text("KEY=secret")
    (package / "up").symlink_to("..")
    (package / "gone").symlink_to("nowhere")
    (tmp_path / "app.py").write_text("import lib\n\ndef handler(event, context):\n    return {}\n")

    path = create("mine", file=tmp_path / "app.py", folder=tmp_path / "targets")

    assert [one.name for one in (path / "lib").iterdir()] == ["__init__.py"]


def test_code_that_cannot_be_copied_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "handler.py").write_text(HANDLER)

    def refuse(*_: object) -> None:
        raise PermissionError("not readable")

    monkeypatch.setattr("batch_processor_client.target_files.shutil.copyfile", refuse)
    with pytest.raises(ClientError, match="cannot be copied: not readable"):
        create("mine", file=tmp_path / "handler.py", folder=tmp_path / "targets")

    assert not (tmp_path / "targets" / "mine").exists()


def test_a_file_that_imports_the_real_handler_is_refused(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text(HANDLER)
    (tmp_path / "main.py").write_text("from handler import handler\n")
    with pytest.raises(ClientError, match=r"imports handler\.py beside it"):
        create("mine", file=tmp_path / "main.py", folder=tmp_path / "targets")


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(["label", "_status"], id="a metadata column"),
        pytest.param(["label", ""], id="empty"),
        pytest.param(["two\nlines"], id="a line break"),
        pytest.param(["two \u2028 lines"], id="what YAML reads as a line break"),
        pytest.param(["\ud83d"], id="half a character"),
        pytest.param(["x" * 256], id="too long"),
        pytest.param([f"f{number}" for number in range(1_001)], id="too many"),
        pytest.param([f"{number:03}" + "x" * 252 for number in range(1_000)], id="too large a file"),
    ],
)
def test_fields_that_cannot_all_be_columns_are_not_declared(fields: list[str], tmp_path: Path) -> None:
    answer = ", ".join(f"{field!a}: 1" for field in fields)
    (tmp_path / "mine.py").write_text(f"def handler(event, context):\n    return {{{answer}}}\n")
    path = create("mine", file=tmp_path / "mine.py", folder=tmp_path / "targets")
    assert read_target(path).settings.output == []


@pytest.mark.parametrize("settings", ["environment:\n\tA: b\n", "environment: {N: 5}\n", "timeout: 30\n"])
def test_each_mistake_names_the_folder_of_its_file(settings: str, tmp_path: Path) -> None:
    target_with(tmp_path, settings)
    with pytest.raises(FileProblemsError, match=r"sentiment/target\.yaml, line \d"):
        check_targets(tmp_path)


def test_a_definition_becomes_an_agent(tmp_path: Path) -> None:
    file = tmp_path / "flow.json"
    file.write_text(json.dumps(DEFINITION))
    assert read_target(create("flow", file=file, folder=tmp_path / "targets")).kind == "agent"


@pytest.mark.parametrize(
    ("template", "kind"), [("tool", "tool"), ("agent", "agent"), ("express", "express_agent")], ids=str
)
def test_each_template_is_a_valid_target(template: str, kind: str, tmp_path: Path) -> None:
    path = create("words", template=template, folder=tmp_path)  # type: ignore[arg-type]
    assert read_target(path).kind == kind


def test_the_templates_own_test_passes() -> None:
    program = "import test_handler; test_handler.test_it_counts_words()"
    subprocess.run([sys.executable, "-B", "-c", program], cwd=TEMPLATES / "tool", check=True)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.py", "def other(event, context): ...\n", "defines no `handler`"),
        ("a.py", "def handler(:\n", "line 1, is not Python"),
        ("a.json", "{", "is not JSON"),
        ("a.json", "[" * 100_000, r"a.json is JSON nested too deep\.$"),
        ("a.json", "{}", "no StartAt and States"),
    ],
    ids=["no handler", "no Python", "no JSON", "deep JSON", "no definition"],
)
def test_code_that_no_target_can_have_is_refused_by_name(name: str, content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ClientError, match=said):
        create("mine", file=tmp_path / name, folder=tmp_path / "targets")
    assert not (tmp_path / "targets").exists()


@pytest.mark.parametrize("name", ["", "a b", "ümlaut", "x" * 40], ids=["empty", "space", "letter", "long"])
def test_a_name_that_cannot_be_one_is_refused(name: str, handler: Path, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="No target can be named"):
        create(name, file=handler, folder=tmp_path / "targets")


def test_a_name_that_is_taken_is_refused(handler: Path, tmp_path: Path) -> None:
    create("sentiment", file=handler, folder=tmp_path)
    with pytest.raises(ClientError, match=r"sentiment exists.*another NAME"):
        create("sentiment", file=handler, folder=tmp_path)


def test_without_code_both_ways_are_named(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"FILE=handler\.py.*FROM=tool"):
        create("sentiment", folder=tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("# nothing but a comment", "it has no field"),
        ("memory_mb: 64", "sentiment/target.yaml, line 1: memory_mb"),
        ("timeout_seconds: 60\nmemory: 512", "line 2: memory"),
        ("permissions:\n  - actions: ['s3:*']\n    resources: ['*']", "not an action of one service"),
        ("secrets: {KEY_ARN: my-secret}", "not the ARN of a secret"),
        ("environment: {A: x}\nsecrets: {A: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:a-b'}", "too"),
        ("rate: {}", "the rate is empty"),
        ("kind: agent", "the folder has handler.py"),
        ("vpc: {subnet_ids: [a]}", "security_group_ids"),
        ("output: [{name: a}, {name: b}, {name: a}]", "output has this column twice"),
        ("output: [{name: a, source: label}]", r"output\[0\]\.source"),
    ],
    ids=["no field", "memory", "unknown", "every action", "secret", "twice", "rate", "kind", "vpc", "column", "path"],
)
def test_a_mistake_is_named_with_its_line(settings: str, said: str, tmp_path: Path) -> None:
    target_with(tmp_path, settings)
    with pytest.raises(FileProblemsError, match=said.replace("*", r"\*")):
        check_targets(tmp_path)


def test_an_agent_has_no_settings_of_a_function(tmp_path: Path) -> None:
    target_with(tmp_path, "memory_mb: 512", code="agent.asl.json")
    with pytest.raises(FileProblemsError, match=r"memory_mb.*no function of its own"):
        check_targets(tmp_path)


def test_a_folder_without_code_or_with_both_is_refused(tmp_path: Path) -> None:
    target_with(tmp_path, "version: '2'")
    (tmp_path / "sentiment" / "agent.asl.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileProblemsError) as refused:
        check_targets(tmp_path)
    assert "has both" in str(refused.value)
    assert "has neither" in str(refused.value)
