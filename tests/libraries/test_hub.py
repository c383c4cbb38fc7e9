"""One quick question decides whether the hub can be reached, and nothing waits for long."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from anima_exp.config import DataConfig, ModelConfig
from anima_exp.data import source
from anima_exp.errors import DataError, ModelError
from anima_exp.libraries import hub
from anima_exp.planner.find_shape import find_shape
from anima_exp.results import provenance


@pytest.fixture
def endpoint(monkeypatch, tmp_path):
    """endpoint(url): the hub is there, for this process alone, with an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "_reached", False)
    monkeypatch.setattr(hub, "_unreachable_since", None)
    monkeypatch.setattr(hub, "_REACH_SECONDS", 0.5)
    monkeypatch.setattr(hub, "_SECONDS", 0.5)
    for name in ("HF_HUB_ETAG_TIMEOUT", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    def _use(url):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
        template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)

    return _use


@pytest.fixture
def refusing():
    """A port that nothing listens to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def answering():
    """A hub on which nothing exists but org/gated, which asks for consent."""

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self):
            code = {"/": None}.get(self.path, "RepoNotFound")
            if self.path.startswith(("/org/gated", "/datasets/org/gated")):
                code = "GatedRepo"
            self.send_response(200 if code is None else 401)
            if code:
                self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def model(source):
    return ModelConfig(name="m", source=source)


def data(source):
    return DataConfig(name="d", recipe="alpaca", source=source)


def test_a_hub_that_refuses_is_one_line_at_once(endpoint, refusing):
    endpoint(refusing)
    begun = time.monotonic()
    host = refusing.removeprefix("http://")
    with pytest.raises(ModelError) as told:
        hub.file("org/base", "config.json", where="model.source=org/base")
    assert str(told.value) == (
        f"model.source=org/base: no such folder, and the hub cannot be reached ({host}: "
        "Connection refused). Use a folder, or connect to a network."
    )
    with pytest.raises(DataError) as told:
        source.training_source(data("org/set"))
    assert str(told.value) == (
        f"data.source=org/set: no such folder, and the hub cannot be reached ({host}: "
        "Connection refused). Use data=local data.path=FILE, or try again with a network."
    )
    assert time.monotonic() - begun < 2


def test_a_hub_that_never_answers_is_asked_once(endpoint, silent):
    url, accepted = silent
    endpoint(url)
    begun = time.monotonic()
    for _ in range(5):
        with pytest.raises(ModelError, match=r"cannot be reached \(127.0.0.1:\d+: "):
            find_shape(model("org/base"))
        with pytest.raises(ModelError, match="cannot be reached"):
            provenance.base_fingerprint("org/base")
        with pytest.raises(DataError, match="cannot be reached"):
            source.training_source(data("org/set"))
    assert time.monotonic() - begun < 3
    assert len(accepted) == 1


def test_an_id_that_the_hub_does_not_know_is_named(endpoint, answering):
    endpoint(answering)
    with pytest.raises(ModelError, match=r"^model.source=org/bsae: .*no such repository"):
        find_shape(model("org/bsae"))
    with pytest.raises(DataError, match=r"^data.source=org/ste: .*no such repository.* Check the"):
        source.training_source(data("org/ste"))
    with pytest.raises(DataError, match=r"^data.source=org/gated requires your consent"):
        source.training_source(data("org/gated"))


def test_a_set_of_before_is_read_without_a_network(endpoint, refusing, monkeypatch, tmp_path):
    endpoint(refusing)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    (tmp_path / "BelleGroup___train_0.5_m_cn").mkdir()
    hub.check_data_set("BelleGroup/train_0.5M_CN", where="data.source=x", way_out="")
    with pytest.raises(DataError):
        hub.check_data_set("BelleGroup/train_1M_CN", where="data.source=x", way_out="")


def test_the_libraries_are_offline_while_the_hub_is_unreachable(endpoint, refusing):
    from huggingface_hub import constants

    endpoint(refusing)
    with hub.no_retries("org/base"):
        assert constants.HF_HUB_OFFLINE is True
    assert constants.HF_HUB_OFFLINE is False
    with hub.no_retries("/"):  # a folder asks nothing
        assert constants.HF_HUB_OFFLINE is False


def test_a_network_that_comes_back_is_noticed(endpoint, refusing, answering, monkeypatch):
    endpoint(refusing)
    assert hub.unreachable()
    endpoint(answering)
    assert hub.unreachable(), "asked again at once"
    monkeypatch.setattr(hub, "_KEPT_SECONDS", 0.0)
    assert hub.unreachable() is None
