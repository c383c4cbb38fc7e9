import torch

from anima_exp.training.meter import Meter


def add(meter, loss, tokens=4):
    meter.add(torch.tensor(loss), {"attention_mask": torch.ones(1, tokens)})


def test_the_loss_of_a_step_is_the_sum_of_its_micro_batches():
    meter = Meter()
    add(meter, 0.25)
    add(meter, 0.5)
    assert meter.step() == 0.75
    assert meter.drain()["loss"] == 0.75


def test_a_window_that_spans_a_checkpoint_is_whole(tmp_path):
    meter = Meter()
    for loss in (0.1, 0.2, 0.3):
        add(meter, loss)
        meter.step()
        if loss == 0.2:
            meter.save(tmp_path)
    resumed = Meter.load(tmp_path)
    add(resumed, 0.3)
    resumed.step()
    assert resumed.drain()["loss"] == meter.drain()["loss"]
    assert resumed.total_tokens == 12


def test_time_that_is_not_training_is_left_out(monkeypatch):
    now = iter([10.0, 12.0, 100.0, 101.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    meter = Meter()
    meter.start_clock()  # 10
    add(meter, 0.5)
    meter.step()  # 12; then an evaluation
    meter.start_clock()  # 100
    add(meter, 0.5)
    meter.step()  # 101
    assert meter.train_seconds == 3.0
    assert meter.drain()["tokens_per_second"] == 8 / 3
