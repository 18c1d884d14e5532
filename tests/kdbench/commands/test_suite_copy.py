"""A suite's file is copied with a method's chosen parameters; whatever else it says stays."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from kdbench.commands.suite_copy import block, to_toml, with_block, write_copy
from kdbench.errors import KdbenchError
from kdbench.suites import SUITES, list_suites, load_suite

TUNED: dict[str, Any] = {"params": {"kd_weight": 2.5}, "source": "tuned", "trials": 8}


@pytest.mark.parametrize("suite", list_suites())
def test_every_built_in_suite_can_be_copied_with_its_comments(suite: str, tmp_path: Path) -> None:
    out = tmp_path / "mine.toml"
    methods = load_suite(suite).methods
    for method in ("kd", *sorted(methods)[:2]):
        out.unlink(missing_ok=True)
        assert write_copy(suite, {method: TUNED}, out) == "mine"
        before, after = (tomllib.loads(path.read_text()) for path in (SUITES / f"{suite}.toml", out))
        methods_before = before.get("methods", {}) | {method: TUNED}
        assert after == before | {"name": "mine", "methods": methods_before}
        for line in (SUITES / f"{suite}.toml").read_text().splitlines():
            if line.startswith("#"):
                assert line in out.read_text().splitlines()
        assert load_suite(str(out)).methods[method].source == "tuned"


def test_a_suite_of_one_s_own_keeps_its_name_and_so_its_results(small_suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned.toml"
    assert write_copy(str(small_suite), {"kd": TUNED}, out) == "small"
    assert load_suite(str(out)).fingerprint == load_suite(str(small_suite)).fingerprint


@pytest.mark.parametrize("quoted", ['"weights/large.pth"', "'weights/large.pth'"])
def test_weights_are_found_from_another_folder_too(quoted: str, small_suite: Path, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "large.pth").touch()
    small_suite.write_text(small_suite.read_text() + f"\n[weights]  # mine\nresnet8 = {{ file = {quoted} }}\n")
    out = tmp_path / "deep" / "tuned.toml"
    out.parent.mkdir()
    write_copy(str(small_suite), {"kd": TUNED}, out)
    assert "[weights]  # mine" in out.read_text()
    named = load_suite(str(out)).weights["resnet8"].file
    assert named is not None
    assert Path(named).samefile(tmp_path / "weights" / "large.pth")
    assert 'file = "../weights/large.pth"' in out.read_text()
    write_copy(str(small_suite), {"kd": TUNED}, tmp_path / "beside.toml")
    assert quoted in (tmp_path / "beside.toml").read_text()


def test_a_method_s_table_is_replaced_where_it_stands() -> None:
    text = (
        "[methods.at]\nparams = { a = 1 }  # of at\n\n# of kd\n[methods.kd.params]  # aside\nb = [\n  1,\n]\n"
        '[methods.kd.pairs."x:y"]\nb = 2\n\n# of crd\n[methods.crd]\nparams = { c = 3 }\n'
    )
    new = with_block(text, "kd", block("kd", TUNED))
    assert new == (
        "[methods.at]\nparams = { a = 1 }  # of at\n\n# of kd\n"
        '[methods.kd]\nparams = { kd_weight = 2.5 }\nsource = "tuned"\ntrials = 8\n'
        "\n# of crd\n[methods.crd]\nparams = { c = 3 }\n"
    )


def test_a_line_among_the_methods_gives_way_to_a_table() -> None:
    text = "[methods]  # all\nat = { params = { a = 1 } }\nkd = { params = { t = 1 } }\n\n[data]\nkd = 3\n"
    assert with_block(text, "kd", block("kd", TUNED)) == (
        "[methods]  # all\nat = { params = { a = 1 } }\n\n[data]\nkd = 3\n\n"
        '[methods.kd]\nparams = { kd_weight = 2.5 }\nsource = "tuned"\ntrials = 8\n'
    )


@pytest.mark.parametrize(
    "methods",
    [
        "methods = { kd = { params = { temperature = 2 } } }\n",
        "methods.kd.params.temperature = 2\n",
        '"methods".kd = { params = { temperature = 2 } }\n',
    ],
)
def test_tables_in_one_line_are_copied_without_comments(methods: str, small_suite: Path, tmp_path: Path) -> None:
    text = small_suite.read_text()
    small_suite.write_text(methods + text[: text.index("[methods.")])
    write_copy(str(small_suite), {"kd": TUNED}, tmp_path / "mine.toml")
    assert load_suite(str(tmp_path / "mine.toml")).methods["kd"].params == {"kd_weight": 2.5}
    assert load_suite(str(tmp_path / "mine.toml")).fingerprint == load_suite(str(small_suite)).fingerprint


@pytest.mark.parametrize(
    "value", [1e-05, 1, -2.5, True, 'a"b\\ü\x7f\n😀', [1, [2.0]], {"a:b": {"c": "d"}, "e_f-1": []}, {}]
)
def test_values_are_written_so_that_toml_reads_them(value: Any) -> None:
    assert tomllib.loads(f"value = {to_toml(value)}") == {"value": value}


def test_a_copy_that_would_not_load_is_not_left_there(small_suite: Path, tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match="trials"):
        write_copy(str(small_suite), {"kd": {**TUNED, "trials": -1}}, tmp_path / "mine.toml")
    assert not (tmp_path / "mine.toml").exists()
