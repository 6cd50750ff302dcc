#!/usr/bin/env python3
"""A webhook sender in Python: ctypes on libweft.so, no compiled glue.

    WEFT_IDENTITY=web-dial.jwt webhook_sender.py web /hooks/push '{"ref":"refs/heads/main"}'

Prints the answer; ends with 0 for a 2xx. WEFT_LIBRARY names libweft.so if it isn't installed; WEFT_SECRET,
if it is set, signs the body as GitHub does (X-Hub-Signature-256).
"""

import ctypes
import hashlib
import hmac
import os
import sys

TIMEOUT_MS = 30000


class Why(ctypes.Structure):
    _fields_ = [("text", ctypes.c_char * 384)]


class WeftError(Exception):
    def __init__(self, code, why):
        super().__init__(why.text.decode())
        self.status = weft.weft_err_exit_status(code)


LIBRARY = os.environ.get("WEFT_LIBRARY", "libweft.so.0")
try:
    weft = ctypes.CDLL(LIBRARY)
except OSError as error:
    sys.exit(f"{error}: install Weft, or set WEFT_LIBRARY to the path of libweft.so")
PTR, OUT = ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)
WHY = ctypes.POINTER(Why)
weft.weft_client_open.argtypes = [ctypes.c_char_p, OUT, WHY]
weft.weft_client_close.argtypes = [PTR]
weft.weft_client_close.restype = None
weft.weft_client_dial.argtypes = [PTR, ctypes.c_char_p, PTR, OUT, WHY]
weft.weft_conn_write.argtypes = [PTR, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, WHY]
weft.weft_conn_read.argtypes = [PTR, PTR, ctypes.c_size_t, ctypes.POINTER(ctypes.c_size_t), ctypes.c_uint, WHY]
weft.weft_conn_end.argtypes = [PTR, WHY]
weft.weft_conn_close.argtypes = [PTR]
weft.weft_conn_close.restype = None


def call(function, *arguments):
    why = Why()
    code = function(*arguments, ctypes.byref(why))
    if code != 0:
        raise WeftError(code, why)


class Connection:
    """One connection to a service, dialed by name."""

    def __init__(self, service, identity=None):
        self.client, self.conn = PTR(), PTR()
        call(weft.weft_client_open, identity, ctypes.byref(self.client))
        try:
            call(weft.weft_client_dial, self.client, service.encode(), None, ctypes.byref(self.conn))
        except WeftError:
            weft.weft_client_close(self.client)
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        weft.weft_conn_close(self.conn)
        weft.weft_client_close(self.client)

    def write(self, data):
        call(weft.weft_conn_write, self.conn, data, len(data), TIMEOUT_MS)

    def end(self):
        call(weft.weft_conn_end, self.conn)

    def read_all(self):
        """Everything up to the other side's own end; a stream cut short raises."""
        parts, buf, got = [], ctypes.create_string_buffer(65536), ctypes.c_size_t()
        while True:
            call(weft.weft_conn_read, self.conn, buf, len(buf), ctypes.byref(got), TIMEOUT_MS)
            if got.value == 0:
                return b"".join(parts)
            parts.append(buf.raw[: got.value])


def post(service, path, body, headers=()):
    lines = [f"POST {path} HTTP/1.1", f"Host: {service}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{key}: {value}" for key, value in headers]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in a header")
    with Connection(service) as connection:
        connection.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        connection.end()
        return connection.read_all()


def main():
    if len(sys.argv) != 4:
        print(f"usage: WEFT_IDENTITY=FILE {sys.argv[0]} SERVICE PATH BODY", file=sys.stderr)
        return 2
    service, path, body = sys.argv[1], sys.argv[2], sys.argv[3].encode()
    headers = [("Content-Type", "application/json")]
    secret = os.environ.get("WEFT_SECRET")
    if secret:
        digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers.append(("X-Hub-Signature-256", "sha256=" + digest))
    try:
        answer = post(service, path, body, headers)
    except WeftError as error:
        print(error, file=sys.stderr)
        return error.status
    sys.stdout.write(answer.decode(errors="replace"))
    return 0 if answer[:7] == b"HTTP/1." and answer[9:10] == b"2" else 1


if __name__ == "__main__":
    sys.exit(main())
