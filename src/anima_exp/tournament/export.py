"""Export a tournament as Markdown, CSV or JSON."""

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from anima_exp.display import tables as md
from anima_exp.display.tables import escape_formula
from anima_exp.system import json_files
from anima_exp.tournament import report
from anima_exp.tournament.bias import Share
from anima_exp.tournament.rate import Tournament


def scores(result: Tournament) -> dict[str, dict[str, float]]:
    """Return scores by player: elo, bradley_terry, win_rate and, if known, percent_of_reference.

    The comparison of runs can show them next to other scores.
    """
    by_player: dict[str, dict[str, float]] = {player: {} for player in result.players}
    for rating in result.elo:
        by_player[rating.player]["elo"] = rating.mean
    for strength in result.bradley_terry.strengths:
        by_player[strength.player]["bradley_terry"] = strength.rating
    for player, rate in result.win_rates.items():
        by_player[player]["win_rate"] = rate
    for percent in result.percents:
        if percent.mean is not None:
            # A player may have met the reference only in relative verdicts.
            by_player.setdefault(percent.player, {})["percent_of_reference"] = percent.mean
    return by_player


def markdown(result: Tournament) -> str:
    parts = [md.escape_markdown(report.summary(result)) + ".\n"]
    for one in report.tables(result):
        parts.append(f"### {md.escape_markdown(one.title)}\n\n{md.markdown_table(one.columns)}")
        if one.note:
            parts.append(md.escape_markdown(one.note) + "\n")
    said = [*report.biases(result), *result.notes]
    parts.append("".join(f"- {md.escape_markdown(sentence)}\n" for sentence in said))
    parts.append(md.escape_markdown(result.conclusion) + "\n")
    return "\n".join(parts)


def csv_table(result: Tournament) -> str:
    """Return one CSV line per player, with all digits."""
    elo = {one.player: one for one in result.elo}
    strengths = {one.player: one for one in result.bradley_terry.strengths}
    percents = {one.player: one for one in result.percents}
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        [
            *("rank", "player", "bradley_terry", "bradley_terry_low", "bradley_terry_high"),
            *("elo", "elo_half", "elo_sd", "elo_one_pass", "win_rate"),
            *("percent_reference_first", "percent_player_first", "percent", "percent_half"),
        ]
    )
    others = [name for name in percents if name not in strengths]
    for rank, player in enumerate([*result.players, *others], start=1):
        values: list[Any] = [rank if player in strengths else None, escape_formula(player)]
        strength, rating, percent = strengths.get(player), elo.get(player), percents.get(player)
        values += [strength.rating, strength.low, strength.high] if strength else [None] * 3
        values += [rating.mean, rating.half, rating.deviation] if rating else [None] * 3
        values += [result.one_pass.get(player), result.win_rates.get(player)]
        if percent:
            values += [percent.reference_first, percent.player_first, percent.mean, percent.half]
        else:
            values += [None] * 4
        writer.writerow(values)
    return buffer.getvalue()


def json_text(result: Tournament) -> str:
    """Return everything as JSON. `scores` holds the scores by player for other programs."""
    values = {
        json_files.KEY: json_files.RATINGS,
        "conclusion": result.conclusion,
        "notes": result.notes,
        "options": asdict(result.options),
        "verdicts": result.verdicts,
        "relative": result.relative,
        "unparsed": result.unparsed,
        "questions": result.questions,
        "matches": result.played,
        "scores": scores(result),
        "reference": result.reference,
        "percents": [asdict(one) for one in result.percents],
        "elo": [asdict(one) for one in result.elo],
        "one_pass": result.one_pass,
        "bradley_terry": asdict(result.bradley_terry),
        "win_matrix": {
            player: {
                other: {
                    "wins": one.wins,
                    "ties": one.ties,
                    "losses": one.losses,
                    "unparsed": one.unparsed,
                    "questions": len(one.questions),
                    "net": one.net,
                    "rate": one.rate,
                }
                for other, one in records.items()
            }
            for player, records in result.matrix.items()
        },
        "categories": [asdict(one) for one in result.categories],
        "position": {
            **asdict(result.position),
            "first_of_decided": _share(result.position.decided),
        },
        "swapped": asdict(result.swapped),
        "length": {"known": result.length.known, "longer_wins": _share(result.length.longer)},
        "advantages": {name: asdict(one) for name, one in result.advantages.items()},
    }
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
    # JSON escapes control characters below 32 only, but terminals also interpret these.
    return re.sub("[\x7f-\x9f]", lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


WRITERS: dict[str, Callable[[Tournament], str]] = {
    "markdown": markdown,
    "csv": csv_table,
    "json": json_text,
}


def _share(share: Share | None) -> dict[str, float] | None:
    if share is None:
        return None
    low, high = share.ends
    return {"share": share.share, "low": low, "high": high, "of": share.total}
