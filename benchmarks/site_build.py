"""How long the site takes to build: PYTHONPATH=. python benchmarks/site_build.py --records 2500 5000 10000"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.synthetic_records import write_methods
from kdbench.suites import load_suite
from kdbench_leaderboard.build import build


def main() -> None:
    """Print a line a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, nargs="+", default=[2500, 5000, 10000])
    arguments = parser.parse_args()
    suite = load_suite("digits")
    cells = len(suite.pairs) * suite.seeds
    sys.stdout.write("records  seconds  of CPU  ms a record  home page KB  site MB  peak memory MB\n")
    for wanted in arguments.records:
        with tempfile.TemporaryDirectory() as folder:
            results, out = Path(folder) / "results", Path(folder) / "site"
            count = write_methods(results, [f"m{n:04}" for n in range(max(0, wanted // cells - 2))])
            begin, worked = time.perf_counter(), time.process_time()
            build(out, results, None)
            seconds, worked = time.perf_counter() - begin, time.process_time() - worked
            home = (out / "index.html").stat().st_size / 1000
            size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
            sys.stdout.write(
                f"{count:7}{seconds:9.1f}{worked:8.1f}{1000 * seconds / count:13.2f}"
                f"{home:14.0f}{size:9.0f}{peak:16.0f}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
