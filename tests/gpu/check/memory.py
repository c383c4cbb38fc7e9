"""Runs that may use less of the GPU than they need: they count it, and learn the same."""

from pathlib import Path

from check.rows import Row, Rows
from check.runs import TINY, Done, train

# One pass over a large batch, of which nothing is recomputed: most of the memory is activations.
SETTINGS = (
    *TINY, "data.max_rows=1024", "trainer.precision=bf16", "trainer.batch_size=512",
    "trainer.max_tokens_per_micro_batch=100000", "quant.cache_dequantized=false",
    "trainer.activation_checkpointing=none",
    "trainer.max_steps=3", "evals=[]", "trainer.eval_at_start=false",
)  # fmt: skip
SHARES = (0.8, 0.5)


def measure(rows: Rows, work: Path) -> None:
    whole = train(work / "runs" / "enough", SETTINGS, caching=True)
    rows.attempt("run", {"run": "enough memory", "compared_with": ""}, _found, whole)
    for share in SHARES:
        case = {"run": f"{share:.0%} of that memory", "compared_with": "enough memory"}
        rows.attempt("run", case, _short, whole, share, work)


def _short(whole: Done, share: float, work: Path) -> Row:
    # Of what tensors took. Some of what the allocator reserved was unused and need not be there.
    cap = share * whole.inside["allocated_gib"]
    folder = work / "runs" / f"short_{share}"
    done = train(folder, SETTINGS, inside=["--cap-gib", f"{cap:.4f}"], caching=True)
    return {"cap_gib": round(cap, 3), **_found(done)}


def _found(done: Done) -> Row:
    if done.status:
        raise RuntimeError(f"status {done.status}: {done.said}")
    execution = done.record["execution"]
    return {
        "losses": [round(loss, 5) for loss in done.losses],
        "out_of_memory": execution["out_of_memory"],
        "token_budget": execution["token_budget"],
        "allocated_gib": round(done.inside["allocated_gib"], 3),
        "reserved_gib": round(done.inside["reserved_gib"], 3),
        "seconds": round(done.seconds, 1),
    }
