"""What a text of a record must not tell: where its author's files are, who they are, what opens their accounts."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from kdbench.records.values import leaves

FOLDERS = (
    "home|root|Users|tmp|mnt|var|opt|usr|etc|srv|proc|dev|run|data\\d*|datasets?|scratch\\w*|work|workspace|nfs\\w*|lustre|"
    "gpfs|media|Volumes|private|content|kaggle|storage|projects?|cluster|fs\\w*|gscratch|home\\d+"
)
PATTERNS = {
    "a path": re.compile(
        rf"(?<![\w/.:)\]])/({FOLDERS})/\w|file://|(?<!\w)~\w*/\w|(?<![A-Za-z])[A-Za-z]:[\\/](Users|Documents|[A-Za-z]:)"
        r"|(?<![A-Za-z\\])[C-Z]:\\\w|(?<!\\)\\\\\w+\\\w"
    ),
    "a user or host": re.compile(
        r"[\w.+-]+@[A-Za-z][\w-]+|\b(user|username|login|host|hostname)\s*[=:]\s*\S|://[^/\s:@]+:[^/\s@]+@"
        r"|\b[\w-]+\.(local|lan|internal|localdomain|intranet)\b|\b(192\.168|172\.(1[6-9]|2\d|3[01]))\.\d{1,3}\.\d{1,3}\b",
        re.IGNORECASE,
    ),
    "a token": re.compile(
        r"\b(hf|ghp|gho|ghs|ghu|glpat|npm|pypi|sk|xox[abps])[-_][A-Za-z0-9_-]{16,}|\bgithub_pat_\w{20,}|\bAKIA[A-Z0-9]{12,}"
        r"|\beyJ[\w-]{10,}\.[\w-]{10,}|-----BEGIN |\b(password|passwd|secret|api[_-]?key|access[_-]?token)\s*[=:]\s*\S",
        re.IGNORECASE,
    ),
}


@functools.lru_cache(4096)
def private(text: str) -> str | None:
    """What a text tells that it must not: a path, a user or host, a token; None if it tells nothing of the kind."""
    return next((what for what, pattern in PATTERNS.items() if pattern.search(text)), None)


def private_texts(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Where in a record a text or key tells of its author, as 'method.docstring', and what it tells."""
    for place, found in leaves(value):
        if isinstance(found, str) and (what := private(found)):
            yield ".".join(place) or found[:60], what
