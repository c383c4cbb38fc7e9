"""Right or wrong for every question -> accuracies with their 95 % intervals."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

_Z = 1.959964  # of a normal distribution, 95 %


@dataclass(frozen=True)
class Share:
    """A share of questions answered right, 0 to 1, and its 95 % interval."""

    mean: float
    low: float
    high: float
    asked: int


@dataclass(frozen=True)
class Accuracy:
    subjects: Mapping[str, Share]
    categories: Mapping[str, Share]  # mean over the category's questions
    macro: Share  # mean over subjects: QLoRA's
    micro: Share  # mean over questions

    def scores(self, name: str) -> dict[str, float]:
        """What runs are ranked by: `mmlu` is the macro mean, QLoRA's."""
        if name == "choices":  # of subjects of one size: both means are one
            return {name: self.macro.mean}
        return {name: self.macro.mean, f"{name}_micro": self.micro.mean}

    def rows(self) -> list[dict[str, object]]:
        """One for each subject, category and mean."""
        named = {
            "subject": self.subjects,
            "category": self.categories,
            "mean": {"macro": self.macro, "micro": self.micro},
        }
        return [
            {"of": of, "name": name, **asdict(share)}
            for of, shares in named.items()
            for name, share in shares.items()
        ]


def accuracy(
    subjects: Sequence[str], right: Sequence[bool], categories: Mapping[str, str]
) -> Accuracy:
    """`subjects[n]` and `right[n]` belong to question n."""
    by_subject: defaultdict[str, list[bool]] = defaultdict(list)
    by_category: defaultdict[str, list[bool]] = defaultdict(list)
    for subject, found in zip(subjects, right, strict=True):
        by_subject[subject].append(found)
        if subject in categories:
            by_category[categories[subject]].append(found)
    shares = {subject: wilson(sum(found), len(found)) for subject, found in by_subject.items()}
    return Accuracy(
        subjects=shares,
        categories={name: wilson(sum(v), len(v)) for name, v in sorted(by_category.items())},
        macro=_macro(by_subject),
        micro=wilson(sum(right), len(right)),
    )


def wilson(right: int, asked: int) -> Share:
    """Wilson's interval of a share: it stays within 0 and 1, and is never empty."""
    p, z2 = right / asked, _Z**2
    middle = (p + z2 / (2 * asked)) / (1 + z2 / asked)
    half = _Z * math.sqrt(p * (1 - p) / asked + z2 / (4 * asked**2)) / (1 + z2 / asked)
    return Share(p, min(middle - half, p), max(middle + half, p), asked)


def _macro(by_subject: Mapping[str, Sequence[bool]]) -> Share:
    """The mean of the subjects' shares; their questions vary, the choice of subjects does not.

    A subject's variance is that of its share drawn towards one half (Agresti and Coull), so that a
    subject with all answers right is not taken for a certain one.
    """
    means = [sum(found) / len(found) for found in by_subject.values()]
    variance = 0.0
    for found in by_subject.values():
        count = len(found) + _Z**2
        share = (sum(found) + _Z**2 / 2) / count
        variance += share * (1 - share) / count
    mean = sum(means) / len(means)
    half = _Z * math.sqrt(variance) / len(means)
    asked = sum(map(len, by_subject.values()))
    return Share(mean, max(mean - half, 0.0), min(mean + half, 1.0), asked)
