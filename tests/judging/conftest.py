"""No test may find a key of its user's, or speak to another server than its own."""

import pytest
from support.judge_server import KEY


@pytest.fixture(autouse=True)
def own_key(monkeypatch):
    for name in ("OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return KEY
