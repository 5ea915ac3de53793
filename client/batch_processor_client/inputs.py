"""The files of a run's rows: one file, a folder or a pattern; on this machine or in S3."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from batch_processor_client import files
from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from foundation.errors import InvalidInputError, ObjectNotFoundError, Problem
from foundation.problems import listed
from row_batches.document.input_format import InputFormat
from row_batches.document.s3_location import names_several, parse_input_uri
from row_batches.files.prefix import HIDDEN, MOST_OBJECTS, NAMED, FoundInput, choose_objects, prefix_of, single
from row_batches.files.s3 import S3InputObjects
from row_batches.files.several import NamedFile, open_files

CHUNK_BYTES = 1024 * 1024


def local_files(path: Path) -> dict[str, Path]:
    """The files of a path by their names, in the order in which a run reads them.

    A folder has all files below it, a pattern those that match its ``*``. Hidden and empty files are skipped, as in a
    folder of S3. Raises ClientError if there is no file, or too many.
    """
    if path.is_file() or not (path.is_dir() or "*" in str(path)):
        return {path.name: files.readable_file(path)}
    folder, pattern = (path, "**/*") if path.is_dir() else _split(path)
    found, left_out = dict[str, Path](), list[str]()
    for one in folder.glob(pattern):
        name = one.relative_to(folder).as_posix()
        if not one.is_file():
            continue
        if any(part.startswith(HIDDEN) for part in name.split("/")) or not one.stat().st_size:
            left_out.append(name)
        else:
            found[name] = files.readable_file(one)
    if not found:
        also = f" Skipped, because hidden or empty: {listed(sorted(left_out), NAMED)}." if left_out else ""
        raise ClientError(f"No file matches {path}.{also}")
    if len(found) > MOST_OBJECTS:
        raise ClientError(
            f"{path} has {len(found):,} files, but a run reads at most {MOST_OBJECTS:,}. Merge some of them."
        )
    return dict(sorted(found.items(), key=lambda named: named[0].encode()))


def _split(path: Path) -> tuple[Path, str]:
    """The folder before the first part with a ``*``, and the rest."""
    first = next(number for number, part in enumerate(path.parts) if "*" in part)
    return Path(*path.parts[:first]), "/".join(path.parts[first:])


def upload_uri(deployment: Deployment, path: Path, prefix: str) -> str:
    """Where ``upload`` puts the files of a path. The address of several is that of a folder.

    It contains a hash of the files, so an upload never adds to other files. Raises what ``local_files`` raises.
    """
    if path.is_file():
        return files.upload_uri(deployment, path, prefix)
    digest = hashlib.sha256()
    for name, file in local_files(path).items():
        with file.open("rb") as content:
            digest.update(f"{name}\0{hashlib.file_digest(content, 'sha256').hexdigest()}\0".encode())
    return f"s3://{deployment.input_bucket}/{prefix}{digest.hexdigest()[:16]}/"


def size_bytes(path: Path) -> int:
    """The size of the files of a path. Raises what ``local_files`` raises."""
    return sum(file.stat().st_size for file in local_files(path).values())


def upload(deployment: Deployment, path: Path, prefix: str, transfer: files.Transfer | None = None) -> str:
    """Put the files of a path into the input bucket under ``prefix``, and return the address."""
    if path.is_file():
        return files.upload(deployment, path, prefix, transfer)
    uri = upload_uri(deployment, path, prefix)
    for name, file in local_files(path).items():
        files.put(deployment, file, f"{uri}{name}", transfer)
    return uri


def check_kinds(path: Path, form: InputFormat) -> None:
    """Raise InvalidInputError if the files of a path cannot be read as one table, such as a CSV and a workbook."""
    if not path.is_file():
        open_files(named_files(path), form)


def named_files(path: Path) -> list[NamedFile]:
    """The files of a path, to be read. Raises what ``local_files`` raises."""
    return [NamedFile(name, file.stat().st_size, partial(_chunks, file)) for name, file in local_files(path).items()]


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def named_objects(deployment: Deployment, uri: str) -> list[NamedFile]:
    """The objects of an address in S3, to be read. Raises what ``find_input`` raises."""
    return to_read(deployment, find_input(deployment, uri))


def to_read(deployment: Deployment, found: FoundInput) -> list[NamedFile]:
    """The files that were found, ready to be read."""
    objects = S3InputObjects(deployment.client("s3"))
    return [NamedFile(name, one.size, partial(objects.stream, one)) for name, one in found.objects]


def find_input(deployment: Deployment, uri: str) -> FoundInput:
    """Look up an address in S3: an object, a folder, or a pattern.

    Raises ClientError for another address or an object that is not there, and InvalidInputError if no object matches.
    """
    try:
        location = parse_input_uri(uri)
    except ValueError as wrong:
        raise ClientError(f"{uri} is not the address of rows: {wrong}.") from None
    objects = S3InputObjects(deployment.client("s3"))
    if not names_several(location):
        try:
            return single(objects.head(location))
        except ObjectNotFoundError:
            raise ClientError(f"There is no {uri}: upload the file first, or correct the key.") from None
    found = choose_objects(location, objects.objects_under(location.bucket, prefix_of(location)))
    if isinstance(found, Problem):
        raise InvalidInputError([found])
    return found
