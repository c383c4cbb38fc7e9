"""A tournament -> text for other programs: Markdown, CSV, JSON."""

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

# A tournament -> scores by player, as runs have theirs, so that both can stand in one table.


def scores(found: Tournament) -> dict[str, dict[str, float]]:
    """elo, bradley_terry, win_rate (a share) and percent_of_reference, where there is one."""
    by_player: dict[str, dict[str, float]] = {player: {} for player in found.players}
    for rating in found.elo:
        by_player[rating.player]["elo"] = rating.mean
    for strength in found.bradley_terry.strengths:
        by_player[strength.player]["bradley_terry"] = strength.rating
    for player, rate in found.win_rates.items():
        by_player[player]["win_rate"] = rate
    for percent in found.percents:
        if percent.mean is not None:
            # A relative verdict of a player that met the reference only there.
            by_player.setdefault(percent.player, {})["percent_of_reference"] = percent.mean
    return by_player


def markdown(found: Tournament) -> str:
    parts = [md.escape_markdown(report.summary(found)) + ".\n"]
    for one in report.tables(found):
        parts.append(f"### {md.escape_markdown(one.title)}\n\n{md.markdown_table(one.columns)}")
        if one.note:
            parts.append(md.escape_markdown(one.note) + "\n")
    said = [*report.biases(found), *found.notes]
    parts.append("".join(f"- {md.escape_markdown(sentence)}\n" for sentence in said))
    parts.append(md.escape_markdown(found.conclusion) + "\n")
    return "\n".join(parts)


def csv_table(found: Tournament) -> str:
    """A line for each player, in full digits."""
    elo = {one.player: one for one in found.elo}
    strengths = {one.player: one for one in found.bradley_terry.strengths}
    percents = {one.player: one for one in found.percents}
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
    for rank, player in enumerate([*found.players, *others], start=1):
        values: list[Any] = [rank if player in strengths else None, escape_formula(player)]
        strength, rating, percent = strengths.get(player), elo.get(player), percents.get(player)
        values += [strength.rating, strength.low, strength.high] if strength else [None] * 3
        values += [rating.mean, rating.half, rating.deviation] if rating else [None] * 3
        values += [found.one_pass.get(player), found.win_rates.get(player)]
        if percent:
            values += [percent.reference_first, percent.player_first, percent.mean, percent.half]
        else:
            values += [None] * 4
        writer.writerow(values)
    return buffer.getvalue()


def json_text(found: Tournament) -> str:
    """Everything there is; `scores` holds by player what other programs want."""
    told = {
        json_files.KEY: json_files.RATINGS,
        "conclusion": found.conclusion,
        "notes": found.notes,
        "options": asdict(found.options),
        "verdicts": found.verdicts,
        "relative": found.relative,
        "unparsed": found.unparsed,
        "questions": found.questions,
        "matches": found.played,
        "scores": scores(found),
        "reference": found.reference,
        "percents": [asdict(one) for one in found.percents],
        "elo": [asdict(one) for one in found.elo],
        "one_pass": found.one_pass,
        "bradley_terry": asdict(found.bradley_terry),
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
            for player, records in found.matrix.items()
        },
        "categories": [asdict(one) for one in found.categories],
        "position": {**asdict(found.position), "first_of_decided": _share(found.position.decided)},
        "swapped": asdict(found.swapped),
        "length": {"known": found.length.known, "longer_wins": _share(found.length.longer)},
        "advantages": {name: asdict(one) for name, one in found.advantages.items()},
    }
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False)
    # JSON escapes the control characters below 32; a terminal obeys these as well.
    return re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


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
