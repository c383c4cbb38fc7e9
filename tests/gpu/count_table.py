"""Counts as Markdown tables, and what moved against the counts that are kept."""

COLUMNS = {
    "launches": "launches",
    "products": "products",
    "waits": "waits",
    "h2d": "copies H2D",
    "d2h": "copies D2H",
    "d2d": "copies D2D",
    "cpu_ms": "CPU ms",
}
DECODING = {"launches": "launches", "waits": "waits", "h2d": "copies H2D", "d2h": "copies D2H"}
WHOLE = "whole step"


def with_whole(phases):
    """Return the phases of a step and, last, their sum."""
    whole = {name: sum(one[name] for one in phases.values()) for name in COLUMNS}
    return {**phases, WHOLE: whole}


def markdown(counts):
    """Return the tables of `counts`: {"step": {model: {phase: ...}}, "decode": {model: ...}}."""
    lines = _head(["one optimizer step", "phase", *COLUMNS.values()])
    for model, phases in counts.get("step", {}).items():
        for phase, found in phases.items():
            numbers = [f"{found[name]:,.0f}" for name in COLUMNS]
            label = f"**{phase}**" if phase == WHOLE else phase
            lines.append(_row([model, label, *numbers]))
    if decoded := counts.get("decode"):
        lines += ["", *_head(["one decoded token", "batch", *DECODING.values()])]
        for model, ways in decoded.items():
            for way, found in ways.items():
                lines.append(_row([model, way, *(f"{found[name]:,.4g}" for name in DECODING)]))
    return "\n".join(lines)


def _head(names):
    return [_row(names), _row(["---", "---", *["---:"] * (len(names) - 2)])]


def _row(cells):
    return f"| {' | '.join(cells)} |"


def moved(kept, counted):
    """Return a line for each count that differs from the kept one, and whether any went up.

    CPU time is not compared: it differs from run to run. A model that was not counted this time
    is not compared either; a phase or way that is new counts as risen from 0.
    """
    lines, risen = [], False
    for kind in ("step", "decode"):
        for model, parts in counted.get(kind, {}).items():
            if model not in kept.get(kind, {}):
                lines.append(f"{model}, {kind}: not among the kept counts")
                continue
            before = kept[kind][model]
            for part in dict.fromkeys([*before, *parts]):
                for name in COLUMNS if kind == "step" else DECODING:
                    if name == "cpu_ms":
                        continue
                    old, new = (side.get(part, {}).get(name, 0) for side in (before, parts))
                    if old != new:
                        lines.append(
                            f"{model}, {part}, {name}: {old:g} -> {new:g} ({new - old:+g})"
                        )
                        risen = risen or new > old
    return lines, risen
