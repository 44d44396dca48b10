"""Everything about folders of photos and labels that has to be known before training."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from .checks import CHECKS_OF_PARTS, bad_files, findings_of
from .classes import Classes, classes_of, listed_names
from .finding import Context, Finding
from .split import Split, split
from .survey import Survey, survey


class Examined(NamedTuple):
    """What an examination came to.

    Attributes:
        found: What was seen, all of it.
        used: The same without images and label maps that are left out.
        classes: Of the labels; None without labels.
        parts: What is trained and validated on; None where nothing can be, or it was not asked for.
        findings: What was found, that which stops training first.
        left_out: Bad files, where those are skipped.
    """

    found: Survey
    used: Survey
    classes: Classes | None
    parts: Split | None
    findings: list[Finding]
    left_out: set[str]

    @property
    def stops(self) -> int:
        """How many findings there are to mend first."""
        return sum(finding.stops for finding in self.findings)

    @property
    def starts(self) -> bool:
        """Whether training would start."""
        return self.classes is not None and not self.stops


def examine(
    images: str,
    labels: str | None = None,
    *,
    classes: Sequence[str] | None = None,
    label_values: Sequence[int] | None = None,
    val: str | None = None,
    skip_bad: bool = False,
    seed: int = 0,
) -> Examined:
    """Decodes everything, decides on classes and parts, and runs all checks.

    Args:
        images: Folder of photos.
        labels: Folder of label maps; None to look at the photos alone.
        classes: Names; from ``classes.txt`` beside the label maps, or made up by number, if None.
        label_values: The value of each class in label maps, where that is not its number.
        val: What to validate on, see :func:`mmseg_faseg.own_data.split.split`.
        skip_bad: Leave out files that stop training.
        seed: Of the draw of images to validate on.

    Raises:
        UserError: A folder is missing or empty, or an argument is wrong.
    """
    found = survey(images, labels)
    if labels is None:
        return Examined(found, found, None, None, findings_of(Context(found)), set())
    decided = classes_of(found, classes, label_values)
    named = bool(classes is not None or label_values is not None or listed_names(found))
    findings = findings_of(Context(found, decided, named))
    bad = bad_files(findings)
    used = _without(found, bad)
    if skip_bad:
        for finding in findings:
            if finding.stops and finding.files:
                finding.stops, finding.mend = False, 'left out'
    parts = None
    said = {finding.check for finding in findings}
    if val is not None and 'no_labels' not in said:
        parts = split(used, decided, val, seed) if used.pairs[1:] else None
        again = findings_of(Context(used, decided, named, parts), CHECKS_OF_PARTS)
        findings += [one for one in again if one.check not in said]
        findings.sort(key=lambda finding: not finding.stops)
    return Examined(found, used, decided, parts, findings, bad if skip_bad else set())


def _without(found: Survey, bad: set[str]) -> Survey:
    looked = [one for one in found.looked if not {one.image, one.labels} & bad]
    return dataclasses.replace(found, looked=looked, doubled=[], unpaired=[], unused=[])
