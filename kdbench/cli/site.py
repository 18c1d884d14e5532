"""The commands of the leaderboard: site, serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli.options import ResultsOption, RunsOption
from kdbench.console import line_printer, open_console

app = typer.Typer()
SiteOption = Annotated[Path, typer.Option("--out", help="The site's folder; a site that is there is replaced.")]


@app.command()
def site(
    out: SiteOption = Path("site"),
    results: ResultsOption = None,
    runs: RunsOption = None,
    address: Annotated[str, typer.Option("--address", help="Where the site will be found, for shared links.")] = "",
    repository: Annotated[str, typer.Option("--repository", help="Address of its source, for links to it.")] = "",
) -> None:
    """Build the leaderboard from accepted records, yours and published tables: static files that open from disk.

    Example: kdbench site --out site
    """
    from kdbench.records.store import find_runs
    from kdbench_leaderboard.build import build

    notice = line_printer(open_console())
    found = build(out, results, find_runs(runs), address, repository)
    for problem in found.store.problems[:10]:
        notice(f"Not shown: {problem.what}")
    notice(f"{len(found.store.cells)} records on {len(found.boards)} boards. Open {out / 'index.html'}")


@app.command()
def serve(
    out: SiteOption = Path("site"),
    results: ResultsOption = None,
    runs: RunsOption = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
) -> None:
    """Build the leaderboard and show it on this machine (127.0.0.1) until it is interrupted.

    Example: kdbench serve --port 8000
    """
    from kdbench.records.store import find_runs
    from kdbench_leaderboard.build import build
    from kdbench_leaderboard.serve import make_server

    server = make_server(out, port)
    build(out, results, find_runs(runs))
    line_printer(open_console())(f"http://127.0.0.1:{server.server_port}/index.html (Ctrl+C ends it)")
    with server:
        server.serve_forever()
