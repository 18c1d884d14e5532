"""The pages of the place to learn, each in every language, and the script of the one that can be touched."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from markupsafe import Markup

from kdbench_leaderboard import paths
from kdbench_leaderboard.learn import field, gap, matching, soft_targets, topics, weights
from kdbench_leaderboard.learn.pictures import kd_picture
from kdbench_leaderboard.learn.taught import classes, taught
from kdbench_leaderboard.learn.taxonomy import REASONS, citations, taxonomy_rows, taxonomy_table
from kdbench_leaderboard.learn.topics import LANGUAGES, PAGES, TOPICS
from kdbench_leaderboard.mathml import equation
from kdbench_leaderboard.method_pages import infos
from kdbench_leaderboard.page import Page, Site, script

LIST = "taxonomy.q"  # the state of the map's table that a citation leads to
WITH_TABLES = frozenset({"map", "soft-targets", "logits", "comparison", "architectures", "compression"})
FURTHER = {  # papers that the survey names beside its taxonomy, with where to find them
    "Jiao et al., 2020": "1909.10351",
    "Sanh et al., 2019": "1910.01108",
    "Sun et al., 2019": "1908.09355",
    "Tang and Wang, 2018": "1809.07428",
    "Cho and Hariharan, 2019": "1910.01348",
    "Phuong and Lampert, 2019a": "2105.13093",
    "Howard et al., 2017": "1704.04861",
}


def learning_pages(site: Site) -> Iterator[Page]:
    """Every page in every language."""
    for language in LANGUAGES:
        for name in PAGES:
            yield learning_page(site, name, language)
    yield "data/learn/digits.js", script("learn", soft_targets.digits_script(taught()))


def learning_page(site: Site, name: str, language: str) -> Page:
    make = CONTENT.get(name, lambda site, language: {})
    where = topics.path(name, language)
    values = {
        "has_tables": name in WITH_TABLES,
        **make(site, language),
    }
    return site.page(
        f"learn/{language}/{name}.html",
        where,
        topics.title(name, language),
        "learn",
        lang=language,
        learn=name,
        tabs=[(key, topics.title(key, language), topics.path(key, language)) for key in PAGES],
        languages=[(key, label, topics.path(name, key)) for key, label in LANGUAGES.items()],
        cite=cited(language, "../" * where.count("/")),
        method=method_link(site, "../" * where.count("/")),
        math=equation,
        **values,
    )


def cited(language: str, root: str) -> Callable[[str], Markup]:
    """What a template cites with: a paper that the survey has, leading to its row, or to the paper.

    Raises:
        ValueError: the survey has no such paper.
    """

    def cite(citation: str) -> Markup:
        if citation in citations():
            words = re.sub(r"\W+", "+", citation)
            address = f"{root}{topics.path('map', language)}#{LIST}={words}"
        elif citation in FURTHER:
            address = paths.arxiv(FURTHER[citation]) or ""
        else:
            raise ValueError(f"the survey cites no '{citation}'")
        return Markup('<a class="cite" href="%s">%s</a>') % (address, citation)

    return cite


def method_link(site: Site, root: str) -> Callable[[str], Markup]:
    """A method's name, leading to its page where it has one."""

    def link(name: str) -> Markup:
        code = Markup("<code>%s</code>") % name
        return Markup('<a href="%s">%s</a>') % (root + paths.method(name), code) if name in site.measured else code

    return link


def index(site: Site, language: str) -> dict[str, Any]:
    found = [(topic.names[language], topics.path(topic.page, language), topic.anchor) for topic in TOPICS]
    picture = kd_picture(language)
    return {"topics": found, "methods": len(site.measured), "picture": picture}


def soft(site: Site, language: str) -> dict[str, Any]:
    it = taught()
    return {
        "taught": it,
        "static": soft_targets.static_example(it),
        "chosen": soft_targets.telling(it),
        "example": soft_targets.example(),
        "alike": {name: soft_targets.alike(it, name) for name in it.teachers},
        "names": soft_targets.digit_names(it),
        "at": soft_targets.AT,
        "classes": classes(),
        "real": soft_targets.real_example(classes()),
        "alike_classes": soft_targets.alike_table(classes(), language),
    }


def logits(site: Site, language: str) -> dict[str, Any]:
    it = taught()
    return {
        "taught": it,
        "gradients": matching.gradients(it, language),
        "practice": matching.practice(site, language),
        "grid": weights.read_grid(),
    }


def the_map(site: Site, language: str) -> dict[str, Any]:
    rows = taxonomy_rows()
    return {
        "map": field.field_map(infos(site.boards), language),
        "taxonomy": taxonomy_table(site.measured, language),
        "counts": {
            "rows": len(rows),
            "here": sum(bool(r.here) for r in rows),
            "near": sum(bool(r.near) for r in rows),
            "open": sum(r.why == "open" for r in rows),
        },
        "reasons": [REASONS[why][language == "zh-CN"] for why in REASONS],
    }


def architectures(site: Site, language: str) -> dict[str, Any]:
    return {"taught": taught(), "sizes": gap.sizes_table(site, language), "gap": gap.gap_table(site, language)}


def comparison(site: Site, language: str) -> dict[str, Any]:
    above, count = gap.surpassing(site)
    return {
        "survey": gap.survey_summary(language),
        "above": len(above),
        "count": count,
        "surpass": gap.surpassing_table(above, language),
        "boards": [(board.title, paths.suite(board)) for board, _ in site.main_boards],
    }


def compression(site: Site, language: str) -> dict[str, Any]:
    return {"sizes": gap.sizes_table(site, language), "quantized": gap.quantized_table(site, language)}


CONTENT: dict[str, Callable[[Site, str], dict[str, Any]]] = {
    "index": index,
    "soft-targets": soft,
    "logits": logits,
    "map": the_map,
    "architectures": architectures,
    "comparison": comparison,
    "compression": compression,
}
