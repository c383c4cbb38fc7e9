"""The verdict of the GPU check on made-up rows, right and wrong."""

import math

import pytest

from check import report
from check.expected import EXPECTED
from check.parts import PARTS
from check.verdict import State, judge


def ended(part, *rows):
    """The rows of a part that came to its end."""
    frame = {"part": part, "row": "part"}
    return [
        {**frame, "state": "begun"},
        *({"part": part, **row} for row in rows),
        {**frame, "state": "ended", "seconds": 1.0},
    ]


def texts(judged, state):
    return [one.text for one in judged if one.state is state and "was not run" not in one.text]


def loss(dtype, d_hidden):
    return {"row": "loss", "labels": 7, "type": f"torch.{dtype}", "loss_apart": 0.0,
            "d_hidden": d_hidden}  # fmt: skip


def test_a_value_in_its_range_is_right_and_its_extremes_are_said():
    judged = judge(ended("kernels", loss("bfloat16", 0.002), loss("bfloat16", 0.004)))
    assert (
        "kernels, loss: d hidden (bfloat16 or float16) is 0.002 to 0.004, at most 0.01."
        in texts(judged, State.right)
    )
    assert texts(judged, State.wrong) == []


def test_a_value_out_of_its_range_is_wrong_and_the_row_and_the_reason_are_said():
    judged = judge(ended("kernels", loss("bfloat16", 0.002), loss("bfloat16", 0.5)))
    (said,) = texts(judged, State.wrong)
    assert said.startswith(
        "kernels, loss, labels 7, bfloat16: d hidden is 0.5, expected at most 0.01. bf16 rounds"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_wrong(value):
    assert texts(judge(ended("kernels", loss("float32", value))), State.wrong)


def test_a_limit_holds_for_its_own_rows_alone():
    judged = judge(ended("kernels", loss("float32", 0.002)))
    assert "at most 5e-05" in texts(judged, State.wrong)[0]  # fine in bf16


def test_a_row_with_an_error_is_wrong_and_what_it_lacks_is_not_measured():
    failed = {
        "row": "loss",
        "labels": 7,
        "type": "torch.float32",
        "error": "RuntimeError: no\nmore",
    }
    judged = judge(ended("kernels", failed))
    assert texts(judged, State.wrong) == [
        "kernels, loss, labels 7, float32 failed: RuntimeError: no"
    ]
    assert "kernels, loss: loss apart: no row has it." in texts(judged, State.missing)


def test_what_may_fail_is_not_wrong():
    row = {"row": "answer", "attention": "cuDNN first", "error": "RuntimeError", "may_fail": True}
    assert texts(judge(ended("use", row)), State.wrong) == []


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ({"state": "failed", "status": -6, "error": "a\nAborted", "seconds": 1}, State.wrong),
        ({"state": "at its limit", "seconds": 60}, State.wrong),
        ({"state": "out of time", "seconds": 20}, State.missing),
        ({"state": "left out", "why": "3 of 590 s were left"}, State.missing),
        ({"state": "begun"}, State.missing),
    ],
)
def test_a_part_without_an_end_is_named(end, state):
    judged = judge([{"part": "tiny", "row": "part", **end}])
    assert any(text.startswith("tiny: ") for text in texts(judged, state))


def run(name, losses, **more):
    return {"row": "run", "run": name, "compared_with": "CPU fp32", "losses": losses, **more}


def test_curves_are_compared_with_the_one_that_a_run_names():
    right = judge(ended("tiny", run("CPU fp32", [2.0, 1.0]), run("GPU bf16", [2.001, 1.02])))
    assert texts(right, State.wrong) == []
    wrong = judge(ended("tiny", run("CPU fp32", [2.0, 1.0]), run("GPU bf16", [2.001, 1.2])))
    assert any("GPU bf16: loss apart is 0.067, expected at most 0.02" in one
               for one in texts(wrong, State.wrong))  # fmt: skip


def test_a_curve_of_another_length_is_wrong():
    judged = judge(ended("tiny", run("CPU fp32", [2.0, 1.0]), run("GPU bf16", [2.0])))
    assert any("loss apart is inf" in one for one in texts(judged, State.wrong))


def test_states_that_are_not_paged_after_a_kill_are_wrong():
    def pages(after):
        whole = run("GPU bf16, rank 512, paged", [2.0], paged_bytes=100)
        killed = run("killed and resumed", [2.0], paged_bytes=after, starts=2)
        killed["compared_with"] = "GPU bf16, rank 512, paged"
        return [one for one in texts(judge(ended("tiny", whole, killed)), State.wrong)
                if "paged share" in one]  # fmt: skip

    assert pages(100) == []
    assert len(pages(0)) == 1


def training(**more):
    return {"row": "training", "shape": "7b", "rows": "16 x 512", "settings": "",
            "out_of_memory": 0, "tokens_a_second": 19_000, "allocated_gib": 50.0,
            "predicted_gib": 51.0, "share_of_peak": 0.53, "busy_share": 0.97, **more}  # fmt: skip


def test_speed_is_beside_the_best_of_trl():
    trl = [{"row": "trl", "shape": "7b", "rows": "16 x 512", "tokens_a_second": speed}
           for speed in (5_000, 9_500)]  # fmt: skip
    judged = judge(ended("speed", training()) + ended("trl", *trl))
    assert "speed, training: times trl (default) is 2, at least 1." in texts(judged, State.right)


def test_a_slow_gpu_is_said_but_not_wrong_and_a_wrong_plan_is():
    judged = judge(ended("speed", training(share_of_peak=0.1, predicted_gib=30.0)))
    assert any("share of peak is 0.1" in one for one in texts(judged, State.slow))
    (said,) = texts(judged, State.wrong)
    assert "peak of predicted is 1.667, expected at least 0.9 and at most 1.1" in said


def test_a_rehearsal_judges_no_number_but_misses_a_row():
    rows = ended("kernels", loss("bfloat16", 9.0))
    judged = judge(rows, rehearsal=True)
    assert "kernels, loss: d hidden (bfloat16 or float16)" in texts(judged, State.hollow)
    assert any(text.startswith("kernels, mask: as cpu") for text in texts(judged, State.wrong))
    assert not texts(judged, State.right)


def test_every_expectation_says_why_and_names_a_part():
    parts = {part.name for part in PARTS}
    assert len(EXPECTED) > 30
    for one in EXPECTED:
        assert one.part in parts and one.why.endswith(".") and one.range


def test_the_report_begins_with_the_verdict_and_has_a_table_for_each_kind_of_row():
    text, wrong = report.written(ended("kernels", loss("bfloat16", 0.5), loss("float32", 1e-7)))
    assert wrong
    assert text.startswith("# GPU check\n\n**1 thing is wrong.**\n\nWrong (1):\n\n- kernels, loss")
    assert "| labels | type | loss apart | d hidden |\n| ---: | --- | ---: | ---: |\n" in text
    assert "| 7 | bfloat16 | 0 | 0.5 |\n| 7 | float32 | 0 | 1e-07 |" in text


def test_notes_stand_in_the_report():
    note = {"row": "trl", "note": "TRL is not installed."}
    text, wrong = report.written(ended("trl", note))
    assert "### trl\n\nTRL is not installed.\n" in text and not wrong
