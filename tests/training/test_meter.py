from anima_exp.training.meter import Meter


def test_a_log_line_has_the_mean_loss_of_its_steps():
    meter = Meter()
    meter.step(0.25, tokens=4)
    meter.step(0.5, tokens=4)
    assert meter.drain()["loss"] == 0.375


def test_a_window_that_spans_a_checkpoint_is_whole(tmp_path):
    meter = Meter()
    for loss in (0.1, 0.2, 0.3):
        meter.step(loss, tokens=4)
        if loss == 0.2:
            meter.save(tmp_path)
    resumed = Meter.load(tmp_path)
    resumed.step(0.3, tokens=4)
    assert resumed.drain()["loss"] == meter.drain()["loss"]
    assert resumed.total_tokens == 12


def test_time_that_is_not_training_is_left_out(monkeypatch):
    now = iter([10.0, 12.0, 100.0, 101.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    meter = Meter()
    meter.start_clock()  # 10
    meter.step(0.5, tokens=4)  # 12; then an evaluation
    meter.start_clock()  # 100
    meter.step(0.5, tokens=4)  # 101
    assert meter.train_seconds == 3.0
    assert meter.drain()["tokens_per_second"] == 8 / 3
