"""A tournament -> scores by player, as runs have theirs, so that both can stand in one table."""

from anima_exp.elo.tournament import Tournament


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
