"""All checks of a folder of photos and labels, in the order in which they are told."""

from collections.abc import Callable, Iterator, Sequence

from . import file_checks, label_checks
from .finding import Context, Finding

Check = Callable[[Context], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    file_checks.no_labels,
    file_checks.unreadable,
    file_checks.one_name,
    label_checks.colours,
    label_checks.black_and_white,
    label_checks.smoothed,
    label_checks.outside,
    label_checks.absent,
    file_checks.sizes,
    file_checks.without_labels,
    file_checks.without_image,
    file_checks.orientation,
    label_checks.rare,
    label_checks.nothing_labelled,
    label_checks.look_alike,
    file_checks.unused,
)
# What may be otherwise once bad files are left out, and data are parted.
CHECKS_OF_PARTS: tuple[Check, ...] = (
    label_checks.too_few,
    label_checks.absent,
    label_checks.rare,
    label_checks.nothing_labelled,
    label_checks.look_alike,
)


def findings_of(context: Context, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """Runs checks, all of them if not told: what stops training comes first."""
    found = []
    for check in checks:
        for finding in check(context):
            finding.check = check.__name__
            found.append(finding)
    return sorted(found, key=lambda finding: not finding.stops)


def bad_files(findings: Sequence[Finding]) -> set[str]:
    """Files with which training does not start, and without which it might."""
    return {file for finding in findings if finding.stops for file in finding.files}
