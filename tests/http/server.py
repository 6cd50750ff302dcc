"""The program http_serve, and raw TLS connections to it."""

import os
import json
import socket
import ssl
import struct
import subprocess
import tempfile

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, ACK = 1, 4, 8, 1


class Server:
    def __init__(self, *limits):
        self.dir = tempfile.TemporaryDirectory()
        program = os.path.join(os.environ["WEFT_BUILD"], "tests", "http_serve")
        # AddressSanitizer keeps what is freed; the memory that is measured here is the server's own.
        options = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
        self.process = subprocess.Popen(
            [program, self.dir.name, *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "ASAN_OPTIONS": options},
        )
        self.port = int(self.process.stdout.readline().split()[1])
        self.contexts = {}

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.process.stdin.close()
        status = self.process.wait(20)
        self.dir.cleanup()
        if status != 0 and failure[0] is None:
            raise SystemExit(f"http_serve ended with status {status}")

    def drain(self):
        self.process.stdin.write("d")
        self.process.stdin.flush()

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def context(self, alpn, certificate=None):
        key = (alpn, certificate)
        if key not in self.contexts:
            c = ssl.create_default_context(cafile=self.path("ca.pem"))
            if alpn:
                c.set_alpn_protocols([alpn])
            if certificate:
                c.load_cert_chain(self.path(certificate))
            self.contexts[key] = c
        return self.contexts[key]

    def tcp(self, timeout=10):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def tls(self, alpn="http/1.1", certificate=None, timeout=10):
        s = self.tcp(timeout)
        return self.context(alpn, certificate).wrap_socket(
            s, server_hostname="localhost", suppress_ragged_eofs=False
        )

    def counters(self):
        s = self.tls()
        s.sendall(b"GET /counters HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        got = read_all(s)
        return json.loads(got.split(b"\r\n\r\n", 1)[1])


def read_all(s):
    """What comes until the peer closes, or nothing comes for the socket's timeout (None at its end)."""
    got = b""
    try:
        while True:
            some = s.recv(65536)
            if not some:
                return got
            got += some
    except socket.timeout:
        return got + b"(silence)"
    except (ssl.SSLError, ConnectionError):
        return got
    finally:
        s.close()


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    n = len(payload) if length is None else length
    return struct.pack(">I", n)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """HPACK, literal without indexing, new name, no Huffman: whatever the bytes are."""
    return b"\x00" + integer(len(name), 7) + name + integer(len(value), 7) + value


def integer(n, bits, first=0):
    most = (1 << bits) - 1
    if n < most:
        return bytes([first | n])
    out = [first | most]
    n -= most
    while n >= 128:
        out.append(128 | n & 127)
        n >>= 7
    return bytes(out + [n])


def block(*fields):
    return b"".join(literal(n, v) for n, v in fields)


def request(method=b"GET", path=b"/echo", *more, scheme=b"https", authority=b"localhost"):
    fields = [(b":method", method), (b":scheme", scheme), (b":path", path), (b":authority", authority)]
    return block(*[f for f in fields if f[1] is not None], *more)


def frames(data):
    while len(data) >= 9:
        n = int.from_bytes(data[:3], "big")
        if len(data) < 9 + n:
            return
        yield data[3], data[4], int.from_bytes(data[5:9], "big") & 0x7FFFFFFF, data[9 : 9 + n]
        data = data[9 + n :]


START = PREFACE + frame(SETTINGS)
