"""Columns of a Parquet file that somebody else may have made, read only once its pages were counted.

What the file's end says of it is a claim: 60 kB can claim to hold ten values and unfold to gigabytes. Each page begins
with a head that says how many values it makes and of how many bytes; Arrow allocates by these, so these are summed
before anything is decoded. Encodings in which a value can repeat parts of the last one are refused.
Source of the layout: apache/parquet-format, README.md and src/main/thrift/parquet.thrift.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.errors import KdbenchError, first_line
from kdbench.files import read_plain

if TYPE_CHECKING:
    import pyarrow as pa

MAX_FILE = 2**28  # bytes of a file, and of its pages unfolded
MAX_VALUES = 2**25  # of all columns together
BOUNDED = {0, 2, 3, 8}  # encodings PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY
DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = 0, 2, 3
# Where the head of a kind of page has its own part, and therein how many values the page has and their encoding.
HEADS = {DATA_PAGE: (5, 1, 2), DICTIONARY_PAGE: (7, 1, 2), DATA_PAGE_V2: (8, 1, 4)}
Struct = dict[int, Any]


def read_columns(path: Path, types: Mapping[str, pa.DataType], most: int = MAX_VALUES) -> pa.Table:
    """The named columns; those of text come as dictionaries, so that a long one that repeats is kept once.

    Args:
        types: of each column.
        most: values that all columns may have together.

    Raises:
        FileNotFoundError: there is no such file.
        KdbenchError: no plain file, no Parquet, other columns, or more than it may hold.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    unreadable = (OSError, pa.ArrowException, MemoryError, AttributeError, LookupError, TypeError, ValueError)
    content = read_plain(path, MAX_FILE)
    try:
        claims = pq.ParquetFile(pa.BufferReader(content))
        if sum(counted_values(content, claims.metadata)) > most:
            raise KdbenchError(f"{path} is larger than its records can need.")
        if lacking := set(types) - set(claims.schema_arrow.names):
            raise ValueError(f"it has no column {min(lacking)}")
        texts = [name for name, kind in types.items() if kind == pa.string()]
        table = pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts).read(columns=list(types))
        for name, kind in types.items():
            found = table.schema.field(name).type
            if (found.value_type if name in texts else found) != kind or table[name].null_count:
                raise ValueError(f"column {name} is of another type")
    except unreadable as error:
        raise KdbenchError(f"{path} cannot be read: {first_line(error)}.") from error
    return table


def counted_values(content: bytes, about: Any) -> Iterator[int]:
    """How many values each page makes, as the pages themselves say.

    Raises:
        ValueError: the file's end says something else, or the pages unfold to more than `MAX_FILE`.
    """
    unfolded = 0
    for group in range(about.num_row_groups):
        for number in range(about.num_columns):
            column = about.row_group(group).column(number)
            starts = (column.dictionary_page_offset or 0, column.data_page_offset)
            place = min(start for start in starts if start > 0)
            end, claimed = place + column.total_compressed_size, column.num_values
            while place < end:
                head, body = read_struct(content, place)
                kind, unfolds, length = head[1], head[2], head[3]
                own, count, encoding = HEADS[kind]
                values = head[own][count]
                if head[own][encoding] not in BOUNDED or min(values, unfolds, length) < 0:
                    raise ValueError("a page is not as kdbench writes it")
                unfolded += unfolds
                if unfolded > MAX_FILE:
                    raise ValueError(f"it unfolds to over {MAX_FILE} bytes")
                claimed -= 0 if kind == DICTIONARY_PAGE else values
                place = body + length
                yield values
            if claimed or place != end:
                raise ValueError("its pages are not those that its end claims")


def read_struct(content: bytes, place: int, depth: int = 0) -> tuple[Struct, int]:
    """A struct of Thrift's compact protocol: its fields by number, and where it ends."""
    found: Struct = {}
    number = 0
    while kind := content[place]:
        step, place = kind >> 4, place + 1
        if step == 0:
            raw, place = read_varint(content, place)
            number = signed(raw)
        else:
            number += step
        found[number], place = read_value(content, place, kind & 15, depth)
    return found, place + 1


def read_value(content: bytes, place: int, kind: int, depth: int) -> tuple[Any, int]:
    """One value: True, False, a number, bytes or a struct; heads of pages have no others."""
    match kind:
        case 1 | 2:
            return kind == 1, place
        case 3:
            return content[place], place + 1
        case 4 | 5 | 6:
            raw, place = read_varint(content, place)
            return signed(raw), place
        case 7:
            return None, place + 8
        case 8:
            length, place = read_varint(content, place)
            return None, place + length
        case 12 if depth < 4:
            return read_struct(content, place, depth + 1)
    raise ValueError("a page has no head")


def read_varint(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte, place = content[place], place + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise ValueError("a page has no head")


def signed(value: int) -> int:
    return (value >> 1) ^ -(value & 1)
