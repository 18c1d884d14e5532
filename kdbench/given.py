"""What a method is given: the shapes and numbers that it builds on, batches, and what both networks make of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Generator, Tensor, device

from kdbench.errors import did_you_mean
from kdbench.tasks import EARLIER, TASKS

if TYPE_CHECKING:
    from kdbench.networks.own import OwnNetwork

WHAT = ("logits", "embedding", "features", "pre_activations", "stem", "class_maps", "head_logits", "attention")
# in full in `setup`; "strong_images" in the batch
GIVEN = frozenset(
    {"student.network", "teacher.network", "team", "assistants", "images", TASKS, EARLIER, "strong_images"}
)
OUTPUTS = frozenset({f"{role}.{what}" for role in ("student", "teacher") for what in WHAT}) | GIVEN


class Required:
    """Holds what `requires` names of one network; anything else says what to add to it."""

    def __init__(self, role: str, **values: Any) -> None:
        self._role = role
        self._values = {name: value for name, value in values.items() if value is not None}

    def _get(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        known = {*WHAT, "network"}
        if name in known:
            raise AttributeError(f"{self._role}.{name} was not computed: add '{self._role}.{name}' to `requires`")
        raise AttributeError(f"{self._role} has no output '{name}'.{did_you_mean(name, known)}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # not an output, and perhaps asked for before __init__
            raise AttributeError(name)
        return self._get(name)


class Shapes(Required):
    """Shapes of one network's outputs, without the batch axis.

    Attributes:
        embedding: D, the width of the vector before the classifier.
        features: (C, H, W) of each feature map, shallow to deep: of the stages of a network, or of the parts of an
            isotropic one. Both networks have equally many, and maps at one position belong together, the last being
            each network's own last; they may differ in channels and in size.
        pre_activations: (C, H, W) of the same maps before their last ReLU.
        stem: (C, H, W) of the map before the first stage, if the network offers one: one entry, or none.
        class_maps: (C, H, W), C classes.
        attention: (N, D, heads) of each block whose map is in `features`.
    """

    embedding: int
    features: tuple[tuple[int, int, int], ...]
    pre_activations: tuple[tuple[int, int, int], ...]
    stem: tuple[tuple[int, int, int], ...]
    class_maps: tuple[int, int, int]
    attention: tuple[tuple[int, int, int], ...]


def not_given(*_: Any) -> Any:
    """Stands for what `requires` does not name.

    Raises:
        AttributeError: always.
    """
    raise AttributeError(f"it was not given: `requires` must name one of {', '.join(sorted(GIVEN))} for it")


Read = Callable[[Tensor], "Outputs"]  # images (B, C, H, W) to a network's outputs


@dataclass(frozen=True)
class Setup:
    """What a method may know when it builds its own modules.

    Attributes:
        student, teacher: shapes of their outputs, those that `requires` names.
        train_labels: (N,) labels of the training set, on the device, in the order that `Batch.index` counts; empty for
            a data-free method, and where there are tasks.
        num_classes: C.
        mean, std: the normalisation of the images, a value a channel.
        num_steps: optimizer steps of the main stage.
        batch_size: images in a batch; the last one of an epoch may have fewer.
        image_shape: (C, H, W) of the images.
        device: where everything lives. Modules and buffers may be made on the CPU: they are moved after `build`.
        generator: the method's own random numbers, on the device, for every draw in `loss`, so that the draws of one
            method never shift the batches or the initial weights of another. It may be kept; its state is checkpointed.
            (In `build`, PyTorch's global generator is seeded for the method, so that modules initialise as usual.)
        epochs: of the main stage in the suite's recipe.
        network: makes another network with fresh weights, by its role: of the "student"'s architecture, the
            "teacher"'s, or one of `assistants`. It is trained with the student, unless its gradients are switched off.
            Several are kept in `kdbench.OwnNetworks`.
        read_student, read_teacher: the outputs of both networks for other images than the batch's, differentiable in
            the images. A method may call them in `inputs`, `loss` and `before_epoch`.
        student_from, teacher_from: the outputs of a network if one of its maps were another: from the map's position in
            `features` and (B, C, H, W) in its place, differentiable in it; of the maps those after it. The student
            normalises such a batch by itself and keeps its running statistics. A network that cannot be run from a map
            on raises `NotApplicable`: call it once in `build`.
        student_network, teacher_network: the networks themselves, where `requires` names "student.network" or
            "teacher.network". The student may be changed in `build` (into one that learns to be quantized). Of the
            frozen teacher, keep a copy of the part that is needed
            (`copy.deepcopy(setup.teacher_network.get_classifier())`).
        team: readers of further teachers that the suite names beside this one, where `requires` names "team": their
            logits, and the embedding where that of the teacher is required, without gradients.
        team_networks: those teachers themselves, where `requires` names "teacher.network" as well.
        assistants: names of networks between teacher and student that the suite gives for this pair, from large to
            small, where `requires` names "assistants".
        images: other training images, from (B,) `index` and (B,) `view` below `num_views`, where `requires` names
            "images".
        plain_view: the view of an image that is neither shifted nor mirrored.
        images_per_class: how many a `DatasetMethod` makes of each class.
        tasks: the classes of each task, in the order in which they come, where `requires` names "tasks": for lifelong
            learning, on a suite with tasks alone. The method's main stage runs once a task, on the images of its
            classes and those that the suite keeps of earlier ones; with "earlier_images" in `requires` on all of these.
    """

    student: Shapes
    teacher: Shapes
    train_labels: Tensor
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_steps: int
    device: device
    generator: Generator
    batch_size: int = 64
    image_shape: tuple[int, int, int] = (3, 32, 32)
    epochs: int = 1
    network: Callable[[str], OwnNetwork] = not_given
    read_student: Read = not_given
    read_teacher: Read = not_given
    student_from: Callable[[int, Tensor], Outputs] = not_given
    teacher_from: Callable[[int, Tensor], Outputs] = not_given
    student_network: Any = None  # timm models, whose interfaces beyond nn.Module's are not typed
    teacher_network: Any = None
    team: tuple[Read, ...] = ()
    team_networks: tuple[Any, ...] = ()
    assistants: tuple[str, ...] = ()
    images: Callable[[Tensor, Tensor], Tensor] = not_given
    num_views: int = 1
    plain_view: int = 0
    images_per_class: int = 0
    tasks: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Batch:
    """One batch of training images.

    Attributes:
        images: (B, C, H, W) float, augmented and normalised.
        labels: (B,) int64. The last batch of an epoch may be shorter than the others.
        index: (B,) int64, the position of each image in the training set; each once an epoch.
        view: (B,) int64, which of the finitely many crops and flips it is; None if a method changed the images.
        epoch, step: 0-dim int64 tensors on the device, counted from 0.
        progress: 0-dim float tensor, the part of the training that is done, 0 to 1.
        strong_images: (B, C, H, W), the same images in another crop, twice distorted and partly erased (RandAugment);
            under a seed the same for every method. None unless `requires` names "strong_images".
        extra: what the method's own `inputs` adds for its `loss`.
        number: the step's place in its epoch as a Python number; for an `eager` method alone.
        task: the number of the task, counted from 0, as a Python number: a step is captured anew in each.
    """

    images: Tensor
    labels: Tensor
    index: Tensor
    view: Tensor | None
    epoch: Tensor
    step: Tensor
    progress: Tensor
    extra: dict[str, Tensor] = field(default_factory=dict)
    number: int | None = None
    task: int = 0
    strong_images: Tensor | None = None


class Outputs(Required):
    """What one network makes of a batch, in float32: only what the method's `requires` names is computed.

    Attributes:
        logits: (B, C). Of the student in a suite with tasks, those of classes that have not come yet are so low that
            no softmax or sigmoid sees them.
        embedding: (B, D), the vector before the classifier.
        features: list of (B, C_l, H_l, W_l), shallow to deep, as in `Shapes`.
        pre_activations: list of the same, before the last ReLU, of networks that declare where that is; maps that end
            in no ReLU as they are. A method that requires `features` as well is given any other map as it is, too.
        stem: list of the stem's (B, C, H, W), or empty, as in `Shapes`.
        class_maps: (B, C, H, W), what the linear classifier says at each position of the map that it reads the mean of;
            their mean over positions is the logits. Pairs with a network without them are not applicable.
        head_logits: list of (B, C), those of the class token and of the distillation token of a transformer that has
            both, as timm's deit_..._distilled; their mean is the logits. Other networks are not applicable.
        attention: list of (3, B, N, D), the queries, keys and values of N tokens in each transformer block whose map is
            in `features`, all heads side by side. Networks of other blocks are not applicable.
    """

    logits: Tensor
    embedding: Tensor
    features: list[Tensor]
    pre_activations: list[Tensor]
    stem: list[Tensor]
    class_maps: Tensor
    head_logits: list[Tensor]
    attention: list[Tensor]
