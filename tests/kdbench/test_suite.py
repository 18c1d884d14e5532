"""A suite file is checked when it is read; the fingerprint holds the protocol and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.hashing import digest
from kdbench.networks.build import build_network, count_parameters
from kdbench.records.keys import teacher_key
from kdbench.suite import Suite, without_content
from kdbench.suites import SUITES, list_suites, load_suite
from kdbench.tables import Pair

TEXT = (SUITES / "digits.toml").read_text().replace('name = "digits"', 'name = "mine"')


def write(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", list_suites())
def test_built_in_suites_are_valid(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert suite.pairs


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("epochs = 60", 'epochs = "many"', "recipe.epochs"),
        ("epochs = 60", "epochs = 0", "recipe.epochs"),
        ("epochs = 60", 'epochs = "30"', "recipe.epochs"),
        ("epochs = 60", "epochs = true", "recipe.epochs"),
        ("seeds = 5", "seeds = 2020-01-01", "not JSON serializable"),
        ("most_seeds = 10", "most_seeds = 5", "most_seeds must be greater than seeds"),
        ("teachers_each = 10", "teachers_each = 9", "teachers_each must be at least 10"),
        ("most_seeds = 10", 'most_seeds = 10\nteachers = "pretrained"', "trained here. Remove it"),
        ("std = [0.3756]", "std = [0.0]", "greater than 0"),
        ("validation = 200", "validation = 1000", "smaller than data.train"),
        ("train_fraction = 0.3", "train_fraction = 1.0", "data.train_fraction"),
        ("train_fraction = 0.3", "train_fraction = 0.005", "fewer images than there are classes"),
        ("validation = 200", 'validation = 200\nresize = "box"', "resize is for images"),
        ("validation = 200", 'validation = 200\nevaluate_on = "validation"', "--validate"),
        ("resnet8     = {", '"../../evil" = {', "models"),
        ("resnet8     = {", "resnet8 = { drop_rate = nan,", "models.resnet8"),
        ("resnet8     = {", 'resnet8 = { modality = "grey",', "modality 'grey' has no effect on images of one channel"),
        ("resnet8     = {", 'resnet8 = { modality = "depth",', "models.resnet8.modality"),
        ("batch_size = 64", "batchsize = 64", "unknown key 'recipe.batchsize'"),
        ("revision = 3", "revision = 3\nflavour = 2", "unknown key 'flavour'"),
        ("resnet8:vit_w32", "resnet8:vit_w33", "Did you mean 'vit_w32'?"),
        ("resnet8:vit_w32", "resnet8", "teacher:student"),
        ("[recipe.teacher]\nepochs", "[recipe.teacher]\nepoch", "unknown key 'epoch'"),
        ("mean = [0.3048]", "mean = [0.3, 0.3]", "one value a channel"),
        ("mean = [0.3048]", "mean = [nan]", "data.mean"),
        ('name = "mine"', 'name = "../mine"', "name"),
        ('name = "mine"', 'name = "digits"', "built-in"),
        ("[recipe]", "[recipe", "not valid TOML"),
        ("channels = 1", "channels = 2", "data.channels"),
        ("crop_padding = 1", 'columns = ["img", "label"]\ncrop_padding = 1', "data: columns are of Parquet files"),
        ("crop_padding = 1", 'splits = ["train", "val"]\ncrop_padding = 1', "'sklearn/digits' has no splits"),
        ('"sklearn/digits"', '"imagefolder/it"\ncolumns = ["img", "label"]', "'imagefolder/it' has none"),
        (
            'source = "sklearn/digits"\nnum_classes = 10\nimage_size = [8, 8]',
            'source = "imagefolder/it"\nnum_classes = 10\nimage_size = [8, 65]',
            "crop_padding is for images of at most 64 pixels",
        ),
        ("epochs = 60", "epochs = 60\nmilestones = [10]", "recipe.milestones has no effect"),
        ("epochs = 60", "epochs = 60\ndecay = 0.5", "recipe.decay has no effect"),
        ('"one_cycle"', '"multistep"\nmilestones = [90]', "recipe.milestones has no effect"),
        ('optimizer = "sgd"', 'optimizer = "adamw"', "recipe.momentum has no effect with optimizer 'adamw'"),
        ("momentum = 0.9\nnesterov = false", "nesterov = true", "recipe.nesterov has no effect"),
        ("[recipe.teacher]\n", "[recipe.teacher]\nmilestones = [50]\n", "recipe.teacher.milestones has no effect"),
        ("clip_norm = 2.0", "clip_norm = 2.0\ndecay = 0.2", "recipe.students.vit_w32.decay has no effect"),
        ("teachers_each = 10", 'teachers = "pretrained"', "recipe.teacher.epochs has no effect on pretrained"),
        ("clip_norm = 2.0", 'clip_norm = "short"', "clip_norm"),
        ("seed_df = 28", "seed_df = 0", "statistics.seed_df"),
        (
            '"vit:resnet8_w4"     = {',
            '"vit:resnet8_w5" = {',
            "statistics.pairs names the unknown pair 'vit:resnet8_w5'",
        ),
        ("[recipe.students.vit_w32]", "[recipe.students.nobody]", "nobody"),
        ("[recipe.students.vit_w32]", "[recipe.students.resnet8]", "'resnet8', the student of no pair"),
        ('"resnet8:vit_w32",', '"resnet{8}:vit_w32",', "the unknown model 'resnet{8}'"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_key(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in TEXT
    with pytest.raises(KdbenchError, match=re.escape(said)) as caught:
        load_suite(write(tmp_path, TEXT.replace(old, new, 1)))
    assert "mine.toml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith("?.")


def test_what_is_known_ends_in_one_full_stop(tmp_path: Path) -> None:
    text = (SUITES / "digits.toml").read_text().replace('"resnet8:vit_w32",', '"resnet8:qqq",')
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(KdbenchError, match=r"unknown model 'qqq'\. Known: .*[^.]\.$"):
        load_suite(str(tmp_path / "s.toml"))


def test_an_unknown_suite_gets_a_suggestion() -> None:
    with pytest.raises(KdbenchError, match="Did you mean 'digits'"):
        load_suite("digit")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match=r"gone\.toml: No such file"):
        load_suite(str(tmp_path / "gone.toml"))


def test_pairs_and_models_do_not_move_the_fingerprint_but_the_recipe_does(digits: Suite) -> None:
    fewer = digits.model_copy(update={"pairs": digits.pairs[:1], "seeds": 3})
    assert fewer.protocol() == digits.protocol()
    faster = digits.with_epochs(3)
    assert faster.protocol() != digits.protocol()
    assert faster.off_protocol == ("epochs: 3 instead of 60",)


def test_a_quick_look_keeps_the_teachers(digits: Suite) -> None:
    assert digits.with_epochs(3).teacher_protocol() == digits.teacher_protocol()
    assert digits.with_validation().teacher_protocol() == digits.teacher_protocol()


def test_a_suite_bound_to_data_has_them_in_its_protocols_and_states_that_of_any(digits: Suite) -> None:
    unbound = digits.with_data_sha256(None)
    one, other = unbound.with_data_sha256("1" * 64), unbound.with_data_sha256("2" * 64)
    assert len({digest(suite.protocol()) for suite in (unbound, one, other)}) == 3
    assert len({teacher_key(suite, "resnet8", 1) for suite in (unbound, one, other)}) == 3
    assert unbound.states(one.protocol())
    assert unbound.states(other.protocol())
    assert not digits.states(one.protocol())
    assert digits.states(digits.protocol())
    assert not unbound.states(one.with_epochs(3).protocol())
    assert unbound.bound_to(one.protocol()) == one
    assert digits.bound_to(one.protocol()) == digits
    assert without_content(one.protocol()) == unbound.protocol()


def test_a_key_that_matters_to_one_of_the_recipes_may_stand(tmp_path: Path) -> None:
    text = TEXT.replace("epochs = 60", "epochs = 60\nmilestones = [10]", 1)
    text = text.replace("[recipe.teacher]", '[recipe.teacher]\nschedule = "multistep"', 1)
    assert load_suite(write(tmp_path, text)).teacher_recipe().milestones == (10,)


def test_a_students_override_moves_its_own_recipe_alone(digits: Suite) -> None:
    assert digits.recipe_of("vit_w32").clip_norm == 2.0
    assert digits.recipe_of("resnet8_w4").clip_norm is None


def test_milestones_keep_their_place_in_a_shortened_recipe(digits: Suite) -> None:
    recipe = digits.recipe_of().model_copy(update={"epochs": 240, "milestones": (150, 180, 210)})
    assert recipe.shortened(24).milestones == (15, 18, 21)


def test_the_example_of_the_documentation_is_a_suite(tmp_path: Path) -> None:
    document = Path(__file__).parents[2] / "docs" / "writing-a-suite.md"
    [text] = re.findall(r"```toml\n(.*?)```", document.read_text(), flags=re.DOTALL)
    (tmp_path / "mine.toml").write_text(text)
    suite = load_suite(str(tmp_path / "mine.toml"))
    assert suite.recipe_of("small").learning_rate == 0.01
    assert suite.override("kd", suite.pairs[0])[0] == {"temperature": 2, "kd_weight": 0.5}
    assert count_parameters(build_network(suite, "small")) > count_parameters(build_network(suite, "large"))


@pytest.mark.parametrize(
    ("requires", "teachers", "assistants"),
    [
        ({"student.logits"}, (), ()),
        ({"teacher.logits"}, ("resnet8",), ()),
        ({"teacher.logits", "team"}, ("resnet8", "vit"), ()),
        ({"teacher.network", "assistants"}, ("resnet8",), ("resnet8_w12",)),
    ],
)
def test_a_pair_gives_a_method_the_networks_that_it_requires(
    requires: set[str], teachers: tuple[str, ...], assistants: tuple[str, ...], digits: Suite
) -> None:
    pair = Pair(teacher="resnet8", student="resnet8_w8")
    assert digits.read_by(requires, pair) == teachers
    assert digits.between(requires, pair) == assistants


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("images_per_class = 10", "images_per_class = 101", "more images than the training set has"),
        ("images_per_class = 10", "images_per_class = 0", "distilled.images_per_class"),
        ("image_size = [8, 8]", "image_size = [65, 8]", "at most 64 pixels a side"),
        ("images_per_class = 10", "images = 10", "distilled.images"),
    ],
)
def test_distilled_data_are_fewer_and_small(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (SUITES / "digits-distilled.toml").read_text().replace('"digits-distilled"', '"mine"').replace(old, new)
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(KdbenchError) as error:
        load_suite(str(tmp_path / "mine.toml"))
    assert said in str(error.value)


def test_distilled_data_are_in_the_protocol_of_students_and_not_of_teachers() -> None:
    suite = load_suite("digits-distilled")
    other = suite.model_copy(update={"distilled": suite.distilled.model_copy(update={"images_per_class": 1})})
    assert (suite.learned_from, other.learned_from) == (100, 10)
    assert suite.fingerprint != other.fingerprint
    assert suite.teacher_protocol() == other.teacher_protocol()
    assert "distilled" not in load_suite("digits").protocol()
