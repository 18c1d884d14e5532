"""The search for one method's parameters: its trials, the cells of each, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdbench.hashing import digest
from kdbench.records.store import Entry
from kdbench.running.plan import Cell
from kdbench.running.space import Space
from kdbench.running.study import Study

TUNE = "tune"  # the folder of studies, in that of records


@dataclass(frozen=True)
class Trial:
    """One setting of a method's parameters.

    Attributes:
        number: 0 is the method's own setting.
        params: those that are chosen; none of trial 0.
        cells: one a pair and seed.
    """

    number: int
    params: Mapping[str, Any]
    cells: Sequence[Cell]

    def accuracy(self, entries: Mapping[str, Entry]) -> float | None:
        """The mean accuracy of its cells in percent; None unless each has a result."""
        found = [entries.get(cell.key) for cell in self.cells]
        tops = [entry.record.accuracy for entry in found if entry and entry.evidence is not None]
        return sum(tops) / len(tops) if len(tops) == len(self.cells) else None

    def lack(self, entries: Mapping[str, Entry], diverged: Collection[str]) -> str:
        """Why it has no accuracy.

        Args:
            diverged: keys of cells whose loss did.
        """
        if any(cell.key in diverged for cell in self.cells):
            return "diverged"
        found = [entries[cell.key] for cell in self.cells if cell.key in entries]
        reasons = [entry.record.reason for entry in found if entry.evidence is None]
        return f"not applicable: {reasons[0]}" if reasons else "failed"

    def value(self, name: str) -> Any:
        """What a parameter is in its cells; None where pairs differ in it."""
        first, *others = [cell.params[name] for cell in self.cells]
        return first if all(other == first for other in others) else None


@dataclass
class Tuning:
    """A method's search.

    Attributes:
        plan: the cells of a setting.
        trials: the method's own setting first, then those of the study.
    """

    method: str
    space: Space
    study: Study
    plan: Callable[[Mapping[str, Any]], Sequence[Cell]]
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.trials.append(Trial(0, {}, self.plan({})))
        self._follow()
        if not self.study.trials:
            self.propose({})

    def propose(self, entries: Mapping[str, Entry]) -> bool:
        """Tell the study what came of its trials, and add what is to be tried next; False if its budget is spent."""
        values = [trial.accuracy(entries) for trial in self.trials[1:]]
        for number, value in enumerate(values):
            if value is not None:
                self.study.tell(number, value)
        proposed = self.study.propose(values)
        self._follow()
        return proposed

    def _follow(self) -> None:
        """Plan the cells of what the study has."""
        for params in self.study.trials[len(self.trials) - 1 :]:
            self.trials.append(Trial(len(self.trials), params, self.plan(params)))

    def best(self, entries: Mapping[str, Entry]) -> Trial | None:
        """The trial of the highest accuracy, of equal ones the first; None if none has any."""
        found = [(value, -trial.number) for trial in self.trials if (value := trial.accuracy(entries)) is not None]
        return self.trials[-max(found)[1]] if found else None


def study_path(runs: Path, suite: str, method: str, space: Space, sampler: str, cells: Sequence[Cell]) -> Path:
    """The file of a search: by all that it depends on except its number of trials.

    Args:
        cells: of the method's own setting: data, protocol, pairs and seeds are in their keys.
    """
    about = [sorted(cell.key for cell in cells), {name: str(values) for name, values in space.items()}, sampler]
    return runs / TUNE / suite / f"{method}-{digest(about)[:16]}.jsonl"
