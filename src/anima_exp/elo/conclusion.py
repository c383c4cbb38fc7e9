"""The strongest two -> one sentence: can they be told apart?"""

from anima_exp.elo.bradley_terry import BradleyTerry


def conclusion(found: BradleyTerry) -> str:
    """By the bootstrap of their difference, at a level corrected for picking the best of many."""
    if found.lead is None or len(found.strengths) < 2:
        return "There is nobody to compare it with."
    first, second = (one.player for one in found.strengths[:2])
    lead, low, high = found.lead
    interval = f"{100 * found.level:.3g} % interval {low:+.0f} to {high:+.0f}"
    others = len(found.strengths) - 1
    if others > 1:
        interval += f", corrected for {others} comparisons"
    if low > 0:
        return f"{first} is better than {second}: by {lead:.0f} points ({interval})."
    return (
        f"{first} is ahead of {second} by {lead:.0f} points, but cannot be told from it "
        f"({interval})."
    )
