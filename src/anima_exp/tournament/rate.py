"""Rate the players of a tournament: everything that the terminal, the files and the page show."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from anima_exp.config.lookup import closest
from anima_exp.errors import ConfigError, DataError
from anima_exp.tournament import bias
from anima_exp.tournament.bias import BiasEstimate, advantages
from anima_exp.tournament.bradley_terry import BradleyTerry, bradley_terry, conclusion
from anima_exp.tournament.elo import Matches, Rating, elo, matches, sequential_elo
from anima_exp.tournament.options import Options
from anima_exp.tournament.progress import Say, quiet
from anima_exp.tournament.relative_scores import (
    Category,
    HeadToHead,
    RelativeScore,
    categories,
    percents,
    win_matrix,
    win_rates,
)
from anima_exp.tournament.verdicts import Verdict


@dataclass(frozen=True)
class Tournament:
    options: Options
    verdicts: int
    relative: int  # relative verdicts among them
    unparsed: int
    questions: int
    played: int  # rated matches: those of one kind, without dropped verdicts
    reference: str | None
    percents: list[RelativeScore]  # best first; empty without relative verdicts
    elo: list[Rating]  # best first
    one_pass: dict[str, float]  # best first; empty unless requested
    bradley_terry: BradleyTerry
    matrix: dict[str, dict[str, HeadToHead]]
    win_rates: dict[str, float]
    categories: list[Category]
    position: bias.Position
    swapped: bias.Swapped
    length: bias.Length
    advantages: dict[str, BiasEstimate]
    notes: list[str]
    conclusion: str

    @property
    def players(self) -> list[str]:
        """The strongest first."""
        return [one.player for one in self.bradley_terry.strengths]

    @property
    def per_order(self) -> int:
        return min(self.options.matches or self.played, self.played)


def tournament(
    verdicts: Sequence[Verdict],
    options: Options,
    *,
    notes: Iterable[str] = (),
    progress: Callable[[str], Say] = lambda name: quiet,
) -> Tournament:
    """Rate all players.

    Raises:
        ConfigError: if an option names an unknown player.
        DataError: if all verdicts are dropped, or groups of players never met.
    """
    notes = list(notes)
    names = sorted({name for one in verdicts for name in (one.first, one.second)})
    relative = [one for one in verdicts if one.relative]
    rated = [one for one in verdicts if not one.relative] or relative
    if 0 < len(relative) < len(verdicts):
        notes.append(
            f"The percentages are from {len(relative):,} relative verdicts, everything else from "
            f"the {len(rated):,} other verdicts."
        )
    reference = _reference(relative, options.reference, names, notes)
    unparsed = sum(one.outcome is None for one in verdicts)
    if unparsed:
        as_ties = options.unparsed == "tie" and options.ties == "half"
        counted = "count as ties" if as_ties else "are dropped"
        notes.append(
            f"{unparsed:,} of {len(verdicts):,} verdicts could not be parsed. They {counted}."
        )
    if options.ties == "drop":
        notes.append(f"{sum(one.outcome == 0.5 for one in rated):,} ties are dropped.")
    played = matches(rated, ties=options.ties, unparsed=options.unparsed)
    if not len(played.points):
        raise DataError(
            f"All {len(verdicts):,} verdicts are dropped, so there is nothing to rate. Count ties "
            "or unparsed verdicts."
        )
    strengths = bradley_terry(
        played,
        start=options.start,
        samples=options.samples,
        seed=options.seed,
        say=progress("samples of the questions"),
    )
    notes += _half_win_notes(strengths)
    matrix = win_matrix(rated)
    return Tournament(
        options=options,
        verdicts=len(verdicts),
        relative=len(relative),
        unparsed=unparsed,
        questions=len({one.question for one in verdicts}),
        played=len(played.points),
        reference=reference,
        percents=percents(relative, reference) if reference else [],
        elo=elo(
            played,
            orders=options.orders,
            per_order=options.matches,
            k=options.k,
            start=options.start,
            seed=options.seed,
            say=progress("ratings over random orders"),
        ),
        one_pass=_one_pass(played, options, names) if options.one_pass else {},
        bradley_terry=strengths,
        matrix=matrix,
        win_rates=win_rates(matrix),
        categories=categories(rated, relative, reference),
        position=bias.position(rated),
        swapped=bias.swapped(rated),
        length=bias.length(rated),
        advantages=advantages(played),
        notes=notes,
        conclusion=conclusion(strengths),
    )


def _reference(
    relative: Sequence[Verdict], requested: str | None, names: Sequence[str], notes: list[str]
) -> str | None:
    if requested is not None:
        known(requested, names, option="reference")
        if not any(requested in (one.first, one.second) for one in relative):
            raise ConfigError(f"reference={requested}: no relative verdict is about it.")
        return requested
    if not relative:
        return None
    pairs = {frozenset((one.first, one.second)) for one in relative}
    everywhere = sorted(frozenset.intersection(*pairs))
    if len(everywhere) == 1:
        return everywhere[0]
    which = " and ".join(everywhere) + " are" if everywhere else "no player is"
    notes.append(
        f"No scores in percent of a reference: {which} in every pair. Give reference=NAME."
    )
    return None


def _one_pass(played: Matches, options: Options, names: Sequence[str]) -> dict[str, float]:
    for name in options.initial:
        known(name, names, option="initial_rating")
    initial = {name: options.initial.get(name, options.start) for name in played.players}
    rated = sequential_elo(
        [
            (one.first, one.second, float(points))
            for one, points in zip(played.verdicts, played.points, strict=True)
        ],
        initial=initial,
        k=options.k,
    )
    return dict(sorted(rated.items(), key=lambda item: -item[1]))


def known(name: str, names: Sequence[str], *, option: str) -> None:
    """Raise ConfigError if no player is called `name`."""
    if name not in names:
        close = closest(name, names)
        hint = f" Did you mean {close}?" if close else ""
        raise ConfigError(f"{option}={name}: no such player.{hint} There are {', '.join(names)}.")


def _half_win_notes(strengths: BradleyTerry) -> Iterable[str]:
    added = "half a win was added in each direction to every pair that met"
    if strengths.eased:
        yield (
            "At least one model won or lost every match, so its maximum-likelihood strength is "
            f"infinite. For Bradley-Terry, {added}."
        )
    elif strengths.eased_samples:
        yield (
            f"In {strengths.eased_samples:,} of {strengths.samples:,} samples of the bootstrap "
            f"at least one model won or lost every match. There, {added}."
        )
