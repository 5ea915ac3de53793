"""Files of a ResultWriter (dg/input-output-resultwriter.html)."""

import json
import tempfile
from typing import IO, Any

from ministack.services.stepfunctions import _ExecutionError as StateError

from emulator.step_functions.limits import to_json
from emulator.step_functions.roles import Role
from emulator.step_functions.tasks import call_s3

KINDS = ("FAILED", "PENDING", "SUCCEEDED")


class Results:
    """The results of the children of a map run: records for the files, or outputs for the state.

    Records wait in temporary files, so memory stays flat; S3 of the local AWS takes an object whole.
    """

    def __init__(self, config: dict[str, Any], *, exported: bool) -> None:
        self._transformation = config.get("Transformation", "NONE" if exported else "COMPACT")
        self._lines = config.get("OutputType", "JSON") == "JSONL"
        self._exported = exported
        self._files: dict[str, IO[str]] = {}
        self._outputs: dict[int, Any] = {}

    def add(self, index: int, record: dict[str, Any]) -> None:
        """Keep an ended child. Failed children keep their metadata with any transformation."""
        kind = _kind(record["status"])
        if kind != "SUCCEEDED":
            if self._exported:
                self._write(kind, to_json(_metadata(record)))
            return
        if self._exported:
            for text in self._texts(record):
                self._write(kind, text)
        else:
            self._outputs[index] = _metadata(record) if self._transformation == "NONE" else json.loads(record["output"])

    def outputs(self) -> list[Any]:
        """The state's result without a ResultWriter: outputs in the order of the items."""
        ordered = [self._outputs[index] for index in sorted(self._outputs)]
        if self._transformation != "FLATTEN":
            return ordered
        return [item for output in ordered for item in (output if isinstance(output, list) else [output])]

    def export(self, bucket: str, prefix: str, map_run_arn: str, role: Role) -> dict[str, str]:
        """Write the files and the manifest; returns `{Bucket, Key}` of the manifest.

        Raises:
            StateError: States.ResultWriterFailed, also where the role may not write.
        """
        run_id = map_run_arn.rsplit(":", 1)[-1]
        folder = f"{prefix.rstrip('/')}/{run_id}" if prefix else run_id
        denial = role.denial("s3:PutObject", f"arn:aws:s3:::{bucket}/{folder}/manifest.json")
        if denial:
            raise StateError("States.ResultWriterFailed", f"{denial} (Service: S3, Status Code: 403)")
        try:
            files = {kind: self._export_kind(bucket, folder, kind) for kind in KINDS}
            manifest = {"DestinationBucket": bucket, "MapRunArn": map_run_arn, "ResultFiles": files}
            key = f"{folder}/manifest.json"
            call_s3("PUT", bucket, key, {"content-type": "application/json"}, to_json(manifest).encode())
        except StateError as error:
            raise StateError("States.ResultWriterFailed", error.cause) from None
        return {"Bucket": bucket, "Key": key}

    def redrive(self) -> None:
        """Forget children that did not succeed. Successes of all attempts are kept."""
        for kind in ("FAILED", "PENDING"):
            if kind in self._files:
                self._files.pop(kind).close()

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _texts(self, record: dict[str, Any]) -> list[str]:
        if self._transformation == "NONE":
            return [to_json(_metadata(record))]
        if self._transformation == "FLATTEN":
            output = json.loads(record["output"])
            if isinstance(output, list):
                return [to_json(item) for item in output]
        return [record["output"]]

    def _write(self, kind: str, text: str) -> None:
        file = self._files.get(kind)
        if file is None:
            file = self._files[kind] = tempfile.TemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115 - close() does
            if not self._lines:
                file.write("[")
        else:
            file.write("\n" if self._lines else ",")
        file.write(text)

    def _export_kind(self, bucket: str, folder: str, kind: str) -> list[dict[str, Any]]:
        file = self._files.get(kind)
        if file is None:
            return []
        file.seek(0)
        body = (file.read() + ("" if self._lines else "]")).encode()
        key = f"{folder}/{kind}_0.json{'l' if self._lines else ''}"
        call_s3("PUT", bucket, key, {"content-type": "application/json"}, body)
        return [{"Key": key, "Size": len(body)}]


def _kind(status: str) -> str:
    return status if status in ("SUCCEEDED", "PENDING") else "FAILED"


def _metadata(record: dict[str, Any]) -> dict[str, Any]:
    """A child as in the files. Input and Output are JSON text, and failed children have no Output."""
    status = record["status"]
    metadata = {
        "Cause": record.get("cause"),
        "Error": record.get("error"),
        "ExecutionArn": record["executionArn"],
        "Input": record["input"],
        "InputDetails": {"Included": True},
        "Name": record["name"],
        "Output": record.get("output"),
        "OutputDetails": {"Included": True},
        "RedriveCount": 0,
        "RedriveStatus": "NOT_REDRIVABLE" if status == "SUCCEEDED" else "REDRIVABLE_BY_MAP_RUN",
        "RedriveStatusReason": "Execution is SUCCEEDED and cannot be redriven" if status == "SUCCEEDED" else None,
        "StartDate": record.get("startDate"),
        "StateMachineArn": record["stateMachineArn"],
        "Status": status,
        "StopDate": record.get("stopDate"),
    }
    return {key: value for key, value in metadata.items() if value is not None}
