"""The tables of the suite page and of the home page: a line a row of a board."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from kdbench.records.built_in import DISTRIBUTION
from kdbench.records.metrics import METRICS
from kdbench.records.rows import KD, PLAIN, RANDOM
from kdbench.records.standings import track_title, tracks
from kdbench.records.tasks import ranked_by
from kdbench.tasks import EARLIER
from kdbench_leaderboard import paths
from kdbench_leaderboard.boards import Board
from kdbench_leaderboard.cost import COMPUTE, Measure, measure_of, suite_ratio
from kdbench_leaderboard.learn.taxonomy import families_of
from kdbench_leaderboard.lifelong import metric_columns, shown
from kdbench_leaderboard.standings import Standing
from kdbench_leaderboard.tables import Cell, Column, Line, Table, choices, estimate, number, p_value
from kdbench_leaderboard.teacher_origins import origin_tags
from kdbench_leaderboard.verdicts import against_cell, contrast_cell, gain_cell, verdict_cell

YOURS = ("yours", "from your own runs/ folder, not accepted")
VERIFIED_HELP = (
    "Whether the board itself trained a sample of its cells again. All else that can be told without that is: metrics "
    "are recomputed from the evidence when this site is built"
)
UNVERIFIED = ("not verified", "of another package than kdbench, and the board has not trained a cell of it again")
VERDICT_HELP = "Against the plain student, the controls and plain KD, in words"
RIVALS = {KD: "Against KD", RANDOM: "Against random images"}
KD_HELP = "Difference to plain KD in percentage points, with its verdict; leads to the comparison"
GAIN_HELP = (
    "Over the plain student, in percentage points, with its 95 % interval; "
    "coloured where it is measurable after correction over all rows"
)
RANK_HELP = "Place of the mean, with the ranks that 95 % confidence leaves open"
FURTHER = {
    "balanced": ("Balanced, %", "Mean over classes of the accuracy in each, from the evidence"),
    "agreement": ("Agrees with teacher, %", "Test images on which student and teacher predict the same class"),
}
LEADER = ("≈ leader", "not separable from the leader: no row is measurably better")


def method_cell(s: Standing) -> Cell:
    """A row's name, with what a reader must know of it."""
    tags = [YOURS] if s.row.origin == "yours" else []
    if s.row.origin == "accepted" and s.row.info.distribution != DISTRIBUTION and not s.trained_again[0]:
        tags.append(UNVERIFIED)
    if s.like_the_leader:
        tags.append(LEADER)
    if s.apart:
        tags.append(("other network", f"not the suite's student, and not ranked among the others: {s.apart}"))
    if s.row.info.deviations:
        tags.append(("deviates", "; ".join(s.row.info.deviations)))
    if EARLIER in s.row.info.requires:
        tags.append(("upper bound", "all images of earlier tasks come again, which a method has to do without"))
    elif s.row.info.scheme == "baseline" and s.row.info.name != PLAIN:
        tags.append(("control", "no distillation from a useful teacher: a method should beat it"))
    tags += origin_tags(s.row.cells.values())
    return Cell(s.row.name, href=paths.method(s.row.info.name), tags=tuple(tags), title=s.row.info.title or "")


def goal(board: Board) -> str:
    """What a board's methods should beat in the first place."""
    return PLAIN if board.images_per_class is None else RANDOM


def gain_beneath(s: Standing, board: Board) -> Cell | None:
    """For narrow screens: the gain over the goal, with its verdict."""
    contrast = None if s.reference == goal(board) else s.against.get(goal(board))
    return contrast_cell(contrast) if contrast else None


def rank_cell(s: Standing) -> Cell:
    """The place of the mean with the ranks that are open."""
    if s.place is None or s.ranks is None:
        return number(s.place, 0)
    first, last = s.ranks
    return Cell(f"{s.place} [{first}, {last}]", s.place, low=first, high=last)


def line_of(s: Standing, board: Board) -> Line:
    """A row's filters and paper."""
    info = s.row.info
    filters: dict[str, list[str]] = {
        "scheme": [info.scheme],
        "knowledge": list(info.knowledge),
        "family": families_of(info),
        "year": [str(info.year)] if info.year else [],
        "pair": ["all"] * (not s.gaps) + [":".join(p) for p, result in s.pairs.items() if result.accuracy],
    }
    cells = {
        "method": replace(method_cell(s), beneath=gain_beneath(s, board)),
        "scheme": Cell(info.scheme),
        "knowledge": Cell(", ".join(info.knowledge)),
        "family": Cell(", ".join(families_of(info))),
        "year": Cell(str(info.year), info.year) if info.year else Cell("–"),
    }
    return Line(cells, filters, paper=info.name, muted=bool(s.gaps), words=f"{s.row.name} {info.title or ''}")


def by_track(standings: Sequence[Standing], line: Callable[[Standing], Line]) -> list[Line]:
    """A line a row; where some were tuned, in a block of its own each budget."""
    found = tracks(standings)
    lines = [(track_title(s.budget) if len(found) > 1 else "", line(s)) for track in found for s in track]
    return [replace(one, section=section) for section, one in lines]


def ranking(board: Board, standings: Sequence[Standing], most: int = 100) -> Table:
    """The home page's table: the first rows of a board."""
    columns = [
        Column("rank", "Rank", "number", help=RANK_HELP),
        Column("method", "Method"),
        Column("accuracy", board.accuracy, "number", help="Mean over pairs and seeds ± half its 95 % interval"),
        Column("gain", "Over the plain student", "number", help=GAIN_HELP),
        rival_column(board),
        cost_column(measure := measure_of(standings)),
        Column("scheme", "Scheme", phone=False),
    ]

    def ranked(s: Standing) -> Line:
        line = line_of(s, board)
        line.cells = {k: line.cells[k] for k in ("method", "scheme")} | {
            "rank": rank_cell(s),
            "accuracy": estimate(s.accuracy),
            "gain": gain_cell(s, board),
            "kd": against_cell(s, board, board.rival),
            "cost": times(measure.of(s)),
        }
        return line

    columns = shown(board, columns)
    return Table(f"ranking-{board.suite}", f"Ranking on {board.title}", columns, by_track(standings[:most], ranked))


def suite_table(board: Board, standings: Sequence[Standing]) -> Table:
    """All that is known of each row; with a pair chosen, of that pair."""
    measure = measure_of(standings)
    columns = [
        Column("rank", "Rank", "number", help=RANK_HELP, group="all"),
        Column("method", "Method"),
        Column("accuracy", board.accuracy, "number", help="Mean over pairs and seeds ± half its interval", group="all"),
        Column("gain", "Over the plain student", "number", help=GAIN_HELP, group="all"),
        rival_column(board, group="all"),
        *pair_columns(board),
        cost_column(measure),
        Column("scheme", "Scheme"),
        Column("knowledge", "Knowledge"),
        Column("family", "Family", hidden=True),
        Column("year", "Year", "number", hidden=True),
        Column(
            "p",
            "p (corrected)",
            "number",
            help="Against the plain student, after Dunnett's correction",
            hidden=True,
            group="all",
        ),
        *metric_columns(board),
        *(
            Column(name, title, "number", help=said, hidden=True, group="all")
            for name, (title, said) in FURTHER.items()
            if any(name in s.further for s in standings)
        ),
        Column("seconds", "Seconds", "number", help="Median wall time of a training, beside other cells", hidden=True),
        Column("ratio", "Time paid", "number", help="Median wall time in the suite; plain student = 1", hidden=True),
        Column("alone", "Time alone", "number", help="A step alone on the machine; plain student = 1", hidden=True),
        Column("spent", "Compute", "number", help="FLOPs of the whole training; plain student = 1", hidden=True),
        Column("extra", "Extra parameters", "number", help="That only training needs", hidden=True),
        Column("seeds", "Seeds", "number", hidden=True),
        Column("version", "Version", "number", hidden=True),
        Column("level", "Verified", help=VERIFIED_HELP, hidden=True),
        Column("verdict", "Verdict in words", help=VERDICT_HELP, group="all", wide=True, hidden=True),
    ]
    lines = by_track(standings, lambda s: suite_line(s, board, measure))
    views = [("all", "All pairs"), *((":".join(p), f"{p[0]} → {p[1]}") for p in board.pairs)]
    filters = [
        choices(name, label, lines)
        for name, label in (("scheme", "Scheme"), ("knowledge", "Knowledge"), ("family", "Family"), ("year", "Year"))
    ]
    return Table("board", f"Every method on {board.title}", shown(board, columns), lines, filters, views)


def rival_column(board: Board, group: str | None = None) -> Column:
    """The difference to KD, or to random images where training sets are made."""
    help_ = KD_HELP if board.rival == KD else KD_HELP.replace("plain KD", "as many random real images")
    return Column("kd", RIVALS[board.rival], "number", help=help_, group=group)


def cost_column(measure: Measure) -> Column:
    return Column("cost", "Cost", "number", help=f"{capital(measure.words)}; plain student = 1")


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def pair_columns(board: Board) -> list[Column]:
    """Accuracy and differences on each pair, shown while it is chosen."""
    found = []
    for name in map(":".join, board.pairs):
        found += [
            Column(f"a {name}", board.accuracy, "number", help=name, group=name),
            Column(f"g {name}", "Over the plain student", "number", help=f"{name}. {GAIN_HELP}", group=name),
            Column(f"k {name}", RIVALS[board.rival], "number", help=f"{name}. {rival_column(board).help}", group=name),
        ]
    return found


def suite_line(s: Standing, board: Board, measure: Measure) -> Line:
    line, plain = line_of(s, board), s.against.get(PLAIN)
    extra = [c.record.cost.method_parameters for c in s.row.cells.values() if c.record.cost]
    line.cells |= {
        "rank": rank_cell(s),
        "accuracy": estimate(s.accuracy),
        "gain": gain_cell(s, board),
        "kd": against_cell(s, board, board.rival),
        "cost": times(measure.of(s)),
        "p": p_value(plain.adjusted if plain else None),
        "seconds": number(s.seconds[0] if s.seconds else None, 1),
        "ratio": times(suite_ratio(s)),
        "alone": times(s.step_ratio, s.cost_hardware),
        "spent": times(COMPUTE.of(s)),
        "extra": Cell(f"{max(extra):,}", max(extra)) if extra else Cell("–"),
        "seeds": number(s.seeds, 0),
        "version": number(s.row.info.version, 0),
        "level": Cell(s.verified),
        "verdict": verdict_cell(s),
    }
    for name, value in s.metrics.items():
        if name != ranked_by(board.has_tasks):
            line.cells[name] = estimate(value, 3 if name in METRICS and METRICS[name].unit != "%" else 2)
    line.cells |= {name: estimate(value) for name, value in s.further.items()}
    for pair, result in s.pairs.items():
        name = ":".join(pair)
        why = (("incomplete", result.why),) if result.why else ()
        line.cells[f"a {name}"] = replace(estimate(result.accuracy), tags=why)
        line.cells[f"g {name}"] = contrast_cell(result.against.get(PLAIN), draw=True)
        line.cells[f"k {name}"] = contrast_cell(result.against.get(board.rival))
    return line


def times(value: float | None, where: str = "") -> Cell:
    return Cell(f"× {value:.2f}", value, title=where) if value is not None else Cell("–")
