"""Each topic of the field has its place, in every language; pages lead somewhere and say nothing in two tongues."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kdbench_leaderboard.learn.topics import LANGUAGES, PAGES, TOPICS, path, title
from kdbench_leaderboard.learn.words import chinese

DIGEST = {  # the digest's topics: words of the title, and what must be said at the place in any language
    "Model compression": "quantized_kd",
    "Three parts of a system": "<svg",
    "Categories of knowledge: response, feature, relation": "rkd",
    "Schemes: offline, online, self": "dml",
    "Families of algorithms": 'id="taxonomy"',
    "Teacher-student architectures": "Polino et al., 2018",
    "The capacity gap": "takd",
    "Logits and dark knowledge": "<math",
    "The cat, the dog and the car": "<table",
    "Hard and soft targets": 'class="bar"',
    "Temperature and its limits": "T = 1",
    "Both losses: soft and hard, and T²": "kd_weight",
    "The gradient and logit matching": 'id="gradients"',
    "What each loss weight does": "ce_weight",
    "Performance comparison": 'id="gains"',
    "Students that surpass their teachers": "</p>",
    "Applications": "Papernot et al., 2017",
    "Challenges and open questions": "Mobahi et al., 2020",
}
ROOT = Path(__file__).parents[3] / "leaderboard"


def read(site: Path, page: str, language: str) -> str:
    return (site / path(page, language)).read_text(encoding="utf-8")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("topic", DIGEST)
def test_each_topic_of_the_digest_has_a_place(site: Path, topic: str, language: str):
    [found] = [one for one in TOPICS if one.english == topic]
    page = read(site, found.page, language)
    _, place, rest = page.partition(f' id="{found.anchor}"')
    assert place, f"{found.page} has no #{found.anchor}"
    section = rest if found.anchor in ("applications", "questions") else rest.partition("<h2")[0]
    if topic in ("Model compression", "Teacher-student architectures"):
        section = rest
    assert DIGEST[topic] in section
    assert f"{path(found.page, language)}#{found.anchor}" in read(site, "index", language)


def test_no_topic_is_left_out_of_the_list():
    assert {topic.english for topic in TOPICS} == set(DIGEST)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("page", PAGES)
def test_each_page_says_its_language_and_leads_to_its_twin(site: Path, page: str, language: str):
    text = read(site, page, language)
    assert f'<html lang="{language}"' in text
    [other] = [one for one in LANGUAGES if one != language]
    assert f'hreflang="{other}" href="../{"" if language == "en" else "../"}{path(page, other)}"' in text
    assert f"<title>{title(page, language)}" in text
    assert bool(re.search("[\u4e00-\u9fff]{8}", re.sub("<nav.*?</nav>", "", text, flags=re.DOTALL))) == (
        language != "en"
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_anchor_is_there(site: Path, language: str):
    missing = []
    for page in PAGES:
        here = site / path(page, language)
        for address, anchor in re.findall(r'href="([^"#:]*)#([\w-]+)"', here.read_text(encoding="utf-8")):
            target = (here.parent / address).resolve() if address else here
            if f'id="{anchor}"' not in target.read_text(encoding="utf-8"):
                missing.append((page, address, anchor))
    assert missing == []


def test_both_languages_have_the_same_parts():
    for name in PAGES:
        parts = [
            re.findall(
                r'id="[\w-]+"|cite\("[^"]+"\)|method\("\w+"\)|p\.\w+\(|t\.render\(\w+\)|<code>kdbench[^<]*', text
            )
            for text in (
                (ROOT / "templates/learn" / key / f"{name}.html").read_text(encoding="utf-8") for key in LANGUAGES
            )
        ]
        assert sorted(parts[0]) == sorted(parts[1]), name


def test_every_shared_word_has_its_chinese():
    sources = [
        *(ROOT / "learn").glob("*.py"),
        *(ROOT / "templates").glob("*.html"),
        ROOT / "templates/learn/parts.html",
    ]
    said = {
        word for source in sources for word in re.findall(r'\bsay\("([^"]+)"\)', source.read_text(encoding="utf-8"))
    }
    assert len(said) > 50
    assert sorted(said - set(chinese())) == []


def test_the_head_of_every_page_leads_to_the_place_to_learn(site: Path):
    for page in ("index.html", "methods.html", "suite/digits/index.html"):
        assert re.search(r'href="[./]*learn/index\.html"[^>]*>Learn</a>', (site / page).read_text(encoding="utf-8"))
