"""The text of a file as UTF-8. A later call of the function can continue to read at a place in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from row_batches.document.input_format import InputFormat
from row_batches.files.encoding import Utf8Text
from row_batches.files.table import InputFile

PLAIN = "utf-8"
ASCII = "ascii"
CONVERTED = "converted"


class FileText:
    """Iterate once to get the text. Places in it count the bytes of the UTF-8 text from its start.

    In an uncompressed UTF-8 file, the place in the text is the place in the file, so reading continues there. Other
    files are unpacked and converted again up to the place, which is many times faster than staging their rows.
    """

    def __init__(self, file: InputFile) -> None:
        self._file = file
        self._form = file.form
        self._text = Utf8Text(file.chunks(), self._form)
        self._chunks: Iterable[bytes] = self._text
        self._was = ASCII

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks

    @property
    def warnings(self) -> list[str]:
        return self._text.warnings

    @property
    def encoding(self) -> str:
        """The encoding of what was read. ASCII can be the start of any; then it is UTF-8."""
        return self._text.encoding

    @property
    def kind(self) -> str:
        """The kind of the text that was read. ASCII can be the start of any."""
        if self._file.chunks_from is None or self._form.encoding_errors != "refuse" or self._text.encoding != "utf-8":
            return CONVERTED
        return PLAIN if PLAIN in (self._was, self._form.encoding) or self._text.is_decided else self._was

    def resume(self, offset: int, kind: str) -> Iterator[bytes]:
        """The text from byte ``offset`` on, of which ``kind`` was read before."""
        self._was = kind
        if kind == CONVERTED or self._file.chunks_from is None:
            self._text = Utf8Text(self._file.chunks(), self._form)
            return _without_first(self._text, offset)
        form = self._form if kind == ASCII else InputFormat(encoding=PLAIN)
        self._text = Utf8Text(self._file.chunks_from(offset), form, offset)
        return iter(self._text)


def _without_first(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    for chunk in chunks:
        if size >= len(chunk):
            size -= len(chunk)
            continue
        yield chunk[size:]
        size = 0
