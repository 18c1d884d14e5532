"""`kdbench cache`: what is kept on this machine, and how much room it takes."""

from __future__ import annotations

import shutil
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kdbench.cache import cache_folder
from kdbench.console import line_printer, write_json
from kdbench.errors import KdbenchError, writing
from kdbench.training.row_store import GB, LIMIT, ROWS, amount, store_folder, store_limit


def show_cache(clear: str | None, console: Console, as_json: bool) -> None:
    """Remove what is to be cleared, and show the rest: what lies in each folder, and in each store of outputs.

    Raises:
        KdbenchError: it cannot be removed, or is not a thing to clear.
    """
    folder, notice = cache_folder(), line_printer(console)
    if clear not in (None, "outputs"):
        raise KdbenchError(f"--clear {clear}: only 'outputs' can be cleared, the stored outputs of teachers.")
    if clear and store_folder().is_dir():
        freed = size_on_disk(store_folder())
        with writing(store_folder(), "End the runs that use it"):
            shutil.rmtree(store_folder())
        notice(f"Stored outputs removed: {amount(freed)}.")
    folders = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    sizes = {path.name: size_on_disk(path) for path in folders}
    stores = {path.stem: (size_on_disk(path), path.stat().st_size) for path in sorted(store_folder().glob(f"*{ROWS}"))}
    if as_json:
        named = {name: {"bytes": size, "at_most": full} for name, (size, full) in stores.items()}
        write_json({"folder": str(folder), "bytes": sizes, "outputs": named, "limit": round(store_limit())})
        return
    table = Table("", "on disk", "at most", box=None)
    for name, size in sizes.items():
        table.add_row(escape(name), amount(size), "")
    for name, (size, full) in stores.items():
        table.add_row(f"  {escape(name)}", amount(size), amount(full))
    notice(f"{folder}; stores of outputs may grow to {store_limit() / GB:g} GB together ({LIMIT})")
    console.print(table)


def size_on_disk(path: Path) -> int:
    """Bytes that a file, or all files of a folder, take: less than their length where they are sparse."""
    files = [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]
    stats = [file.stat() for file in files]
    return sum(512 * stat.st_blocks if hasattr(stat, "st_blocks") else stat.st_size for stat in stats)
