"""Files of words and their vectors: GloVe's text, word2vec's text and binary, fastText's .vec.

A line of text is a word and its numbers, a blank or more between them; there may be blanks in the
word. It ends by a newline, with a carriage return before it or not; one elsewhere may be meant as
the end of a line too, and is refused. word2vec and fastText have a line before, of the number of
words and that of columns. Of a binary file, that is a line of text too; behind it each word is
followed by a blank and by its numbers as float32 with the low byte first, and these by the end of a
line, as word2vec writes it, or by nothing, as gensim does: all of a file by the same.
"""

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from embedrnn._quiet import quiet

Array = npt.NDArray[Any]

# Bytes that are read in one go. What is made of them, some five times as much, is held beside the
# table. Blocks of 64 KiB to 4 MiB take as long.
_BLOCK = 1 << 20

# So many lines tell how many numbers each has, where no header does.
_SAMPLE = 100

# A file of longer lines, or of more columns, is none of these.
_LONGEST = 1 << 26
_WIDEST = 1 << 20

_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_HEADER = re.compile(rb"[ \t]*(\d{1,18})[ \t]+(\d{1,18})[ \t\r]*")
_SPACES = " \t\r\v\f"
# What may stand behind each vector of a binary file, the longest first.
_ENDS = (b"\r\n", b"\n", b"")


class Source:
    """A file that is read, and whether what is broken is skipped; if so, whether it was cut off."""

    def __init__(self, path: Path, file: Any, *, skip: bool) -> None:
        self.path, self.skip, self.cut = path, skip, False
        self.tell: Callable[[], object] = lambda: None  # how far it is read
        self._file = file

    def read(self, size: int) -> bytes:
        """Return the next bytes: so many, or what is left, and of a stream of gzip a whole one."""
        parts: list[bytes] = []
        try:
            while size > 0 and (part := self._file.read1(size)):
                parts.append(part)
                size -= len(part)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.cut = self.skip and isinstance(error, EOFError)
            if not self.cut:
                self.refuse(str(error))
        self.tell()
        return b"".join(parts)

    def refuse(self, why: str) -> NoReturn:
        raise ValueError(f"{self.path} cannot be read: {why}")


class Chunk(NamedTuple):
    """Some words and their vectors, in the order of the file.

    `places` says of each which line it is, or which word of a binary file, counted from 1, and
    `unit` which of both. `bad` are those that were left out.
    """

    words: list[bytes]
    vectors: Array
    places: Sequence[int]
    bad: Sequence[int] = ()
    unit: str = "line"


class Lines(NamedTuple):
    """Lines of text, each byte as one character, and the number of the first, counted from 1.

    A last line may not have `ended`.
    """

    lines: list[str]
    first: int
    ended: bool = True


@contextmanager
def opened(path: Path, *, skip: bool, bar: Any) -> Iterator[Source]:
    """Open a file, which may be compressed by gzip, and show by a bar how much of it was read."""
    total = path.stat().st_size
    with path.open("rb") as raw:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        file: Any = gzip.GzipFile(fileobj=raw) if packed else raw
        source = Source(path, file, skip=skip)
        if bar is None:
            yield source
            return
        with bar(total=total, unit="B", unit_scale=True) as shown:
            source.tell = lambda: shown.update(raw.tell() - shown.n)
            yield source


def chunks(source: Source, dtype: np.dtype[Any], binary: bool | None) -> Iterator[Chunk]:
    """Yield what a file holds, in the format that it begins as if `binary` is None.

    ValueError is raised at the first line that is none, or if there are less or more than the
    header tells; where the source is to `skip` them, such are left out.
    """
    begin = source.read(_BLOCK).removeprefix(_BOM)
    line, _, rest = begin.partition(b"\n")
    told = _header(line)
    if told is None:
        if binary:
            source.refuse("it does not begin with the numbers of words and columns")
        return _text(source, _lines(source, begin, 1), None, dtype)
    if not 0 < told[1] <= _WIDEST:
        source.refuse(f"its header tells {told[1]} columns")
    if binary or (binary is None and _looks_binary(rest, told[1])):
        return _binary(source, rest, *told)
    return _text(source, _lines(source, rest, 2), told, dtype)


def _header(line: bytes) -> tuple[int, int] | None:
    """Return the numbers of words and columns that the first line tells, if it is a header."""
    found = _HEADER.fullmatch(line)
    return None if found is None else (int(found[1]), int(found[2]))


def _looks_binary(rest: bytes, width: int) -> bool:
    """Whether the first word after a header is followed by other things than numbers as text."""
    fields = rest.lstrip().partition(b"\n")[0].split()
    numbers = _numbers_at_end(fields[-width:])
    if len(fields) > 1 and numbers >= min(width, len(fields) - 1):
        return False
    vector = rest[rest.find(b" ") + 1 :][: 4 * width]
    return not _is_text(vector)


def _is_text(data: bytes) -> bool:
    """Whether bytes may be a part of a text: a broken line is no vector of a binary file."""
    try:
        return "".join(data.decode("utf-8").split()).isprintable()
    except UnicodeDecodeError as error:
        return error.end == len(data) and error.start > 0 and _is_text(data[: error.start])


def _numbers_at_end(fields: Sequence[bytes]) -> int:
    """Return how many of the last fields of a line are numbers."""
    for count, field in enumerate(reversed(fields)):
        try:
            float(field)
        except ValueError:
            return count
    return len(fields)


# --- text --------------------------------------------------------------------------------------


def _lines(source: Source, begin: bytes, first: int) -> Iterator[Lines]:
    """Yield the lines of a file that begins with these bytes, a block at a time."""
    rest, data = "", begin
    while data:
        lines = data.decode("latin1").split("\n")
        lines[0] = rest + lines[0]
        rest = lines.pop()
        if lines:
            yield Lines(lines, first)
            first += len(lines)
        elif len(rest) > _LONGEST:
            source.refuse(f"line {first} has more than {_LONGEST} bytes")
        data = source.read(_BLOCK)
    if rest:
        yield Lines([rest], first, ended=False)


def _text(
    source: Source,
    blocks: Iterator[Lines],
    told: tuple[int, int] | None,
    dtype: np.dtype[Any],
) -> Iterator[Chunk]:
    """Yield the words of lines; the first ones say how many numbers each has, if nothing does."""
    width, seen = 0, 0
    if told is not None:
        width = told[1]
        yield _none_yet(width)
    for block in blocks:
        width = width or _width(source, block)
        if not width:  # these lines are empty
            continue
        if not block.ended and (source.cut or (told is not None and seen + 1 < told[0])):
            yield _none_yet(width)._replace(bad=(block.first,))  # the last number may be cut
            break
        chunk = _parsed(source, block, width, dtype)
        seen += len(chunk.words) + len(chunk.bad)
        yield chunk
    if told is None and not seen:
        source.refuse("there is no word in it")
    if told is not None and seen != told[0] and not source.skip:
        source.refuse(_other_count(seen, told[0]))


def _other_count(seen: int, count: int) -> str:
    what = "it may be cut off" if seen < count else "it may be the header of another file"
    return f"its header tells {count} words, there are {seen}: {what}; bad_lines='skip' takes them"


def _none_yet(width: int) -> Chunk:
    """Return what tells the width of a table where there may be no word."""
    return Chunk([], np.empty((0, width), np.float32), ())


def _width(source: Source, block: Lines) -> int:
    """Return how many numbers most of the first lines have, those at the end of a word not."""
    lines = [line.encode("latin1").split() for line in block.lines[:_SAMPLE]]
    sample = [fields for fields in lines if fields]
    found = (min(_numbers_at_end(fields), len(fields) - 1) for fields in sample)
    widths = Counter(width for width in found if width)
    width = max(widths, key=lambda width: (widths[width], -width), default=0)
    if sample and not width:
        source.refuse(f"line {block.first} does not end with a number")
    return width


def _parsed(source: Source, block: Lines, width: int, dtype: np.dtype[Any]) -> Chunk:
    """Return the words and vectors of lines.

    Most words are cut off at the first blank, and all is well if so many numbers are left of each
    line. Otherwise there are blanks in some words, or other spaces, or lines that are broken.
    """
    numbered = enumerate((line.rstrip(_SPACES) for line in block.lines), block.first)
    filled = [(place, line) for place, line in numbered if line]
    places, lines = [place for place, _ in filled], [line for _, line in filled]
    whole = not any("\r" in line for line in lines)
    for cut in (_cut_at_blanks, _cut_from_ends) if whole else ():
        words, numbers = cut(lines, width)
        vectors = _vectors(numbers, width, dtype)
        if vectors is not None:
            _require_range(source, lines, places, numbers, vectors)
            return Chunk(_encoded(words), vectors, places)
    return _parsed_one_by_one(source, lines, places, width, dtype)


def _cut_at_blanks(lines: list[str], _width: int) -> tuple[list[str], list[str]]:
    """Return words, which have no blanks, and the numbers behind each."""
    parts = [line.partition(" ") for line in lines]
    return [word for word, _, _ in parts], [numbers for _, _, numbers in parts]


def _cut_from_ends(lines: list[str], width: int) -> tuple[list[str], list[str]]:
    """Return words, in which there may be blanks, and the numbers behind each."""
    parts = [_cut_from_end(line, width) for line in lines]
    return [word for word, _ in parts], [numbers for _, numbers in parts]


def _cut_from_end(line: str, width: int) -> tuple[str, str]:
    """Return the word of a line, in which there may be blanks, and its numbers, a blank between.

    There are none if the line has too few. Bytes know the spaces of ASCII alone.
    """
    octets = line.encode("latin1")
    fields = octets.rsplit(None, width)
    if len(fields) == width and octets[:1].isspace():  # the word is empty, or blanks
        fields.insert(0, octets[: len(octets) - len(octets.lstrip()) - 1])
    if len(fields) <= width:
        return line, ""
    return fields[0].decode("latin1"), b" ".join(fields[1:]).decode("latin1")


def _encoded(words: list[str]) -> list[bytes]:
    """Return the bytes that stood for words."""
    return "\n".join(words).encode("latin1").split(b"\n") if words else []


def _vectors(numbers: list[str], width: int, dtype: np.dtype[Any]) -> Array | None:
    """Return the numbers of lines as an array, or None if they are no such numbers.

    numpy.loadtxt takes 0.6 of the time of numpy.fromstring, and 0.4 of that of Python's float.
    """
    if not numbers:
        return np.empty((0, width), dtype)
    if not all(numbers):
        return None
    try:
        found: Array = np.loadtxt(numbers, dtype, comments=None, delimiter=" ", ndmin=2)
    except ValueError:
        return None
    return found if found.shape == (len(numbers), width) else None


def _require_range(
    source: Source, lines: list[str], places: Sequence[int], numbers: list[str], vectors: Array
) -> None:
    """Check that what is infinite is so in the text, and no number that is too great."""
    for row in np.flatnonzero(np.isinf(vectors).any(axis=1)).tolist():
        great = np.array(numbers[row].split(" "))[np.isinf(vectors[row])]
        for number in great.tolist():
            if "n" not in number.lower():
                source.refuse(
                    f"line {places[row]}, {_shown(lines[row])}, has {number}, which is too great "
                    f"for {vectors.dtype}"
                )


def _parsed_one_by_one(
    source: Source, lines: list[str], places: list[int], width: int, dtype: np.dtype[Any]
) -> Chunk:
    """Return the words and vectors of lines of which some are broken."""
    words, vectors, kept, bad = [], [np.empty((0, width), dtype)], [], []
    for place, line in zip(places, lines, strict=True):
        word, numbers = _cut_from_end(line, width)
        vector = None if "\r" in line else _vectors([numbers], width, dtype)
        if vector is not None:
            _require_range(source, [line], [place], [numbers], vector)
            words.append(word)
            vectors.append(vector)
            kept.append(place)
        elif source.skip:
            bad.append(place)
        else:
            ends = ", in which \\r ends no line: \\n and \\r\\n do" if "\r" in line else ""
            source.refuse(
                f"line {place} must be a word and {width} numbers, got {_shown(line)}{ends}; "
                "bad_lines='skip' leaves such out"
            )
    return Chunk(_encoded(words), np.concatenate(vectors), kept, bad)


def _shown(line: str) -> str:
    text = repr(line.encode("latin1"))[1:]
    return text if len(text) <= 80 else f"{text[:38]}...{text[-38:]}"


# --- binary ------------------------------------------------------------------------------------


def _binary(source: Source, data: bytes, count: int, width: int) -> Iterator[Chunk]:
    """Yield the words of a binary file, of which these bytes stand behind the header."""
    seen, more, end = 0, True, b""
    yield _none_yet(width)
    while seen < count:
        if seen == 1:  # what stands behind its vector stands behind all
            end = next(each for each in _ENDS if data.startswith(each))
        chunk, used = _unpacked(source, data, range(seen + 1, count + 1 if seen else 2), width, end)
        seen += len(chunk.words)
        yield chunk
        data = data[used:]
        if not chunk.words and not more:
            break
        if not chunk.words and len(data) > _LONGEST:
            source.refuse(f"word {seen + 1} has more than {_LONGEST} bytes")
        # At least what the next vector takes: the rest is moved to the front each time.
        read = source.read(max(_BLOCK, 4 * width))
        more = bool(read)
        data += read
    if seen < count:
        if not source.skip:
            source.refuse(_other_count(seen, count))
    elif data + source.read(1) not in _ENDS:
        yield _left_behind(source, count, width)


def _unpacked(
    source: Source, data: bytes, places: range, width: int, end: bytes
) -> tuple[Chunk, int]:
    """Return the whole words and vectors that there are, and how many bytes they take.

    They may be as many as there are places. All begin with the end of the line before.
    """
    words: list[bytes] = []
    vectors: list[bytes] = []
    at = 0
    for _ in places:
        blank = data.find(b" ", at)
        behind = blank + 1 + 4 * width
        if blank < 0 or behind > len(data):
            break
        words.append(data[at:blank])
        vectors.append(data[blank + 1 : behind])
        at = behind
    found = np.frombuffer(b"".join(vectors), "<f4").reshape(len(words), width)
    places = places[: len(words)]
    return Chunk(_without(source, words, places, end), found, places, unit="word"), at


def _without(source: Source, words: list[bytes], places: range, end: bytes) -> list[bytes]:
    """Return words without the end of a line in front of each; there are no blanks in them."""
    whole = b" ".join([b"", *words])
    cut = whole.replace(b" " + end, b" ")
    if whole.count(b" " + end) < len(words) or b" \n" in cut or b" \r\n" in cut:
        for word, place in zip(words, places, strict=True):
            _require_after(source, word, place, end)
    return cut.split(b" ")[1:]


def _require_after(source: Source, word: bytes, place: int, end: bytes) -> None:
    """Check that a word stands behind the end of a line, and of no more than one."""
    why = ""
    if not word.startswith(end):
        why = f"must stand behind {end!r}, as word 2 does"
    elif word.removeprefix(end).startswith((b"\n", b"\r\n")):
        why = "must not begin with the end of a line"
    if why:
        source.refuse(
            f"word {place} {why}, got {_shown(word.decode('latin1'))}: the header may tell another "
            "number of columns, which shifts words; a word that begins so is to be replaced"
        )


def _left_behind(source: Source, count: int, width: int) -> Chunk:
    """Refuse bytes that no word takes, or return that they were left out."""
    if not source.skip:
        source.refuse(
            f"there are bytes behind the last of the {count} words that its header tells: it may "
            "be the header of another file; bad_lines='skip' leaves them out"
        )
    return _none_yet(width)._replace(places=(), bad=(count + 1,), unit="word")


# --- the whole ---------------------------------------------------------------------------------


class Growing:
    """A table that grows as rows come.

    It is resized where it stands, which on Linux moves no row; what it has too much, 1/16 at
    most, is given back in the end.
    """

    def __init__(self, width: int, dtype: np.dtype[Any]) -> None:
        self._table, self._rows = np.empty((0, width), dtype), 0

    @property
    def width(self) -> int:
        """Columns of the table."""
        return int(self._table.shape[1])

    @quiet
    def add(self, rows: Array) -> None:
        """Add rows, rounded to the dtype of the table."""
        end = self._rows + len(rows)
        if end > len(self._table):
            self._resize(end + end // 16)
        self._table[self._rows : end] = rows
        self._rows = end

    def zeros(self) -> Array:
        """Return a row of zeros."""
        return np.zeros(self.width)

    @quiet
    def mean(self) -> Array:
        """Return the mean of all rows, zeros if there is none."""
        if not self._rows:
            return self.zeros()
        found: Array = self._table[: self._rows].mean(axis=0, dtype=np.float64)
        return found

    def whole(self) -> Array:
        """Return the table, which is not to grow any more."""
        self._resize(self._rows)
        return self._table

    def _resize(self, rows: int) -> None:
        # Nobody else has seen it, whatever the count of references says.
        self._table.resize((rows, self.width), refcheck=False)
