#!/usr/bin/env python3
"""weft dial: stdin and stdout to a service, like nc; each direction ends by itself, and nothing ends by accident."""

import hashlib
import os
import signal
import socket
import subprocess
import threading
import time

from e2e import FAILED, OK, UNREACHABLE, Fabric, Tcp, check, echo, main, saw, step, until

MB = 1 << 20


class Stage(Fabric):
    """One service whose server does what `talk` says at the moment."""

    def __init__(self):
        super().__init__()
        self.talk = echo
        self.server = Tcp(lambda connection: self.talk(connection))
        self.tunneler, self.dialer = self.serve("raw", self.server.port)

    def dial(self, **more):
        return self.weft("dial", "raw", "--identity", self.dialer, **more)

    def popen(self):
        return subprocess.Popen(
            self.words("weft", ["dial", "raw", "--identity", self.dialer]), env=self.env, cwd=self.folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip


class Pattern:
    """Endless bytes that no shift of themselves resembles, made as they are wanted, and their digest."""

    def __init__(self, seed):
        self.block = hashlib.shake_256(seed).digest(MB + 17)
        self.at, self.digest = 0, hashlib.sha256()

    def take(self, size):
        out = (self.block[self.at :] + self.block)[:size]
        self.at = (self.at + size) % len(self.block)
        self.digest.update(out)
        return out


def pump(pattern, total, write):
    left = total
    while left:
        piece = pattern.take(min(left, 65536 + 333))
        write(piece)
        left -= len(piece)


@step("what goes in comes back, and the end of stdin ends it")
def _(f):
    for size in (0, 1, 16313, 16314, 16315, 65536, 3 * MB + 1):
        data = Pattern(b"echo").take(min(size, MB)) * (size // MB + 1)
        done = f.dial(stdin=data[:size], text=False)
        check(done.code == OK and done.out == data[:size] and done.err == "", size, str(done)[:300])
    saw("up to", size, "bytes, byte for byte; the last in", f"{done.seconds:.2f} s")


@step("half-close: the server sees our end and still answers")
def _(f):
    def count(connection):
        total = 0
        while data := connection.recv(65536):
            total += len(data)
        time.sleep(0.3)  # long after our end
        connection.sendall(f"{total} bytes\n".encode())

    f.talk = count
    done = f.dial(stdin=b"x" * (2 * MB))
    check(done.code == OK and done.out == f"{2 * MB} bytes\n", done)
    saw("answer after our end:", done.out.strip())


@step("half-close: the server ends first, and we still send")
def _(f):
    got, ended = bytearray(), threading.Event()

    def greet(connection):
        connection.sendall(b"bye\n")
        connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(65536):
            got.extend(data)
        ended.set()

    f.talk = greet
    client = f.popen()
    check(client.stdout.read() == b"bye\n", "the server's words and its end")
    client.stdin.write(b"late " * 100000)
    client.stdin.close()
    check(client.wait(20) == OK, client.stderr.read())
    check(ended.wait(10) and bytes(got) == b"late " * 100000, "came:", len(got))
    saw(len(got), "bytes sent after the server's end")


@step("100 MB each way at the same time, byte for byte")
def _(f):
    total = 100 * MB
    up, down, received = Pattern(b"up"), Pattern(b"down"), hashlib.sha256()
    counts = {"server": 0}

    def both(connection):
        sender = threading.Thread(
            target=lambda: (pump(down, total, connection.sendall), connection.shutdown(socket.SHUT_WR))
        )
        sender.start()
        while data := connection.recv(MB):
            received.update(data)
            counts["server"] += len(data)
        sender.join()

    f.talk = both
    begun = time.monotonic()
    client = f.popen()
    sender = threading.Thread(target=lambda: (pump(up, total, client.stdin.write), client.stdin.close()))
    sender.start()
    digest, length = hashlib.sha256(), 0
    while data := client.stdout.read1(MB):
        digest.update(data)
        length += len(data)
    sender.join()
    check(client.wait(60) == OK, client.stderr.read())
    seconds = time.monotonic() - begun
    check(length == total and counts["server"] == total, length, counts)
    check(digest.digest() == down.digest.digest(), "what came back is not what was sent")
    check(received.digest() == up.digest.digest(), "what arrived is not what was sent")
    saw(f"2 x {total >> 20} MiB in {seconds:.1f} s ({2 * total * 8 / seconds / 1e9:.2f} Gbit/s)")


@step("the server closes without reading: we end, and say so")
def _(f):
    def leave(connection):
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    f.talk = leave
    client = f.popen()
    client.stdin.write(b"x")
    client.stdin.flush()  # and stdin stays open
    check(client.wait(10) == FAILED, "exit", client.returncode)
    words = client.stderr.read().decode()
    check("reset" in words and len(words.splitlines()) == 1, words)
    client.stdin.close()
    saw(words.strip())


@step("a tunneler killed in the middle is an error, never an end of stream")
def _(f):
    def endless(connection):
        while True:
            connection.sendall(b"x" * 65536)

    f.talk = endless
    client = f.popen()
    check(len(client.stdout.read(MB)) == MB, "bytes first")
    f.tunneler.kill()
    while client.stdout.read1(MB):
        pass
    check(client.wait(40) in (FAILED, UNREACHABLE), "exit", client.returncode)
    words = client.stderr.read().decode()
    check(len(words.splitlines()) == 1, words)
    saw(client.returncode, words.strip())
    f.tunneler = f.host("raw", f.server.port, f.path("raw-host.json"))


@step("our end killed: the server's connection is reset, not ended")
def _(f):
    saw_what, came = [], threading.Event()

    def listen(connection):
        came.set()
        try:
            while connection.recv(65536):
                pass
            saw_what.append("a clean end")
        except ConnectionResetError:
            saw_what.append("a reset")

    f.talk = listen
    client = f.popen()
    client.stdin.write(b"some of it")
    client.stdin.flush()
    check(came.wait(10), "the connection never came")
    time.sleep(0.2)
    client.send_signal(signal.SIGKILL)
    client.wait()
    until("the server to notice", lambda: saw_what, 10)
    check(saw_what == ["a reset"], "the server saw", saw_what)
    saw("the server saw", saw_what[0])


@step("stdout closed by who reads it: we end, with a reason")
def _(f):
    def endless(connection):
        while True:
            connection.sendall(b"x" * 65536)

    f.talk = endless
    client = f.popen()
    client.stdout.read(10)
    client.stdout.close()
    check(client.wait(20) == FAILED, "exit", client.returncode)
    saw(client.stderr.read().decode().strip())


@step("a byte at a time, both ways, without delay")
def _(f):
    f.talk = echo
    client = f.popen()
    client.stdin.write(b"!")
    client.stdin.flush()
    client.stdout.read(1)
    begun = time.monotonic()
    for i in range(200):
        client.stdin.write(bytes([i]))
        client.stdin.flush()
        check(client.stdout.read(1) == bytes([i]), i)
    seconds = time.monotonic() - begun
    client.stdin.close()
    check(client.wait(10) == OK, client.stderr.read())
    check(seconds < 5, f"200 round trips took {seconds:.1f} s")
    saw(f"200 round trips in {seconds * 1000:.0f} ms")


main(Stage)
