#!/usr/bin/env python3
"""A webhook receiver that knows nothing of Weft: plain HTTP on one address.

    receiver.py HOST:PORT SECRET-FILE

Prints each event and verifies X-Hub-Signature-256 over the raw body (fail
closed: no signature, a wrong one or an empty body is 401). GET /health is 200.
"""
import hashlib
import hmac
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY_MAX = 32 * 1024 * 1024


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    secret = b""

    def answer(self, status, text):
        body = (text + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200 if self.path == "/health" else 404, "ok" if self.path == "/health" else "nothing here")

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > BODY_MAX:
            self.close_connection = True
            self.answer(413, "too large, or no length")
            return
        body = self.rfile.read(int(length))
        right = "sha256=" + hmac.new(self.secret, body, hashlib.sha256).hexdigest()
        given = self.headers.get("X-Hub-Signature-256", "")
        if not hmac.compare_digest(right, given):
            print(f"REFUSED {self.path}: signature missing or wrong", flush=True)
            self.answer(401, "signature missing or wrong")
            return
        try:
            event = json.loads(body)
        except ValueError:
            event = {}
        repository = event.get("repository", {}).get("full_name", "?") if isinstance(event, dict) else "?"
        print(
            f"EVENT {self.headers.get('X-GitHub-Event', '?')} of {repository}: "
            f"{len(body)} bytes on {self.path}, signature verified",
            flush=True,
        )
        self.answer(200, "received")

    def log_message(self, *_):
        pass


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    host, _, port = sys.argv[1].rpartition(":")
    with open(sys.argv[2], "rb") as f:
        Receiver.secret = f.read().strip()
    server = ThreadingHTTPServer((host, int(port)), Receiver)
    print(f"LISTENING {server.server_address[0]}:{server.server_address[1]}", flush=True)
    server.serve_forever()


main()
