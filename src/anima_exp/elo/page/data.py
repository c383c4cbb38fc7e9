"""A tournament -> the plain values that the plots are drawn from."""

from typing import Any

from anima_exp.elo.tournament import Tournament
from anima_exp.page.words import shown

MATRIX = 40  # players of whom a heat map can still be read; of more, the strongest


def plotted(found: Tournament) -> dict[str, Any]:
    """Each plot by name: rows with an interval, or fields in rows and columns."""
    elo = {one.player: one for one in found.elo}
    strongest = found.players[:MATRIX]
    return {
        "intervals": {
            "ratings": [
                {
                    "name": shown(one.player),
                    "mean": one.rating,
                    "low": one.low,
                    "high": one.high,
                    "other": elo[one.player].mean,
                    "spread": elo[one.player].deviation,
                }
                for one in found.bradley_terry.strengths
            ],
            "percents": [
                {
                    "name": shown(one.player),
                    "mean": one.mean,
                    "low": one.mean - (one.half or 0.0),
                    "high": one.mean + (one.half or 0.0),
                }
                for one in found.percents
                if one.mean is not None
            ],
        },
        "reference": shown(found.reference),
        "fields": {
            "matrix": {
                "rows": [shown(name) for name in strongest],
                "columns": [shown(name) for name in strongest],
                "values": [
                    [
                        round(record.net, 2)
                        if (record := found.matrix.get(row, {}).get(column))
                        else None
                        for column in strongest
                    ]
                    for row in strongest
                ],
                "kind": "net",
            },
            **_categories(found),
        },
    }


def _net(found: Tournament, row: str, column: str) -> float | None:
    record = found.matrix.get(row, {}).get(column)
    return round(record.net, 2) if record else None


def _categories(found: Tournament) -> dict[str, Any]:
    percent = found.relative == found.verdicts and bool(found.percents)
    names = [one.player for one in found.percents] if percent else found.players
    names = names[:MATRIX]
    values = [one.percents if percent else one.win_rates for one in found.categories]
    share = 1 if percent else 100
    return {
        "categories": {
            "rows": [shown(name) for name in names],
            "columns": [shown(one.name) for one in found.categories],
            "values": [
                [round(share * one[name]) if name in one else None for one in values]
                for name in names
            ],
            "kind": "percent",
        }
    }
