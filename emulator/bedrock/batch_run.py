"""One batch inference job, from Submitted to its end.

* Statuses: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_GetModelInvocationJob.html
* Input: https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-data.html
* Output: https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-results.html

The order of an output file is not that of its input; here the job's id decides it. An input file stays where the local
S3 has it, and an output file grows in memory until it is written: a job needs the bytes of its output, no more.
"""

from __future__ import annotations

import contextvars
import io
import json
import logging
import random
import threading
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ministack.core import responses
from ministack.services import bedrock, s3

from emulator.authorization import KMS_KEY_HEADER
from emulator.bedrock import bodies, events, permissions
from emulator.bedrock.control import Control, Fault
from emulator.bedrock.model import Reply, reply_to
from emulator.bedrock.role import JobRole

logger = logging.getLogger(__name__)

RECORDS_BETWEEN_LOOKS = 200
"""After this many records, the counts are updated and a stop is noticed."""

Generate = Callable[[Any, bool], tuple[dict[str, Any], Reply]]


class JobFailedError(Exception):
    """Raised when the job cannot continue; the message becomes the job's message."""


class JobStoppedError(Exception):
    """Raised when the job was stopped by its user."""


@dataclass(slots=True)
class InputFile:
    """One JSONL object: its bytes, and the start and end of each record."""

    key: str
    body: bytes
    begins: array[int] = field(default_factory=lambda: array("Q"))
    ends: array[int] = field(default_factory=lambda: array("Q"))

    def record(self, place: int) -> bytes:
        return self.body[self.begins[place] : self.ends[place]]

    def __len__(self) -> int:
        return len(self.begins)


class Run:
    """Runs a job in a separate thread and updates its record."""

    def __init__(self, record: dict[str, Any], control: Control) -> None:
        self._record = record
        self._control = control
        self._stopping = threading.Event()
        self._role = JobRole(record["roleArn"], record["jobArn"])
        self._faults: dict[str, Fault] = {}
        self._answered = 0
        self._tokens = {"inputTokenCount": 0, "outputTokenCount": 0}
        self._outputs: list[tuple[str, bytes]] = []

    def start(self) -> None:
        threading.Thread(target=contextvars.Context().run, args=(self._run,), daemon=True, name="bedrock-job").start()

    def stop(self) -> None:
        self._record["status"] = "Stopping"
        self._stopping.set()

    def _run(self) -> None:
        _arn, _partition, _service, region, account, _job = self._record["jobArn"].split(":")
        responses.set_request_account_id(account)
        responses.set_request_region(region)
        names = ("fail", "expire", "broken_json", "record_errors", "partially_complete", "stop_half", "slow")
        found = {name: self._control.take(name, self._record["jobName"]) for name in names}
        self._faults = {name: fault for name, fault in found.items() if fault is not None}
        try:
            self._enter(*self._stages())
        except JobStoppedError:
            self._end_stopped()
        except JobFailedError as failed:
            self._enter("Failed", str(failed))
        except Exception:
            logger.exception("The job %s ended by an error of the emulator", self._record["jobArn"])
            self._enter("Failed", "Internal error of the local Bedrock; its log says more.")

    def _stages(self) -> tuple[str, str]:
        """Run all stages. Returns the last status and its message."""
        events.publish(self._record)
        self._pause()
        self._enter("Validating")
        files = self._validated_input()
        self._pause()
        self._enter("Scheduled")
        self._pause()
        if "expire" in self._faults:
            return "Expired", "The job did not begin before its timeout."
        self._enter("InProgress")
        if "fail" in self._faults:
            self._pause()
            raise JobFailedError(self._faults["fail"].message)
        complete = self._process(files)
        if not complete and "stop_half" in self._faults:
            raise JobStoppedError
        self._write_output()
        return ("Completed", "") if complete else ("PartiallyCompleted", "Not all records could be processed in time.")

    def _end_stopped(self) -> None:
        """A stopped job keeps what it has processed (userguide/batch-inference-stop.html)."""
        try:
            self._enter("Stopping")
            if self._outputs:
                self._write_output()
        except JobFailedError as failed:
            self._enter("Failed", str(failed))
            return
        threading.Event().wait(self._control.settings.stage_seconds)
        self._enter("Stopped")

    def _enter(self, status: str, message: str = "") -> None:
        now = events.timestamp(datetime.now(UTC))
        changes = {"lastModifiedTime": now}
        if message:
            changes["message"] = message
        if status in ("Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"):
            changes["endTime"] = now
        self._record.update(changes, status=status)
        events.publish(self._record)

    def _pause(self, seconds: float | None = None) -> None:
        """
        Raises:
            JobStoppedError: when the job is stopped meanwhile, or has been forgotten by a reset.
        """
        stopped = self._stopping.wait(self._control.settings.stage_seconds if seconds is None else seconds)
        if stopped or self._record["jobArn"] not in bedrock._model_invocation_jobs:
            raise JobStoppedError

    # --- Validating

    def _validated_input(self) -> list[InputFile]:
        """The input files, checked as AWS documents: access, form, sizes and counts. Model bodies are not checked.

        Raises:
            JobFailedError: naming what is wrong.
        """
        limits, arn = self._control.settings, self._record["jobArn"]
        profile = self._record["modelId"]
        if models := permissions.behind_profile(profile):
            self._require(self._role.invoke_denial(profile, *models))
        uri = self._record["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]
        bucket, _, path = uri.removeprefix("s3://").partition("/")
        files = [self._read(bucket, key) for key in self._keys(bucket, path)]
        for file in files:
            if len(file.body) > limits.bytes_per_file:
                raise JobFailedError(f"The file {file.key} is larger than {limits.bytes_per_file} bytes.")
            if len(file) > limits.records_per_file:
                raise JobFailedError(
                    f"Batch job {arn} contains a file {file.key} with more records ({len(file)}) "
                    f"than the allowed maximum of: {limits.records_per_file}"
                )
        total, least = sum(len(file) for file in files), limits.minimum_records
        if sum(len(file.body) for file in files) > limits.bytes_per_job:
            raise JobFailedError(f"The input of batch job {arn} is larger than {limits.bytes_per_job} bytes.")
        if total < least:
            raise JobFailedError(
                f"Batch job {arn} contains less records ({total}) than the required minimum of: {least}"
            )
        if total > limits.records_per_job:
            raise JobFailedError(
                f"Batch job {arn} contains more records ({total}) than the allowed maximum of: {limits.records_per_job}"
            )
        bucket, key = self._output_place("manifest.json.out")
        self._require(self._role.write_denial(bucket, key, self._output_headers()))
        self._record["totalRecordCount"] = total
        return files

    def _require(self, denial: str | None) -> None:
        if denial:
            raise JobFailedError(f"The service role has no access: {denial}")

    def _keys(self, bucket: str, path: str) -> list[str]:
        """The file that the URI names, or the JSONL files below the folder that it names."""
        objects = (s3._buckets.get(bucket) or {}).get("objects")
        if objects is None:
            raise JobFailedError(f"The bucket {bucket} does not exist.")
        if path.endswith(".jsonl"):
            return [path]
        self._require(self._role.list_denial(bucket))
        folder = f"{path.rstrip('/')}/" if path else ""
        keys = sorted(key for key in list(objects) if key.startswith(folder) and key.endswith(".jsonl"))
        if not keys:
            raise JobFailedError(f"There is no .jsonl file in s3://{bucket}/{folder}")
        return keys

    def _read(self, bucket: str, key: str) -> InputFile:
        self._require(self._role.read_denial(bucket, key))
        status, _headers, body = s3._get_object(bucket, key, {"authorization": "internal"}, {})
        if status != 200:
            raise JobFailedError(f"The object s3://{bucket}/{key} could not be read.")
        file = InputFile(key, body)
        for begin, end in _lines(body):
            try:
                line = json.loads(body[begin:end])
            except ValueError:
                line = None
            if not isinstance(line, dict) or not isinstance(line.get("modelInput"), dict):
                raise JobFailedError(f"Record {len(file) + 1} of {key} is not a JSON object with a modelInput.")
            if not isinstance(line.get("recordId", ""), str):
                raise JobFailedError(f"The recordId of record {len(file) + 1} of {key} is not a string.")
            file.begins.append(begin)
            file.ends.append(end)
        return file

    # --- Processing

    def _process(self, files: list[InputFile]) -> bool:
        """Answer the records, file by file. False if a fault ends the job before all are done.

        Raises:
            JobStoppedError: with the output of what was processed kept for writing.
        """
        partial = self._faults.get("partially_complete") or self._faults.get("stop_half")
        total = self._record["totalRecordCount"]
        left = int(total * partial.fraction) if partial else total
        for file in files:
            if left == 0:
                break
            order = list(range(len(file)))
            random.Random(f"{self._record['jobArn']}/{file.key}").shuffle(order)  # noqa: S311 - no secret
            left -= self._process_file(file, order[:left])
        return partial is None

    def _process_file(self, file: InputFile, order: list[int]) -> int:
        """Answer the records of a file in order. Returns their number."""
        output, generate = io.BytesIO(), self._generator()
        slow = self._faults.get("slow")
        step = RECORDS_BETWEEN_LOOKS if slow is None else 1
        try:
            for begin in range(0, len(order), step):
                places = order[begin : begin + step]
                errors = 0
                for place in places:
                    errors += self._answer(file, place, generate, output)
                    self._answered += 1
                self._record["errorRecordCount"] += errors
                self._record["successRecordCount"] += len(places) - errors
                self._record["processedRecordCount"] += len(places)
                self._pause(0.0 if slow is None else slow.seconds_per_record)
        finally:
            if output.tell():
                self._outputs.append((file.key.rpartition("/")[2] + ".out", output.getvalue()))
        return len(order)

    def _answer(self, file: InputFile, place: int, generate: Generate, output: io.BytesIO) -> bool:
        """Write the output line of a record. True if it has an error instead of the model's output."""
        text = file.record(place)
        line = json.loads(text)
        if "recordId" not in line:
            text = json.dumps({"recordId": f"{place + 1:011d}", **line}, ensure_ascii=False).encode()
        output.write(memoryview(text.rstrip())[:-1])
        if self._is_chosen("record_errors", 0.01):
            failure = {"errorCode": 500, "errorMessage": "The model could not process the record."}
        else:
            try:
                answered, reply = generate(line["modelInput"], self._is_chosen("broken_json", 1.0))
            except bodies.InvalidBodyError as refused:
                failure = {"errorCode": 400, "errorMessage": str(refused)}
            else:
                self._tokens["inputTokenCount"] += reply.input_tokens
                self._tokens["outputTokenCount"] += reply.output_tokens
                output.write(b',"modelOutput":')
                output.write(json.dumps(answered, ensure_ascii=False, separators=(",", ":")).encode())
                output.write(b"}\n")
                return False
        output.write(b',"error":' + json.dumps(failure).encode() + b"}\n")
        return True

    def _is_chosen(self, fault_name: str, default_rate: float) -> bool:
        """Whether the fault hits the current record. Its records are evenly spread and include the first one."""
        fault = self._faults.get(fault_name)
        if fault is None:
            return False
        rate = default_rate if fault.rate is None else fault.rate
        return self._answered == 0 or int(self._answered * rate) > int((self._answered - 1) * rate)

    def _generator(self) -> Generate:
        """The function that turns a modelInput into the model's output, for the job's invocation type and model."""
        if self._record["modelInvocationType"] == "Converse":

            def converse(body: Any, broken: bool) -> tuple[dict[str, Any], Reply]:
                reply = reply_to(bodies.read_converse(self._record["modelId"], body, batch=True), broken=broken)
                return bodies.write_converse(reply), reply

            return converse
        model_id = self._record["modelId"]
        family = bodies.family_of(model_id)

        def invoke(body: Any, broken: bool) -> tuple[dict[str, Any], Reply]:
            if family is None:
                raise bodies.InvalidBodyError(
                    "The local Bedrock does not know this model's InvokeModel body: use Converse."
                )
            reply = reply_to(bodies.read_invoke(family, body), broken=broken)
            return bodies.write_invoke(family, model_id, reply, chat="messages" in body), reply

        return invoke

    # --- Output

    def _write_output(self) -> None:
        """Write `<output>/<job id>/<input file>.out` for each file, then `manifest.json.out`.

        Raises:
            JobFailedError: when the role may not write.
        """
        for name, body in self._outputs:
            self._write(name, body)
        counts = ("totalRecordCount", "processedRecordCount", "successRecordCount", "errorRecordCount")
        manifest = {name: self._record[name] for name in counts} | self._tokens
        self._write("manifest.json.out", json.dumps(manifest).encode())
        self._outputs.clear()

    def _write(self, name: str, body: bytes) -> None:
        bucket, key = self._output_place(name)
        headers = self._output_headers()
        self._require(self._role.write_denial(bucket, key, headers))
        status, _headers, answer = s3._put_object(bucket, key, body, headers)
        if status >= 400:
            raise JobFailedError(f"s3://{bucket}/{key} could not be written: {answer.decode('utf-8', 'replace')}")

    def _output_place(self, name: str) -> tuple[str, str]:
        uri = self._record["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]
        bucket, _, folder = uri.removeprefix("s3://").partition("/")
        job_id = self._record["jobArn"].rpartition("/")[2]
        return bucket, "/".join(part for part in (folder.rstrip("/"), job_id, name) if part)

    def _output_headers(self) -> dict[str, str]:
        headers = {"content-type": "binary/octet-stream"}
        key = self._record["outputDataConfig"]["s3OutputDataConfig"].get("s3EncryptionKeyId")
        if key:
            headers |= {"x-amz-server-side-encryption": "aws:kms", KMS_KEY_HEADER: key}
        return headers


def _lines(body: bytes) -> Iterator[tuple[int, int]]:
    """The start and end of each line of a file that is not blank."""
    begin = 0
    while begin < len(body):
        end = body.find(b"\n", begin)
        end = len(body) if end < 0 else end
        if body[begin:end].strip():
            yield begin, end
        begin = end + 1
