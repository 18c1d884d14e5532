"""`kdbench site`: the whole site as a folder of static files, which opens from disk and from any web server."""

from __future__ import annotations

import functools
import json
import math
import shlex
import shutil
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError, writing
from kdbench.files import exchange, restore
from kdbench.records.agreement import Answers
from kdbench.records.locks import folder_lock
from kdbench.records.store import find_results
from kdbench.suites import list_suites, load_suite
from kdbench_leaderboard import paths
from kdbench_leaderboard.classes import ByClass, agreement
from kdbench_leaderboard.origin import make_origin
from kdbench_leaderboard.page import Page, Site, make_site, script
from kdbench_leaderboard.pages import all_pages
from kdbench_leaderboard.read import Found, read_store

MARKER = ".kdbench-site"
STATIC = Path(__file__).parent / "static"


def build(out: Path, results: Path | None, runs: Path | None, address: str = "", repository: str = "") -> Site:
    """Build the site into `out`, which it replaces if it is a site.

    Args:
        results: accepted records; sought as every command does if None.
        runs: the visitor's own; left out if it does not exist.
        address, repository: where the site and its source will be found, for links and for previews of links.

    Raises:
        KdbenchError: `out` is something else, or cannot be written.
    """
    origin = make_origin(address, repository)
    with writing(out):
        out = out.resolve()
        out.parent.mkdir(parents=True, exist_ok=True)
        with folder_lock(out):
            check_place(out)
            beside = workplace(out)
            restore(out, beside / "old")
            site = make_site(read_store(find_results(results), runs), origin)
            write_site(beside / "new", site)
            exchange(beside / "new", out, beside / "old")
            shutil.rmtree(beside, ignore_errors=True)
    return site


def check_place(out: Path) -> None:
    """Only a site, or nothing, is replaced.

    Raises:
        KdbenchError: something else is there.
    """
    if out.exists() and not (out / MARKER).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise KdbenchError(f"{out} exists and is no site of kdbench. Remove it, or choose another folder with --out.")


def workplace(out: Path) -> Path:
    """The folder beside a site in which it is built: made anew, or what a build that was killed left.

    Raises:
        KdbenchError: there is a folder of this name that kdbench did not make.
    """
    beside = out.with_name(f".{out.name}.kdbench")
    if beside.exists() and not {path.name for path in beside.iterdir()} <= {"new", "old"}:
        raise KdbenchError(f"{beside} is in the way of building {out}. Move it, or choose another folder with --out.")
    beside.mkdir(exist_ok=True)
    return beside


def write_site(folder: Path, site: Site) -> None:
    """All files of a site, into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / MARKER).write_text("Made by `kdbench site`, which replaces this folder.\n", encoding="utf-8")
    (folder / ".nojekyll").touch()  # GitHub Pages serves the files as they are
    shutil.copytree(STATIC, folder / "static")
    for path, content in chain(all_pages(site), record_scripts(site)):
        write(folder, path, content)


def write(root: Path, path: str, content: str | bytes) -> None:
    """One file. Paths are made of checked names; one that leads out of the site is a mistake of the program's."""
    target = root / path
    if not target.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{path} leads out of the site")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))


def record_scripts(site: Site) -> Iterator[Page]:
    """All records, a script for each suite and method, with its protocols once; and an index of them."""
    by_place: dict[tuple[str, str], list[Found]] = {}
    for cell in site.store.cells:
        by_place.setdefault((cell.record.suite, cell.record.method.name), []).append(cell)
    index: dict[str, list[str]] = {}
    teachers = {sha256: t.answers for sha256, t in site.store.teachers.items() if t.answers}
    for (suite, method), cells in sorted(by_place.items()):
        name = f"cells/{paths.slug(suite)}/{paths.slug(method)}"
        protocols = {cell.record.fingerprint: cell.record.protocol for cell in cells}
        records = [about(cell, teachers) for cell in cells]
        index.setdefault(suite, []).append(method)
        classes = {cell.record.fingerprint: about_classes(cell.classes) for cell in cells if cell.classes}
        yield f"data/{name}.js", script(name, {"protocols": protocols, "classes": classes, "records": records})
    yield "data/cells/index.js", script("cells/index", index)


def about_classes(classes: ByClass) -> dict[str, Any]:
    """The classes of a protocol's test images: their names, where they have some, and how many images each has."""
    return {"names": classes.names, "images": classes.images.tolist()}


def about(cell: Found, teachers: Mapping[str, Answers]) -> dict[str, Any]:
    """A record for its page, with what its evidence says beside the stored metrics."""
    record, agrees = cell.record, agreement(cell.answers, teachers)
    more: dict[str, Any] = {} if agrees is None else {"agreement": round(agrees, 4)}
    if cell.classes:
        of_each = [None if math.isnan(value) else round(value, 2) for value in cell.classes.top1.tolist()]
        more |= {"balanced": round(cell.classes.balanced, 4), "by_class": of_each}
    return {
        "record": record.model_dump(mode="json", exclude={"curve", "protocol"}),
        "origin": cell.origin,
        "level": cell.level,
        "verified": cell.verified,
        "command": command(cell),
        **more,
    }


@functools.cache
def shipped_pairs(suite: str) -> tuple[tuple[str, str], ...]:
    return tuple((pair.teacher, pair.student) for pair in load_suite(suite).pairs)


def command(cell: Found) -> str:
    """The command that trains the cell again; of a suite of one's own, with a path to fill in."""
    record, ours = cell.record, cell.record.suite in list_suites()
    words = ["kdbench run --method", record.method.name, "--suite", record.suite if ours else f"{record.suite}.toml"]
    pairs = shipped_pairs(record.suite) if ours else ()
    teacher = record.teacher or next((t for t, student in pairs if student == record.student), None)
    words += ["--pair", f"{teacher}:{record.student}"] if teacher else []
    words += ["--seeds", f"{record.seed},"]
    words += [f"--set {shlex.quote(f'{name}={json.dumps(value)}')}" for name, value in record.variant.items()]
    data = record.protocol.get("data")
    validated = isinstance(data, dict) and data.get("evaluate_on") == "validation"
    if record.off_protocol:
        words += ["--epochs", str(record.recipe.get("epochs"))] + ["--validate"] * validated
    return " ".join(words)
