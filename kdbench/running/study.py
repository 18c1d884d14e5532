"""The search for parameters: Optuna's samplers, and a study of each search in a file of Optuna's journal (JSON lines).

The file holds which parameters are tried; how good they are is read from the records of their cells. So an interrupted
search goes on where it stopped, and what it proposes depends on nothing but its space and its trials' results.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from filelock import FileLock, Timeout

from kdbench.errors import KdbenchError, did_you_mean, first_line, writing
from kdbench.hashing import digest
from kdbench.running.space import Choices, Range, Space, grid

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

Sampler = Literal["tpe", "random", "grid"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)
STARTUP = 5  # random trials before TPE has enough to go by


def parse_sampler(name: str) -> Sampler:
    """A sampler by its name.

    Raises:
        KdbenchError: an unknown one, or Optuna is not installed.
    """
    if name not in SAMPLERS:
        raise KdbenchError(f"Unknown sampler '{name}' (--sampler).{did_you_mean(name, SAMPLERS)}")
    if importlib.util.find_spec("optuna") is None:
        raise KdbenchError("kdbench tune needs Optuna, which is not installed. Run: pip install 'kdbench[tune]'")
    return cast(Sampler, name)


class Study:
    """The trials of one search, in the order in which they were proposed.

    Attributes:
        trials: the parameters of each.
        budget: how many there may be.
    """

    def __init__(self, stored: OptunaStudy, space: Space, sampler: Sampler, budget: int) -> None:
        self._stored, self._space, self._sampler = stored, space, sampler
        self._distributions = {name: distribution(values) for name, values in space.items()}
        self._points = grid(space, budget) if sampler == "grid" else []
        self.budget = len(self._points) or budget
        self.trials: list[dict[str, Any]] = [trial.params for trial in stored.get_trials(deepcopy=False)][: self.budget]

    def propose(self, values: Sequence[float | None]) -> bool:
        """Add what is to be tried next: all that needs no result of another trial, else one trial.

        Args:
            values: what came of the trials so far; None for one that failed.

        Returns:
            False if the budget is spent.
        """
        before = len(self.trials)
        ahead = max(STARTUP, before + 1) if self._sampler == "tpe" else self.budget
        for number in range(before, min(ahead, self.budget)):
            self._add(self._points[number] if self._points else self._draw(number, values))
        return len(self.trials) > before

    def tell(self, number: int, value: float) -> None:
        """Write what came of a trial into the file too, for whoever opens it with Optuna's own tools."""
        if not self._stored.get_trials(deepcopy=False)[number].state.is_finished():
            self._stored.tell(number, value)

    def _draw(self, number: int, values: Sequence[float | None]) -> dict[str, Any]:
        """The sampler's choice, by the results alone: each trial has random numbers of its own."""
        import optuna

        drawing = optuna.create_study(sampler=make_sampler(self._sampler, number), direction="maximize")
        for params, value in zip(self.trials, values, strict=False):
            if value is not None:
                drawing.add_trial(
                    optuna.trial.create_trial(params=params, distributions=self._distributions, value=value)
                )
        found = drawing.ask(self._distributions).params
        return {name: values.rounded(found[name]) for name, values in self._space.items()}

    def _add(self, params: dict[str, Any]) -> None:
        """Write a trial into the file, in one line: it is there whole, or not at all."""
        from optuna.trial import TrialState, create_trial

        self._stored.add_trial(create_trial(state=TrialState.RUNNING, params=params, distributions=self._distributions))
        self.trials.append(params)


def distribution(values: Range | Choices) -> BaseDistribution:
    """The same for Optuna."""
    from optuna import distributions

    if isinstance(values, Choices):
        return distributions.CategoricalDistribution(values.values)
    if values.scale == "int":
        return distributions.IntDistribution(int(values.low), int(values.high))
    return distributions.FloatDistribution(values.low, values.high, log=values.scale == "log")


def make_sampler(name: Sampler, number: int) -> BaseSampler:
    """A sampler for one trial, with a seed of its own."""
    from optuna import samplers

    seed = int(digest(["tune", number])[:8], 16)
    return (
        samplers.RandomSampler(seed) if name == "random" else samplers.TPESampler(n_startup_trials=STARTUP, seed=seed)
    )


@contextmanager
def open_study(path: Path, space: Space, sampler: Sampler, budget: int) -> Iterator[Study]:
    """A study in a file, made if it is not there; nobody else has it meanwhile.

    Raises:
        KdbenchError: another process has it; a file that cannot be written, or is no study of this space.
    """
    with writing(path, "Choose another folder with --runs"):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise KdbenchError(f"The same search is running already ({path}). Wait for it to end.") from error
    try:
        with writing(path, "Choose another folder with --runs"):
            drop_torn_line(path)
        yield Study(load_journal(path, space), space, sampler, budget)
    finally:
        lock.release()


def load_journal(path: Path, space: Space) -> OptunaStudy:
    """Optuna's study of a file that this process has to itself.

    Raises:
        KdbenchError: the file is none, or of another space.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    remedy = "Remove it: cells that have a record are not trained again."
    try:
        storage = JournalStorage(JournalFileBackend(str(path), lock_obj=Locked()))
        study = optuna.create_study(study_name=path.stem, storage=storage, direction="maximize", load_if_exists=True)
        trials = study.get_trials(deepcopy=False)
    except Exception as error:  # whatever a damaged file makes Optuna say
        raise KdbenchError(f"{path} is no study that Optuna can read: {first_line(error)}. {remedy}") from error
    for trial in trials:
        if set(trial.params) != set(space) or not all(space[name].has(value) for name, value in trial.params.items()):
            raise KdbenchError(f"{path} is corrupt: its trial {trial.number} is not of this space. {remedy}")
    return study


class Locked:
    """Instead of Optuna's lock of a file, which would outlive a process that is killed: it is locked already."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that was not written to its end."""
    if path.is_file() and not (content := path.read_bytes()).endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
