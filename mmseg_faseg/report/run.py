"""What a report tells of a run."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .data import Part
from .pictures import Scenes
from .scalars import Curves
from .scores import Evaluation

_ENVIRONMENT = re.compile(r'^System environment:\n(.*?)^-{20,}$', re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Text:
    """A text and where it is from."""

    source: str
    text: str


@dataclass(frozen=True)
class Judged:
    """What came out on the test set.

    Attributes:
        evaluation: Numbers.
        scenes: Images with their predictions, for pictures.
    """

    evaluation: Evaluation
    scenes: Scenes


@dataclass
class Run:
    """A run, read from its work dir.

    Attributes:
        name: As it was given.
        classes: Names of the classes.
        ignore_index: The label id that is no class.
        checkpoint: What is known of the checkpoint that predicted, by name.
        config: The run's config.
        environment: Versions of what the run was made with.
        curves: Losses, learning rate and metrics.
        parts: Of the data.
        judged: The predictions; None where there was nothing to predict.
        notes: What a reader has to know before trusting the numbers, a line each.
    """

    name: str
    classes: tuple[str, ...]
    ignore_index: int
    checkpoint: Mapping[str, str]
    config: Text
    environment: Text
    curves: Curves
    parts: list[Part] = field(default_factory=list)
    judged: Judged | None = None
    notes: list[str] = field(default_factory=list)


def environment_of(folder: Path) -> Text | None:
    """What MMEngine wrote about the environment to the log of a work dir's newest start."""
    for file in sorted(folder.glob('*/*.log'), reverse=True):
        found = _ENVIRONMENT.search(file.read_text(errors='replace'))
        if found:
            return Text(f'the log of the run, {file.relative_to(folder)}', found[1].rstrip())
    return None
