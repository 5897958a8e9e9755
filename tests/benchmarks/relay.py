"""100,000 events through /transfer with 10,000 rules on, against a plain Node relay without rules.

    uv run --with jieba==0.42.1 tests/benchmarks/relay.py

Upstream, reader and both relays are processes of this machine. Each relay is warmed up, then they take turns; the table
gives the median of five runs. /transfer runs under Daphne, the way the site is deployed.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(HERE)]

from moderation import dictionary, prose, words_not_in

EVENTS = 100_000
RUNS = 5


def events() -> bytes:
    """The handbook, over and over, in pieces of 4 characters, in the native format."""
    text = prose(EVENTS * 4)
    pieces = (text[i : i + 4] for i in range(0, len(text), 4))
    deltas = (f"data: {json.dumps({'delta': piece}, ensure_ascii=False)}\n\n" for piece in pieces)
    return ("".join(deltas) + 'event: done\ndata: {"reason": "stop"}\n\n').encode()


class Upstream(BaseHTTPRequestHandler):
    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for at in range(0, len(self.body), 65536):
            self.wfile.write(self.body[at : at + 65536])

    def log_message(self, *arguments: object) -> None: ...


def serve_upstream() -> str:
    Upstream.body = events()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


def read_all(port: int, path: str) -> tuple[float, int]:
    """Seconds and bytes of one whole stream."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", path)
    response, size = connection.getresponse(), 0
    while piece := response.read1(1 << 20):
        size += len(piece)
    return time.perf_counter() - began, size


def start_site(folder: str, upstream: str, rules: int) -> tuple[subprocess.Popen[bytes], int]:
    env = {**os.environ, "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3", "SECRET_KEY": "x", "UPSTREAM_URL": upstream}
    fill = (
        "import django, json, sys; django.setup();"
        "from streaming.models import ModerationRule as R;"
        "R.objects.bulk_create(R(pattern=word) for word in json.load(sys.stdin))"
    )
    words = [rule.pattern for rule in words_not_in(prose(30_000), rules)] if rules else []
    manage = [sys.executable, str(ROOT / "manage.py")]
    subprocess.run([*manage, "migrate", "-v0"], env=env, check=True)
    env["DJANGO_SETTINGS_MODULE"] = "ssesite.settings"
    subprocess.run([sys.executable, "-c", fill], env=env, cwd=ROOT, input=json.dumps(words).encode(), check=True)
    command = [sys.executable, "-m", "daphne", "-p", "0", "ssesite.asgi:application"]
    site = subprocess.Popen(command, env=env, cwd=ROOT, stderr=subprocess.PIPE)
    assert site.stderr
    for line in site.stderr:
        if b"Listening on TCP address" in line:
            port = int(line.rsplit(b":", 1)[1])
            break
    threading.Thread(target=site.stderr.read, daemon=True).start()
    return site, port


def main() -> None:
    dictionary()  # says at once what is missing
    upstream = serve_upstream()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as bare:
        command = ["node", str(HERE / "relay.mjs"), upstream]
        node = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert node.stdout
        node_port = int(node.stdout.readline())
        site, site_port = start_site(folder, upstream, 10_000)
        plain, plain_port = start_site(bare, upstream, 0)
        relays = {
            "plain Node, no rules": (node_port, "/"),
            "/transfer, 10,000 rules": (site_port, "/transfer"),
            "/transfer, no rules": (plain_port, "/transfer"),
            "/proxy (byte for byte)": (plain_port, "/proxy"),
        }
        try:
            for port, path in relays.values():
                read_all(port, path)
            seconds: dict[str, list[float]] = {name: [] for name in relays}
            for _ in range(RUNS):
                for name, (port, path) in relays.items():
                    spent, size = read_all(port, path)
                    assert size > EVENTS * 20, f"{name} gave only {size} bytes"
                    seconds[name].append(spent)
        finally:
            os.killpg(node.pid, signal.SIGTERM)  # "node" may be a script that has started it
            for process in (site, plain):
                process.terminate()
            for process in (node, site, plain):
                process.wait()
    print(f"{EVENTS:,} events of 4 characters\n\n| relay | s, median | least | most |\n| --- | --: | --: | --: |")
    for name, all_of in seconds.items():
        print(f"| {name} | {statistics.median(all_of):.2f} | {min(all_of):.2f} | {max(all_of):.2f} |")


if __name__ == "__main__":
    main()
