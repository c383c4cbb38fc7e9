"""A chat completion server on this machine that misbehaves as its settings say."""

import json
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-test-0123456789abcdef"
RELATIVE = "8 3\nThe first one is better."


class Server:
    """`script(prompt, number)` -> what to do at the number-th request with this prompt (from 1).

    A text is a good reply's content; a tuple (status, headers, body) is sent as it is; "HANG" and
    "CUT" are what they say.
    """

    def __init__(self, script):
        self.script = script
        self.lock = threading.Lock()
        self.asked = Counter()  # by prompt
        self.bodies, self.keys, self.starts = [], [], []
        self.in_flight = self.most_in_flight = 0
        self.over = threading.Event()

    def handle(self, request):
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        with self.lock:
            self.asked[prompt] += 1
            number = self.asked[prompt]
            self.bodies.append(body)
            self.keys.append(request.headers.get("Authorization"))
            self.starts.append(time.monotonic())
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            what = self.script(prompt, number)
        finally:
            with self.lock:
                self.in_flight -= 1
        if what == "HANG":
            self.over.wait(20)
        elif what == "CUT":
            whole = completion("never whole")
            send(request, 200, {}, whole[: len(whole) // 2], length=len(whole))
        elif isinstance(what, tuple):
            send(request, *what)
        else:
            send(request, 200, {}, completion(what))


def completion(text, **choice):
    choices = [{"index": 0, "message": {"role": "assistant", "content": text}, **choice}]
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    return json.dumps({"id": "x", "object": "chat.completion", "choices": choices, "usage": usage})


def refusal(message, code=None):
    return json.dumps({"error": {"message": message, "type": "invalid", "code": code}})


def send(request, status, headers, body, length=None):
    content = body.encode()
    request.send_response(status)
    for name, value in ({"Content-Type": "application/json"} | headers).items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(content) if length is None else length))
    request.end_headers()
    request.wfile.write(content)
    request.close_connection = True


@contextmanager
def serving(script=lambda prompt, number: RELATIVE):
    """The server, and the address it listens at, as `server.url`."""
    server = Server(script)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            server.handle(self)

        def log_message(self, *_):
            pass

    class Listener(ThreadingHTTPServer):
        def handle_error(self, *_):  # the client went away: what some of these tests are about
            pass

    listener = Listener(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{listener.server_port}/v1"
    try:
        yield server
    finally:
        server.over.set()
        listener.shutdown()
        listener.server_close()
        thread.join()
