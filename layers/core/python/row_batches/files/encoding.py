"""Converts text in any common encoding to UTF-8 for the reader.

A file is UTF-8 unless something says otherwise: its ``encoding`` in the input document, a byte order mark of UTF-16 or
UTF-32, the NUL bytes of UTF-16 without such a mark, or bytes that are not UTF-8. In the last case, the encoding is
guessed from the first lines that are not ASCII, up to ``SAMPLE_BYTES``, and the rest of the file is decoded strictly.
ASCII is the same in every encoding that is guessed, so the text before the first such line is right in any case.

charset-normalizer recognises the East Asian encodings. For one-byte encodings, it usually names several that differ in
single letters, so the words decide: each word must have one script, letters of one language and a usual pattern of
capitals. If two encodings fit equally well and give different texts, the file is refused, and the message names both.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType

from foundation.errors import InvalidInputError, Problem
from foundation.problems import shown
from row_batches.document.input_format import InputFormat
from row_batches.files.table import PATH, refuse

SAMPLE_BYTES = 262_144
_GUESSED_BYTES = 65_536
_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "cp1252": "Windows-1252 (Western European)",
        "cp1250": "Windows-1250 (Central European)",
        "cp1251": "Windows-1251 (Cyrillic)",
        "cp1253": "Windows-1253 (Greek)",
        "cp1254": "Windows-1254 (Turkish)",
        "cp1257": "Windows-1257 (Baltic)",
        "mac_roman": "Mac OS Roman",
        "iso8859_2": "ISO 8859-2 (Central European)",
        "koi8_r": "KOI8-R (Cyrillic)",
        "cp850": "code page 850 (DOS)",
        "gb18030": "GB18030 (Chinese)",
        "big5": "Big5 (Chinese)",
        "cp932": "Shift_JIS (Japanese)",
        "euc_jp": "EUC-JP (Japanese)",
        "cp949": "EUC-KR (Korean)",
        "utf-16": "UTF-16",
        "utf-16-le": "UTF-16",
        "utf-16-be": "UTF-16",
        "utf-32": "UTF-32",
    }
)
_GUESSED = [name for name in _NAMES if not name.startswith("utf")]
_WIDE = ("gb18030", "big5", "cp932", "euc_jp", "cp949")
"""Encodings with several bytes a character. Text in one is hardly ever text in another, so words need not decide."""

_LETTERS = (
    "àâæçèéêëîïôœùûüÿ",  # French
    "äöüß",  # German
    "áéíóúüñªº",  # Spanish
    "ãáàâçéêíóôõúª",  # Portuguese
    "àèéìíîòóùú",  # Italian
    "åäöéüæøà",  # Nordic
    "áðéíóúýþæö",  # Icelandic
    "ëéïöüáóèê",  # Dutch
    "çğıöşüâîû",  # Turkish
    "ąćęłńóśźż",  # Polish
    "áčďéěíňóřšťúůýž",  # Czech
    "áäčďéíĺľňóôŕšťúýž",  # Slovak
    "áéíóöőúüű",  # Hungarian
    "ăâîșțşţ",  # Romanian
    "čćđšž",  # Croatian, Slovene
    "āčēģīķļņšūž",  # Latvian
    "ąčęėįšųūž",  # Lithuanian
    "äõöüšž",  # Estonian
)
_OTHER_SIGNS = frozenset("–—‘’‚“”„…•€£°§«»·©®™±²³¼½¾×¿¡\u00a0№")
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_WORD_WITH_LETTERS = re.compile(r"\w*[^\W\d_]\w*")
_SIGN_IN_WORD = re.compile(r"(?<=[^\W\d])[^\w\s'’](?=[^\W\d])")
_UTF_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Utf8Text:
    """A file as UTF-8. Iterate once to get its bytes. ``encoding`` is the encoding found, final after the iteration.

    Iterating raises InvalidInputError for bytes that the encoding does not have, and if the encoding is not clear. If
    a file is UTF-8 except for some bytes, these stay unchanged, and the reader reports their lines. ``passed`` bytes of
    the file come before ``chunks``.
    """

    def __init__(self, chunks: Iterable[bytes], form: InputFormat, passed: int = 0) -> None:
        self._chunks = iter(chunks)
        self._form = form
        self._passed = passed
        self.encoding = "utf-8"
        self.is_decided = form.encoding is not None
        """Whether bytes were read that only this encoding has."""

    @property
    def warnings(self) -> list[str]:
        if self.encoding == "utf-8":
            return []
        how = "as input_format says" if self._form.encoding else "recognised from its bytes"
        return [f"The file's encoding is {_NAMES.get(self.encoding, self.encoding)}, {how}."]

    def __iter__(self) -> Iterator[bytes]:
        if self._form.encoding is not None:
            self.encoding = codecs.lookup(self._form.encoding).name
            if self.encoding == "utf-8" and self._form.encoding_errors == "refuse":
                yield from self._chunks
            else:
                yield from self._decoded(self._chunks)
            return
        first = self._ahead(4096)
        if encoding := _marked(first):
            self.encoding = encoding
            yield from self._decoded(chain([first], self._chunks))
            return
        for chunk in chain([first], self._chunks):
            if chunk.isascii():
                self._passed += len(chunk)
                yield chunk
                continue
            ahead = chunk + self._ahead(SAMPLE_BYTES - len(chunk))
            self.encoding = self._recognised(ahead)
            self.is_decided = True
            rest = chain([ahead], self._chunks)
            if self.encoding == "utf-8" and self._form.encoding_errors == "refuse":
                yield from rest
            else:
                yield from self._decoded(rest)
            return

    def _ahead(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            data += chunk
        return data

    def _recognised(self, ahead: bytes) -> str:
        """The encoding of a file. ``ahead`` is the part that begins with the first byte that is not ASCII."""
        final = len(ahead) < SAMPLE_BYTES
        ahead = ahead[:SAMPLE_BYTES]
        if _is_mostly_utf8(ahead, final=final):
            return "utf-8"  # Also if some characters are damaged, which are then reported or replaced.
        guess = guessed(ahead if final else _whole_lines(ahead))
        if not guess.encoding and self._form.encoding_errors == "refuse":
            refuse(
                "",
                "the file is not UTF-8, and its encoding was not recognised",
                "save it as UTF-8, or name its encoding in input_format.encoding",
            )
        if guess.rivals:
            rivals = [guess.encoding, *guess.rivals][:3]
            refuse(
                f"{shown(guess.example[0])} or {shown(guess.example[1])}",
                f"the file is not UTF-8; it could be {' or '.join(_NAMES[name] for name in rivals)}, which give "
                "different text",
                f"write input_format.encoding: {' or '.join(rivals)}",
            )
        return guess.encoding or "utf-8"

    def _decoded(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        errors = "replace" if self._form.encoding_errors == "replace" else "strict"
        decoder = codecs.getincrementaldecoder(self.encoding)(errors)
        for chunk in chain(chunks, [b""]):
            pending = decoder.getstate()[0] if errors == "strict" else b""
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                place = self._passed - len(pending) + error.start
                problem = Problem(
                    PATH,
                    f"byte {place:,} of the file",
                    f"bytes that {_NAMES.get(self.encoding, self.encoding)} does not have",
                    "correct input_format.encoding, or set input_format.encoding_errors to replace",
                )
                raise InvalidInputError([problem]) from None
            self._passed += len(chunk)
            # A UTF-16 decoder lets lone surrogates through, which UTF-8 cannot have.
            if text:
                yield text.encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Guess:
    """A guessed encoding, "" if none fits. ``rivals`` fit as well, but give different texts for ``example``."""

    encoding: str
    rivals: tuple[str, ...] = ()
    example: tuple[str, str] = ("", "")


def guessed(sample: bytes) -> Guess:
    """The encoding that gives the best text for the lines of ``sample`` that are not ASCII."""
    from charset_normalizer import from_bytes  # noqa: PLC0415  # It takes 40 ms, which UTF-8 files do not need.

    lines = [line for line in sample.splitlines() if not line.isascii()]
    text = b"\n".join(lines)
    text = text if len(text) <= _GUESSED_BYTES else _whole_lines(text[:_GUESSED_BYTES])
    readings = dict(_readings(text))
    scores = {name: _score(reading) for name, reading in readings.items()}
    most = max(scores.values(), default=0.0)
    if most < 0.9:
        match = from_bytes(text, cp_isolation=list(_WIDE), preemptive_behaviour=False).best()
        if match is not None and _is_east_asian(str(match)):
            return Guess(match.encoding)
    if most < 0.5:
        return Guess("")
    # If encodings give the same text, the first in ``_NAMES`` is chosen.
    best = max(sorted(scores, key=_GUESSED.index), key=lambda name: scores[name])
    rivals = [
        name for name, score in scores.items() if score >= scores[best] - 0.05 and readings[name] != readings[best]
    ]
    if not rivals:
        return Guess(best)
    pair = zip(readings[best].splitlines(), readings[rivals[0]].splitlines(), strict=False)
    return Guess(best, tuple(rivals), next((one, other) for one, other in pair if one != other))


def _whole_lines(data: bytes) -> bytes:
    """The data up to its last line end, so that no character is cut; all of it if there is none."""
    return data[: max(data.rfind(b"\n"), data.rfind(b"\r")) + 1] or data


def _readings(text: bytes) -> Iterator[tuple[str, str]]:
    """The decoded ``text`` in each one-byte encoding that has all its bytes."""
    for name in _GUESSED:
        if name not in _WIDE:
            with suppress(UnicodeDecodeError):
                yield name, text.decode(name)


def as_utf8(head: bytes) -> bytes:
    """The first bytes of a file, converted to UTF-8 if they are UTF-16 or UTF-32, else unchanged."""
    encoding = _marked(head)
    return head if encoding is None else head.decode(encoding, "ignore").encode()


def _marked(first: bytes) -> str | None:
    for mark, encoding in _UTF_MARKS:
        if first.startswith(mark):
            return encoding
    if len(first) >= 4 and b"\0" in first:
        even, odd = first[0::2].count(0), first[1::2].count(0)
        half = len(first) // 2
        if odd > half * 0.4 and even < half * 0.05:
            return "utf-16-le"
        if even > half * 0.4 and odd < half * 0.05:
            return "utf-16-be"
        if even == 0 or odd == 0:
            return _utf16_of_signs(first, "utf-16-be" if odd == 0 else "utf-16-le")
    return None


def _utf16_of_signs(first: bytes, encoding: str) -> str | None:
    """``encoding`` if the bytes are text in it with few Latin letters, such as Chinese; None for UTF-8 with NUL.

    Such a text has line ends, and nothing but characters.
    """
    text = first.decode(encoding, "ignore")
    has_lines = any(sign in text for sign in "\r\n")
    is_utf16 = has_lines and all(map(_is_character, text)) and not _is_mostly_utf8(first, final=False)
    return encoding if is_utf16 else None


def _is_character(sign: str) -> bool:
    return sign in "\t\r\n" or unicodedata.category(sign) not in ("Cc", "Cn", "Co", "Cs")


def _is_mostly_utf8(data: bytes, *, final: bool) -> bool:
    """Whether ``data`` has at least as many valid characters outside ASCII as bytes that belong to no character.

    Unless ``final``, the data can end inside a character.
    """
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, final)
    except UnicodeDecodeError:
        text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(data, final)
    else:
        return True
    bad = sum("\udc80" <= character <= "\udcff" for character in text)
    return bad <= sum(character > "\x7f" for character in text) - bad


def _is_east_asian(text: str) -> bool:
    """Whether most words outside ASCII are East Asian, none of them with Latin letters on both sides."""
    words = [word for word in re.findall(r"\w+", text) if not word.isascii()]
    asian = [
        word
        for word in words
        if sum(unicodedata.east_asian_width(letter) in "WF" for letter in word) * 2 >= len(word)
        and not (word[0].isascii() and word[-1].isascii())
    ]
    return len(asian) * 2 > len(words)


def _score(text: str) -> float:
    """The share of words and signs outside ASCII that are plausible in one language, from 0 to 1."""
    words = [word for word in _WORD.findall(text) if not word.isascii() and any(map(str.isalpha, word))]
    signs = [c for c in _WORD_WITH_LETTERS.sub("", text) if c > "\x7f" and not unicodedata.combining(c)]
    if not words and not signs:
        return 0.0
    inside_words = sum(not match.group().isascii() for match in _SIGN_IN_WORD.finditer(text))
    good_signs = max(0, sum(sign in _OTHER_SIGNS for sign in signs) - inside_words)
    shaped = [word for word in words if _one_script(word) and _usual_capitals(word)]
    latin = [word for word in shaped if _script(word[0]) == "LATIN"]
    foreign = len(shaped) - len(latin)
    in_language = max((sum(_written_with(word, letters) for word in latin) for letters in _LETTERS), default=0)
    return (good_signs + foreign + in_language) / (len(words) + len(signs))


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]


def _one_script(word: str) -> bool:
    return len({_script(letter) for letter in word if letter.isalpha()} - {"FEMININE", "MASCULINE", "MICRO"}) <= 1


def _usual_capitals(word: str) -> bool:
    """Whether a word has no digits, and each part (as in d'Été) is in small letters, in capitals or capitalised."""
    return not any(map(str.isnumeric, word)) and all(
        part.islower() or part.isupper() or part[1:].islower() or len(part) < 2 for part in re.split("['’]", word)
    )


def _written_with(word: str, letters: str) -> bool:
    return all(letter.isascii() or letter in letters or not letter.isalpha() for letter in word.lower())
