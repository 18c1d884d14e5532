"""Where the site and its source live, as far as that is known: it may also be a folder on a disk."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kdbench.errors import KdbenchError

ADDRESS = re.compile(r"https?://[\w.-]+(:\d+)?(/[\w.~-]+)*/?")


@dataclass(frozen=True)
class Origin:
    """Addresses, each with its last slash, or empty.

    Attributes:
        address: of the site.
        repository: of its source: code, docs, licence, issues.
    """

    address: str = ""
    repository: str = ""


NOWHERE = Origin()


def make_origin(address: str, repository: str) -> Origin:
    """Both addresses, checked: they become links on every page.

    Raises:
        KdbenchError: one is no web address.
    """
    for option, text in (("--address", address), ("--repository", repository)):
        if text and not ADDRESS.fullmatch(text):
            raise KdbenchError(f"'{text}' ({option}) is no web address. Give one such as https://example.org/kdbench")
    return Origin(*(text and text.rstrip("/") + "/" for text in (address, repository)))
