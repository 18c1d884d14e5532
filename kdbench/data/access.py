"""The data of a suite, of whatever kind: the one place that tells the kinds apart."""

from __future__ import annotations

import sys

from kdbench.data.contract import LabelledData
from kdbench.data.large import files_content, list_images
from kdbench.data.names import class_names
from kdbench.data.small import content_sha256, load_data
from kdbench.data.sources import POOLS, OnRows, source_files
from kdbench.data.stamps import known_content, stamp
from kdbench.foreign import DATA_EVENT
from kdbench.suite import Suite
from kdbench.tables import Data


def load_dataset(data: Data) -> LabelledData:
    """A suite's images: decoded, or as files where they are large.

    Raises:
        KdbenchError: they cannot be had, or are others than the suite says.
    """
    sys.audit(DATA_EVENT)  # also of what is in memory already
    return list_images(data) if data.is_large else load_data(data)


def decode_ahead(data: Data, on_rows: OnRows) -> None:
    """Have data decoded and cached before workers ask for them, where they are held decoded.

    Raises:
        KdbenchError: as `load_dataset`.
    """
    if not data.is_large:
        load_data(data, on_rows)
    class_names(data)


def with_content(suite: Suite, on_rows: OnRows = lambda rows: None) -> Suite:
    """The suite with the hash of the data that are there, where its file states none: they are in all its keys then.

    Raises:
        KdbenchError: data that cannot be had, or are others than the suite says.
    """
    if suite.data.sha256 is not None:
        return suite
    return suite.with_data_sha256((files_content if suite.data.is_large else content_sha256)(suite.data, on_rows))


def with_known_content(suite: Suite) -> Suite:
    """The same without reading any data; the suite as it is where their content is not known from earlier.

    Raises:
        KdbenchError: files that are not there.
    """
    if suite.data.sha256 is not None:
        return suite
    if suite.data.source in POOLS:
        return with_content(suite)
    return suite.with_data_sha256(known_content(stamp(suite.data, source_files(suite.data))))
