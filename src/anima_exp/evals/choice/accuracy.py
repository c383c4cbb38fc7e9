"""Right or wrong for every question -> accuracies with their 95 % intervals."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from anima_exp.wilson import Z, wilson


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
    return Accuracy(
        subjects={name: _share(sum(v), len(v)) for name, v in by_subject.items()},
        categories={name: _share(sum(v), len(v)) for name, v in sorted(by_category.items())},
        macro=_macro(by_subject),
        micro=_share(sum(right), len(right)),
    )


def _share(right: int, asked: int) -> Share:
    return Share(right / asked, *wilson(right, asked), asked)


def _macro(by_subject: Mapping[str, Sequence[bool]]) -> Share:
    """The mean of the subjects' shares; their questions vary, the choice of subjects does not.

    A subject's variance is that of its share drawn towards one half (Agresti and Coull), so that a
    subject with all answers right is not taken for a certain one.
    """
    means = [sum(found) / len(found) for found in by_subject.values()]
    variance = 0.0
    for found in by_subject.values():
        count = len(found) + Z**2
        share = (sum(found) + Z**2 / 2) / count
        variance += share * (1 - share) / count
    mean = sum(means) / len(means)
    half = Z * math.sqrt(variance) / len(means)
    asked = sum(map(len, by_subject.values()))
    return Share(mean, max(mean - half, 0.0), min(mean + half, 1.0), asked)
