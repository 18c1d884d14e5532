"""The survey's view, a page a data set: the survey's own rows first, all other sources' on a page of their own."""

from __future__ import annotations

from collections.abc import Iterator

from kdbench_leaderboard import paths
from kdbench_leaderboard.method_pages import published_table
from kdbench_leaderboard.page import Page, Site
from kdbench_leaderboard.published import datasets, entries, method_names, survey
from kdbench_leaderboard.survey_view import survey_table

SUGGESTED = ("tiny_imagenet", "cifar10", "imagenet")  # data sets that name a suite; cifar100 does for the others


def survey_pages(site: Site) -> Iterator[Page]:
    """A page a data set with published results; a second one where the survey has rows and others have more."""
    names = datasets()
    order = ["cifar100", "cifar10"]
    names.sort(key=lambda name: order.index(name) if name in order else len(order))
    tabs = [{"name": name, "path": paths.survey(name)} for name in names]
    for name in names:
        printed = any(row.dataset == name for row in survey())
        yield survey_page(site, name, tabs, whole=not printed)
        if printed:
            yield survey_page(site, name, tabs, whole=True, beside=True)


def survey_page(site: Site, name: str, tabs: list[dict[str, str]], whole: bool, beside: bool = False) -> Page:
    """One data set.

    Args:
        beside: whether it is the page beside the one with the survey's rows.
    """
    table = survey_table(name, site.boards, whole, site.method_paths)
    known = entries(name)
    used = {printed.source for entry in known.values() for printed in entry.printed}
    numbers = {row.table for row in survey() if row.dataset == name}
    values = {
        "dataset": name,
        "datasets": tabs,
        "table": table,
        "number": next(iter(numbers), None),
        "whole": whole,
        "first": paths.survey(name),
        "other": paths.survey(f"{name}-all") if numbers else None,
        "sources": sorted(used, key=lambda s: s.name),
        "suggestion": name if name in SUGGESTED else "cifar100",
        "counts": {
            "survey": sum(len(entry.survey) for entry in known.values()),
            "others": sum(len(entry.printed) for entry in known.values()),
            "kdbench": sum("kdbench" in line.filters["shown"] for line in table.lines),
        },
    }
    path = paths.survey(f"{name}-all") if beside else paths.survey(name)
    return site.page("survey.html", path, f"Results on {name}", "survey", **values)


def published_pages(site: Site) -> Iterator[Page]:
    """A page for each method that others published and kdbench has not measured: every method has its page."""
    for name in site.published_only:
        values = {"name": method_names()[name], "table": published_table(name)}
        yield site.page("published.html", paths.method(name), method_names()[name].title, "methods", **values)
