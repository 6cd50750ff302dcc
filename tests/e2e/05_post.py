#!/usr/bin/env python3
"""weft post: one request to a service by name; what counts as delivered, what is sent again, and what never."""

import hashlib
import json
import os
import socket
import subprocess
import threading
import time

from e2e import FAILED, OK, TIMED_OUT, UNREACHABLE, USAGE, Fabric, Tcp, Web, check, free_port, main, saw, step

MB = 1 << 20


class Stage(Fabric):
    def __init__(self):
        super().__init__()
        self.script = []  # (status, headers, body) to answer next; the last one stays
        self.web = Web(self.answer)
        self.tunneler, self.dialer = self.serve("web", self.web.port)

    def answer(self, request, body):
        if len(self.script) > 1:
            return self.script.pop(0)
        return self.script[0] if self.script else (200, {}, b"hello\n")

    def go(self, path="/", *args, script=(), **more):
        """Posts to web; returns what weft said and the requests that came."""
        self.script = list(script)
        self.web.requests.clear()
        done = self.post("web", path, self.dialer, *args, **more)
        return done, list(self.web.requests)

    def raw(self, name, talk):
        """Another service, whose server is a plain function of its connection."""
        server = Tcp(talk)
        _, dialer = self.serve(name, server.port)
        return server, dialer


def read_request(connection):
    """Head and body of one request."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return data, b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += connection.recv(65536)
    return head, body


@step("a request arrives as it was asked for")
def _(f):
    done, came = f.go("/hook?x=1&y=%20", "--data", "hello", "--header", "X-One: a", "--header", "X-Two:b:c", "--header", "X-One: again")
    check(done.code == OK and done.out == "hello\n" and done.err == "HTTP 200\n", done)
    check(len(came) == 1, "requests:", len(came))
    method, path, headers, body = came[0]
    check((method, path, body) == ("POST", "/hook?x=1&y=%20", b"hello"), came[0])
    check(headers["Host"] == "web", "Host is", headers["Host"])
    check(headers.get_all("X-One") == ["a", "again"] and headers["X-Two"] == "b:c", headers)
    check(headers["Content-Type"] == "application/octet-stream" and headers["Content-Length"] == "5", headers)
    check("Idempotency-Key" not in headers, "a key although nothing is retried")
    saw(dict(headers))
    done, came = f.go("/", "--data", '{"a":1}')
    check(came[0][2]["Content-Type"] == "application/json", "the type of JSON")
    done, came = f.go("/", "--data", '{"a":1}', "--header", "content-type: text/x")
    check(came[0][2].get_all("Content-Type") == ["text/x"], "an own type must stand alone")


@step("every method, and HEAD without a body")
def _(f):
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "REPORT"):
        done, came = f.go("/", "--method", method)
        check(done.code == OK and done.out == "hello\n" and came[0][0] == method, method, done)
    done, came = f.go("/", "--method", "HEAD", script=[(200, {}, b"x" * 1000)])
    check(done.code == OK and done.out == "" and came[0][0] == "HEAD", done)
    for method in ("GE T", "", "G\r\nX: y", "\u00e9"):
        done, came = f.go("/", "--method", method)
        check(done.code == USAGE and not came, repr(method), done)


@step("headers that would break the request are refused")
def _(f):
    for header in (
        "Host: evil", "content-length: 3", "Transfer-Encoding: chunked", "Connection: keep-alive", "no colon",
        "X: a\r\nY: b", "X: a\nb", "X\x01: a", " X: a", "X : a", ": a", "Trailer: x",
    ):  # fmt: skip
        done, came = f.go("/", "--header", header)
        check(done.code == USAGE and not came and len(done.err.splitlines()) == 1, repr(header), done)
    for path in ("noslash", "/a b", "/a\r\nX: y", "", "/\x7f"):
        done, came = f.go(path)
        check(done.code == USAGE and not came, repr(path), done)
    saw("12 headers, 5 paths; the last said:", done.error)


@step("any 2xx is success, anything else is not, and the body is shown either way")
def _(f):
    for status in (200, 201, 202, 204, 226):
        done, _ = f.go("/", script=[(status, {}, b"fine")])
        check(done.code == OK and done.err == f"HTTP {status}\n", done)
        check(done.out == ("" if status == 204 else "fine"), done)
    for status in (301, 304, 400, 401, 404, 410, 413, 418, 500, 502, 599):
        done, came = f.go("/", script=[(status, {"Location": "/elsewhere"}, b"no")])
        check(done.code == FAILED and f"HTTP {status}\n" in done.err, done)
        check(done.out == ("" if status == 304 else "no"), done)
        check(len(came) == 1, status, "was tried again or followed:", len(came))
    saw(done.error)


@step("bodies from text, file, stdin, empty, and of 25 MB")
def _(f):
    blob = os.urandom(25 * MB)
    path = f.write("blob", blob)
    for what, args, stdin, sent in (
        ("text", ["--data", "abc"], b"", b"abc"),
        ("empty", [], b"", b""),
        ("file", ["--data", f"@{path}"], b"", blob),
        ("stdin", ["--data", "-"], blob, blob),
        ("@-", ["--data", "@-"], b"\0\1\2\r\n\r\n", b"\0\1\2\r\n\r\n"),
    ):
        done, came = f.go("/", *args, stdin=stdin, script=[(200, {}, b"")])
        check(done.code == OK and came[0][3] == sent, what, done)
        saw(f"{what}: {len(sent)} bytes in {done.seconds:.2f} s")
    done, _ = f.go("/", "--method", "GET", text=False, script=[(200, {}, blob)])
    check(done.code == OK and done.out == blob, "a large answer")
    done, came = f.go("/", "--data", "@/nowhere")
    check(done.code == FAILED and not came, done)
    done, came = f.go("/", "--data", f"@{f.folder}")
    check(done.code == FAILED and not came, done)


@step("with --retry, 503 and 429 are tried again after Retry-After, with one key")
def _(f):
    done, came = f.go("/", "--data", "x", "--retry", "3", script=[(503, {"Retry-After": "1"}, b"wait"), (200, {}, b"now")])
    keys = {headers["Idempotency-Key"] for _, _, headers, _ in came}
    check(done.code == OK and done.out == "now" and done.err == "HTTP 200\n", done)
    check(len(came) == 2 and len(keys) == 1 and None not in keys, came)
    check(1.0 <= done.seconds < 4, f"Retry-After: 1 took {done.seconds:.2f} s")
    saw(f"2 requests in {done.seconds:.2f} s, with the key", keys)
    done, came = f.go("/", "--retry", "2", script=[(429, {}, b"slow"), (429, {}, b"slow"), (201, {}, b"done")])
    check(done.code == OK and len(came) == 3 and done.out == "done", done)
    done, came = f.go("/", "--retry", "2", script=[(503, {}, b"never")])
    check(done.code == FAILED and len(came) == 3 and done.out == "never" and "503" in done.error, done)
    done, came = f.go("/", "--retry", "2", "--header", "Idempotency-Key: mine", script=[(503, {}, b""), (200, {}, b"")])
    check([h["Idempotency-Key"] for _, _, h, _ in came] == ["mine", "mine"], came)
    for status in (500, 502, 504, 404):
        done, came = f.go("/", "--retry", "3", script=[(status, {}, b"")])
        check(done.code == FAILED and len(came) == 1, status, "was sent again")
    done, came = f.go("/", "--retry", "5", "--timeout", "2s", script=[(503, {"Retry-After": "60"}, b"")])
    check(done.code == FAILED and len(came) == 1 and done.seconds < 4, done)
    check("the server answered HTTP 503 (1 try in 2.0 s)" in done.error, done)
    done, came = f.go("/", script=[(503, {}, b"no")])
    check(done.code == FAILED and len(came) == 1, "without --retry")


@step("with --retry, it waits for a host that is yet to come, and for a server that is yet to start")
def _(f):
    host, dial = f.share("later")
    dialer = f.enroll(dial)
    done = f.post("later", "/", dialer)
    check(done.code == UNREACHABLE and "no host is bound" in done.error, done)
    check("is weft-tunneler host later=HOST:PORT running?" in done.error and "tries" not in done.error, done)
    done = f.post("later", "/", dialer, "--retry", "50", "--timeout", "2s")
    check(done.code == UNREACHABLE and "later: no host is bound to the service (" in done.error and " tries in 2.0 s)" in done.error, done)
    saw(done.error)
    port = free_port()
    waiting = f.start("waiting", "weft", "post", "later", "/", "--retry", "50", "--identity", dialer)
    time.sleep(0.7)
    f.host("later", port, host)  # bound, but nothing listens there: refused by the tunneler
    time.sleep(0.7)
    check(waiting.running(), waiting.said())
    web = Web(lambda request, body: (200, {}, b"at last"))
    relay = socket.create_server(("127.0.0.1", port))

    def carry():
        connection, _ = relay.accept()
        with connection, socket.create_connection(("127.0.0.1", web.port)) as server:
            head, body = read_request(connection)
            server.sendall(head + b"\r\n\r\n" + body)
            server.shutdown(socket.SHUT_WR)
            while data := server.recv(65536):
                connection.sendall(data)

    threading.Thread(target=carry, daemon=True).start()
    check(waiting.wait(20) == OK and "at last" in waiting.said(), waiting.said())
    check(len(web.requests) == 1, "it arrived", len(web.requests), "times")


@step("what may have been processed is never sent again")
def _(f):
    def close_at_once(connection):
        read_request(connection)

    def reset(connection):
        connection.recv(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def half_an_answer(connection):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")

    for name, talk in (("closes", close_at_once), ("resets", reset), ("breaks-off", half_an_answer)):
        server, dialer = f.raw(name, talk)
        done = f.post(name, "/", dialer, "--data", "pay", "--retry", "5")
        check(done.code in (FAILED, UNREACHABLE) and len(done.err.strip().splitlines()) in (1, 2), done)
        check(server.accepted == 1, name, "was asked", server.accepted, "times")
        saw(f"{name}: exit {done.code}, {done.error}")
    # the router dies while the answer is awaited
    came = threading.Event()

    def never(connection):
        read_request(connection)
        came.set()
        time.sleep(30)

    server, dialer = f.raw("mute", never)
    waiting = f.start("lost", "weft", "post", "mute", "/", "--data", "pay", "--retry", "5", "--identity", dialer)
    check(came.wait(10), "the request never came")
    f.routers["r1"].kill()
    f.start_router("r1")
    check(waiting.wait(20) in (FAILED, UNREACHABLE), waiting.said())
    check(server.accepted == 1, "asked", server.accepted, "times")
    saw("router killed:", waiting.said().strip())
    f.tunneler.says("is bound on 1 router")


@step("answers that are no HTTP are refused")
def _(f):
    answers = {
        "garbage": b"hello\r\n\r\n",
        "length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nab",
        "folded": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nab",
        "space before the colon": b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        "a NUL": b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "status 99": b"HTTP/1.1 99 No\r\n\r\n",
        "HTTP/2.0": b"HTTP/2.0 200 OK\r\n\r\n",
        "an endless head": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 200000,
        "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 20000,
        "nothing": b"",
    }
    todo = {}

    def talk(connection):
        head, _ = read_request(connection)
        connection.sendall(todo["now"])

    _, dialer = f.raw("odd", talk)
    for what, answer in answers.items():
        todo["now"] = answer
        done = f.post("odd", "/", dialer)
        check(done.code == FAILED and len(done.error) < 400, what, done)
        check("HTTP 200" not in done.err or what in ("a bad chunk",), what, done)
        saw(f"{what}: {done.error}")
    good = {
        "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", "abcde"),
        "to the end": (b"HTTP/1.0 200 OK\r\n\r\nabcde", "abcde"),
        "100 first": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde", "abcde"),
    }
    for what, (answer, body) in good.items():
        todo["now"] = answer
        done = f.post("odd", "/", dialer)
        check(done.code == OK and done.out == body, what, done)


@step("an answer counts before the request is out, and a server may keep its connection")
def _(f):
    def early(connection):
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbig\n")
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.3)

    _, dialer = f.raw("early", early)
    path = f.write("large", b"x" * (20 * MB))
    done = f.post("early", "/", dialer, "--data", f"@{path}")
    check(done.code == FAILED and "HTTP 413" in done.err and done.out == "big\n", done)
    saw(done.error)

    def keep(connection):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        time.sleep(10)

    _, dialer = f.raw("keeps", keep)
    done = f.post("keeps", "/", dialer)
    check(done.code == OK and done.out == "ok" and done.seconds < 3, done, f"{done.seconds:.2f} s")
    saw(f"a kept connection was left after {done.seconds:.2f} s")


@step("--timeout bounds everything, also a server that drips")
def _(f):
    def drip(connection):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            connection.sendall(b"x")
            time.sleep(0.1)

    _, dialer = f.raw("drips", drip)
    done = f.post("drips", "/", dialer, "--timeout", "1s")
    check(done.code == TIMED_OUT and done.seconds < 3, done)
    saw(f"{done.seconds:.2f} s: {done.error}")


@step("the signature is GitHub's, over the raw bytes")
def _(f):
    with open(os.path.join(os.path.dirname(__file__), "signatures.json"), encoding="utf-8") as file:
        vectors = json.load(file)
    for vector in vectors:
        secret = f.write("secret", vector["secret"])
        body = vector["body"].encode()
        for args, env in ((["--webhook-secret-file", secret], {}), ([], {"WEFT_WEBHOOK_SECRET": vector["secret"]})):
            done, came = f.go("/", "--data", "-", *args, stdin=body, env=env)
            check(done.code == OK, done)
            check(came[0][2]["X-Hub-Signature-256"] == "sha256=" + vector["sha256"], vector, came[0][2])
    saw(len(vectors), "vectors of others, by file and by variable")
    done, came = f.go("/", "--data", "x", "--webhook-secret-file", f.write("secret", ""))
    check(done.code == USAGE and not came, "an empty secret signs nothing:", done)
    done, came = f.go("/", "--data", "x", "--webhook-secret-file", f.path("no-secret"))
    check(done.code == FAILED and not came, "a missing secret signs nothing:", done)


@step("a full stdout is an error; many at once are none")
def _(f):
    words = f.words("weft", ["post", "web", "/", "--identity", f.dialer])
    with open("/dev/full", "wb") as full:
        done = subprocess.run(words, env=f.env, stdout=full, stderr=subprocess.PIPE, timeout=30, check=False)
    check(done.returncode == FAILED and len(done.stderr.splitlines()) >= 1, done)
    saw(done.stderr)
    f.web.requests.clear()
    f.script = []
    begun = time.monotonic()
    many = [
        subprocess.Popen([*words, "--data", str(i)], env=f.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for i in range(20)
    ]
    for one in many:
        out, err = one.communicate(timeout=60)
        check(one.returncode == OK and out == b"hello\n", one.returncode, out, err)
    bodies = sorted(int(body) for _, _, _, body in f.web.requests)
    check(bodies == list(range(20)), "what arrived:", bodies)
    saw(f"20 at once in {time.monotonic() - begun:.2f} s, with one identity and one cache")


main(Stage)
