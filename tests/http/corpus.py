#!/usr/bin/env python3
"""Raw requests over TLS: what is in doubt is refused, the rest is answered; each whole and byte by byte."""

import concurrent.futures
import os
import socket
import ssl
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import *  # noqa: E402,F403

HOST = b"Host: localhost\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


def post(*fields, body=b"", line=b"POST /echo HTTP/1.1"):
    return b"\r\n".join([line, b"Host: localhost", *fields]) + b"\r\n\r\n" + body


def get(*fields, line=b"GET /echo HTTP/1.1", host=b"Host: localhost"):
    return b"\r\n".join([line, *([host] if host is not None else []), *fields]) + b"\r\n\r\n"


BAD1 = {
    # two lengths
    "CL and TE": (400, post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
    "TE and CL": (400, post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n")),
    "CL 0 and TE": (400, post(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
    "two CL equal": (400, post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello")),
    "two CL unequal": (400, post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!")),
    "CL list": (400, post(b"Content-Length: 5, 5", body=b"hello")),
    "CL plus": (400, post(b"Content-Length: +5", body=b"hello")),
    "CL minus": (400, post(b"Content-Length: -5", body=b"hello")),
    "CL minus zero": (400, post(b"Content-Length: -0")),
    "CL inner space": (400, post(b"Content-Length: 5 5", body=b"hello")),
    "CL hex": (400, post(b"Content-Length: 0x5", body=b"hello")),
    "CL fraction": (400, post(b"Content-Length: 5.0", body=b"hello")),
    "CL exponent": (400, post(b"Content-Length: 5e0", body=b"hello")),
    "CL empty": (400, post(b"Content-Length:")),
    "CL word": (400, post(b"Content-Length: five", body=b"hello")),
    "CL quoted": (400, post(b'Content-Length: "5"', body=b"hello")),
    "CL overflow 64": (400, post(b"Content-Length: 18446744073709551621", body=b"hello")),
    "CL many digits": (400, post(b"Content-Length: " + b"9" * 200)),
    "CL underscore": (400, post(b"Content-Length: 1_0", body=b"hellohello")),
    "CL over the limit": (413, post(b"Content-Length: 1048577")),
    "CL far over the limit": (413, post(b"Content-Length: 999999999999999999")),
    # transfer codings
    "TE gzip": (501, post(b"Transfer-Encoding: gzip")),
    "TE identity": (501, post(b"Transfer-Encoding: identity")),
    "TE gzip, chunked": (501, post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n")),
    "TE chunked, gzip": (501, post(b"Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n")),
    "TE chunked twice in one": (501, post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n")),
    "TE xchunked": (501, post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n")),
    "TE quoted": (501, post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n")),
    "TE comma": (501, post(b"Transfer-Encoding: chunked,", body=b"0\r\n\r\n")),
    "TE parameter": (501, post(b"Transfer-Encoding: chunked;q=1", body=b"0\r\n\r\n")),
    "TE empty": (501, post(b"Transfer-Encoding:")),
    "TE twice": (400, post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
    "TE twice, one other": (400, post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: x", body=b"0\r\n\r\n")),
    "TE space before colon": (400, post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n")),
    "TE vertical tab": (400, post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n")),
    "TE folded": (400, post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n")),
    "TE in 1.0": (400, post(b"Transfer-Encoding: chunked", line=b"POST /echo HTTP/1.0", body=b"0\r\n\r\n")),
    # lines
    "bare LF everywhere": (400, b"GET /echo HTTP/1.1\nHost: localhost\n\n"),
    "bare LF behind the request line": (400, b"GET /echo HTTP/1.1\nHost: localhost\r\n\r\n"),
    "bare LF behind a field": (400, get(b"X: y\nZ: w")),
    "bare LF at the end": (400, b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\n"),
    "bare CR in a value": (400, get(b"X: y\rZ: w")),
    "bare CR at the end": (400, b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\r\n"),
    "CR CR LF": (400, get(b"X: y\r")),
    "obs-fold with a space": (400, get(b"X: y\r\n z")),
    "obs-fold with a tab": (400, get(b"X: y\r\n\tz")),
    "fold before the first field": (400, b"GET /echo HTTP/1.1\r\n Host: localhost\r\n\r\n"),
    "empty line first": (400, b"\r\n" + get()),
    "NUL in a value": (400, get(b"X: a\0b")),
    "NUL in a name": (400, get(b"X\0Y: a")),
    "NUL in the target": (400, get(line=b"GET /e\0cho HTTP/1.1")),
    "NUL first": (400, b"\0" + get()),
    "control byte in a value": (400, get(b"X: a\x01b")),
    "escape in a value": (400, get(b"X: a\x1bb")),
    "DEL in a value": (400, get(b"X: a\x7fb")),
    "space before colon": (400, get(b"X : y")),
    "tab before colon": (400, get(b"X\t: y")),
    "space in a name": (400, get(b"X Y: z")),
    "no colon": (400, get(b"XYZ")),
    "empty name": (400, get(b": y")),
    "name with a slash": (400, get(b"X/Y: z")),
    "name with a bracket": (400, get(b"X[0]: z")),
    "name beyond ASCII": (400, get("Ä: z".encode())),
    # request line
    "HTTP/0.9": (400, b"GET /echo\r\n\r\n"),
    "HTTP/1.2": (505, get(line=b"GET /echo HTTP/1.2")),
    "HTTP/2.0 text": (505, get(line=b"GET /echo HTTP/2.0")),
    "HTTP/3.0 text": (505, get(line=b"GET /echo HTTP/3.0")),
    "HTTP/2 preface": (505, PREFACE),
    "HTTP/1": (400, get(line=b"GET /echo HTTP/1")),
    "HTTP/1.10": (400, get(line=b"GET /echo HTTP/1.10")),
    "HTTP/01.1": (400, get(line=b"GET /echo HTTP/01.1")),
    "http/1.1": (400, get(line=b"GET /echo http/1.1")),
    "HTTPS/1.1": (400, get(line=b"GET /echo HTTPS/1.1")),
    "space behind the version": (400, get(line=b"GET /echo HTTP/1.1 ")),
    "two spaces": (400, get(line=b"GET  /echo HTTP/1.1")),
    "tab for a space": (400, get(line=b"GET\t/echo\tHTTP/1.1")),
    "space first": (400, get(line=b" GET /echo HTTP/1.1")),
    "space in the target": (400, get(line=b"GET /e cho HTTP/1.1")),
    "method no token": (400, get(line=b"G(T /echo HTTP/1.1")),
    "method empty": (400, get(line=b" /echo HTTP/1.1")),
    "method too long": (400, get(line=b"G" * 33 + b" /echo HTTP/1.1")),
    "target without slash": (400, get(line=b"GET echo HTTP/1.1")),
    "target with fragment": (400, get(line=b"GET /echo#x HTTP/1.1")),
    "target with backslash": (400, get(line=b"GET /\\echo HTTP/1.1")),
    "target with quotes": (400, get(line=b'GET /"echo" HTTP/1.1')),
    "target beyond ASCII": (400, get(line="GET /ächo HTTP/1.1".encode())),
    "broken escape": (400, get(line=b"GET /%zz HTTP/1.1")),
    "half an escape": (400, get(line=b"GET /%4 HTTP/1.1")),
    "escaped NUL": (400, get(line=b"GET /%00 HTTP/1.1")),
    "CONNECT": (400, get(line=b"CONNECT localhost:443 HTTP/1.1")),
    "OPTIONS *": (501, get(line=b"OPTIONS * HTTP/1.1")),
    "target too long": (414, get(line=b"GET /" + b"a" * 8192 + b" HTTP/1.1")),
    "target far too long": (414, get(line=b"GET /" + b"a" * 40000 + b" HTTP/1.1")),
    "absolute form, another host": (400, get(line=b"GET https://other/echo HTTP/1.1")),
    "absolute form, another port": (400, get(line=b"GET https://localhost:1/echo HTTP/1.1")),
    "absolute form, user": (400, get(line=b"GET https://u@localhost/echo HTTP/1.1")),
    "absolute form, http": (400, get(line=b"GET http://localhost/echo HTTP/1.1")),
    "absolute form, ftp": (400, get(line=b"GET ftp://localhost/echo HTTP/1.1")),
    # Host
    "no Host": (400, get(host=None)),
    "empty Host": (400, get(host=b"Host:")),
    "two Hosts": (400, get(b"Host: localhost")),
    "two Hosts unequal": (400, get(b"Host: other")),
    "Host with a path": (400, get(host=b"Host: localhost/x")),
    "Host with a user": (400, get(host=b"Host: u@localhost")),
    "Host list": (400, get(host=b"Host: localhost, other")),
    "Host with a space": (400, get(host=b"Host: local host")),
    "Host with a bad port": (400, get(host=b"Host: localhost:80a")),
    "Host with two ports": (400, get(host=b"Host: localhost:1:2")),
    "Host with an open bracket": (400, get(host=b"Host: [::1")),
    "Host and a spaced one": (400, get(b"Host : other")),
    # chunks
    "chunk size empty": (400, CHUNKED + b"\r\n"),
    "chunk size minus": (400, CHUNKED + b"-1\r\nx\r\n0\r\n\r\n"),
    "chunk size plus": (400, CHUNKED + b"+2\r\nhe\r\n0\r\n\r\n"),
    "chunk size 0x": (400, CHUNKED + b"0x2\r\nhe\r\n0\r\n\r\n"),
    "chunk size not hex": (400, CHUNKED + b"g\r\nhe\r\n0\r\n\r\n"),
    "chunk size space before": (400, CHUNKED + b" 2\r\nhe\r\n0\r\n\r\n"),
    "chunk size space behind": (400, CHUNKED + b"2 \r\nhe\r\n0\r\n\r\n"),
    "chunk size tab": (400, CHUNKED + b"2\t\r\nhe\r\n0\r\n\r\n"),
    "chunk size overflow": (400, CHUNKED + b"10000000000000002\r\nhe\r\n0\r\n\r\n"),
    "chunk over the limit": (413, CHUNKED + b"100001\r\n"),
    "chunks over the limit": (413, CHUNKED + b"100000\r\n" + b"x" * 1048576 + b"\r\n1\r\n"),
    "chunk bare LF": (400, CHUNKED + b"2\nhe\r\n0\r\n\r\n"),
    "chunk bare CR": (400, CHUNKED + b"2\rhe\r\n0\r\n\r\n"),
    "chunk data too long": (400, CHUNKED + b"2\r\nhel\r\n0\r\n\r\n"),
    "chunk data too short": (400, CHUNKED + b"5\r\nhel\r\n0\r\n\r\n"),
    "chunk data bare LF": (400, CHUNKED + b"2\r\nhe\n0\r\n\r\n"),
    "chunk extension too long": (400, CHUNKED + b"2;" + b"x" * 300 + b"\r\nhe\r\n0\r\n\r\n"),
    "chunk extension bare LF": (400, CHUNKED + b"2;x\nhe\r\n0\r\n\r\n"),
    "chunk extension NUL": (400, CHUNKED + b"2;x\0\r\nhe\r\n0\r\n\r\n"),
    "chunk extension CR": (400, CHUNKED + b"2;x\ry\r\nhe\r\n0\r\n\r\n"),
    "trailer": (400, CHUNKED + b"0\r\nX: y\r\n\r\n"),
    "trailer that smuggles": (400, CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n"),
    "trailer announced": (400, post(b"Trailer: X", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
    "last chunk bare LF": (400, CHUNKED + b"0\r\n\n"),
    # sizes
    "a head too large": (431, get(b"X: " + b"y" * 33000)),
    "a head of many fields": (431, get(*[b"X: y"] * 101)),
    "fields without end": (431, get(*[b"X: " + b"y" * 1000] * 40)),
    "Expect of another kind": (417, post(b"Expect: 200-ok", b"Content-Length: 1", body=b"x")),
}

GOOD1 = {
    "plain": (1, get()),
    "no field but Host": (1, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "HEAD": (1, get(line=b"HEAD /echo HTTP/1.1")),
    "DELETE": (1, get(line=b"DELETE /echo HTTP/1.1")),
    "1.0": (1, get(line=b"GET /echo HTTP/1.0")),
    "1.0 without Host": (1, get(line=b"GET /echo HTTP/1.0", host=None)),
    "1.0 that stays": (2, get(b"Connection: keep-alive", line=b"GET /echo HTTP/1.0") + get(line=b"GET /echo HTTP/1.0")),
    "a body": (1, post(b"Content-Length: 5", body=b"hello")),
    "a body that is sent back": (1, post(b"Content-Length: 5", body=b"hello", line=b"POST /mirror HTTP/1.1")),
    "an empty body": (1, post(b"Content-Length: 0")),
    "chunks": (1, CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
    "chunks with extensions": (1, CHUNKED + b"2;a=b\r\nhe\r\n00;x\r\n\r\n"),
    "TE in capitals": (1, post(b"TRANSFER-ENCODING: CHUNKED", body=b"0\r\n\r\n")),
    "three in a row": (3, get() + post(b"Content-Length: 5", body=b"hello") + get()),
    "forty in a row": (40, get() * 40),
    "close ends the row": (1, get(b"Connection: close") + get()),
    "close in a list": (1, get(b"Connection: x, Close") + get()),
    "blanks around a value": (1, get(b"X: \t y \t ")),
    "an empty value": (1, get(b"X:")),
    "bytes beyond ASCII in a value": (1, get("X: ä".encode())),
    "absolute form": (1, get(line=b"GET https://localhost/echo HTTP/1.1")),
    "absolute form, other case": (1, get(line=b"GET https://LOCALHOST/echo HTTP/1.1")),
    "Host with a port": (1, get(host=b"Host: localhost:443")),
    "Host of digits": (1, get(host=b"Host: [::1]:443")),
    "an escape": (1, get(line=b"GET /%41?x=%20 HTTP/1.1")),
    "a target at the limit": (1, get(line=b"GET /" + b"a" * 8191 + b" HTTP/1.1")),
    "a hundred fields": (1, get(*[b"X: y"] * 99)),
    "continue": (1, post(b"Expect: 100-continue", b"Content-Length: 5", body=b"hello")),
}


def h2(*parts):
    return START + b"".join(parts)


def headers(payload, flags=END_STREAM | END_HEADERS, stream=1):
    return frame(HEADERS, flags, stream, payload)


def ask(*more, **kinds):
    return h2(headers(request(b"GET", b"/echo", *more, **kinds)))


def upload(*more, body=(b"hello",), flags=END_STREAM):
    out = headers(request(b"POST", b"/echo", *more), END_HEADERS)
    for i, some in enumerate(body):
        out += frame(DATA, flags if i == len(body) - 1 else 0, 1, some)
    return h2(out)


def without(name):
    fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"localhost")]
    return h2(headers(block(*[f for f in fields if f[0] != name])))


def cut(payload, size=16000):
    """A header block over CONTINUATIONs."""
    parts = [payload[i : i + size] for i in range(0, len(payload), size)]
    out = frame(HEADERS, END_STREAM, 1, parts[0])
    for i, part in enumerate(parts[1:]):
        out += frame(CONTINUATION, END_HEADERS if i == len(parts) - 2 else 0, 1, part)
    return out


OK2 = request()
BOMB = request() + b"\x40" + integer(1, 7) + b"x" + integer(3900, 7) + b"y" * 3900 + b"\xbe" * 60

BAD2 = {
    # requests
    "upper-case name": ask((b"X-Upper", b"y")),
    "no :method": without(b":method"),
    "no :path": without(b":path"),
    "no :scheme": without(b":scheme"),
    "no :authority, no host": without(b":authority"),
    "two :method": h2(headers(literal(b":method", b"GET") + request())),
    "two :path": h2(headers(literal(b":path", b"/") + request())),
    "two :scheme": h2(headers(literal(b":scheme", b"https") + request())),
    "two :authority": h2(headers(literal(b":authority", b"localhost") + request())),
    "late pseudo field": h2(headers(literal(b"x", b"y") + request())),
    "unknown pseudo field": h2(headers(literal(b":x", b"y") + request())),
    ":status in a request": h2(headers(literal(b":status", b"200") + request())),
    "host is not :authority": ask((b"host", b"other")),
    "two hosts": ask((b"host", b"localhost"), (b"host", b"localhost")),
    "connection": ask((b"connection", b"close")),
    "keep-alive": ask((b"keep-alive", b"1")),
    "proxy-connection": ask((b"proxy-connection", b"close")),
    "transfer-encoding": upload((b"transfer-encoding", b"chunked")),
    "upgrade": ask((b"upgrade", b"websocket")),
    "te: gzip": ask((b"te", b"gzip")),
    "te: trailers, gzip": ask((b"te", b"trailers, gzip")),
    "trailer announced": ask((b"trailer", b"x")),
    "CL more than comes": upload((b"content-length", b"6")),
    "CL less than comes": upload((b"content-length", b"4")),
    "CL without a body": ask((b"content-length", b"5")),
    "two CL": upload((b"content-length", b"5"), (b"content-length", b"5")),
    "CL list": upload((b"content-length", b"5, 5")),
    "CL plus": upload((b"content-length", b"+5")),
    "CL minus": upload((b"content-length", b"-5")),
    "CL hex": upload((b"content-length", b"0x5")),
    "CL empty": upload((b"content-length", b"")),
    ":path empty": h2(headers(request(b"GET", b""))),
    ":path without slash": h2(headers(request(b"GET", b"echo"))),
    ":path star": h2(headers(request(b"OPTIONS", b"*"))),
    ":path with a space": h2(headers(request(b"GET", b"/e cho"))),
    ":path with NUL": h2(headers(request(b"GET", b"/e\0cho"))),
    ":path with CRLF": h2(headers(request(b"GET", b"/echo HTTP/1.1\r\nX: y"))),
    ":path with fragment": h2(headers(request(b"GET", b"/#x"))),
    ":path with a broken escape": h2(headers(request(b"GET", b"/%4"))),
    ":path absolute": h2(headers(request(b"GET", b"https://localhost/"))),
    ":path too long": h2(headers(request(b"GET", b"/" + b"a" * 8192))),
    ":scheme http": ask(scheme=b"http"),
    ":scheme ftp": ask(scheme=b"ftp"),
    "CONNECT": h2(headers(block((b":method", b"CONNECT"), (b":authority", b"localhost:1")))),
    "extended CONNECT": h2(headers(request(b"CONNECT", b"/", (b":protocol", b"websocket")))),
    ":method no token": h2(headers(request(b"G T", b"/"))),
    ":method empty": h2(headers(request(b"", b"/"))),
    ":method too long": h2(headers(request(b"G" * 33, b"/"))),
    ":authority with a user": ask(authority=b"u@localhost"),
    ":authority with a path": ask(authority=b"localhost/x"),
    ":authority with a bad port": ask(authority=b"localhost:x"),
    ":authority empty": ask(authority=b""),
    "value with CR": ask((b"x", b"a\rb")),
    "value with LF": ask((b"x", b"a\nb")),
    "value with NUL": ask((b"x", b"a\0b")),
    "value with CRLF and a field": ask((b"x", b"a\r\ny: z")),
    "value with a space first": ask((b"x", b" a")),
    "value with a space last": ask((b"x", b"a ")),
    "value with DEL": ask((b"x", b"a\x7f")),
    "name with a space": ask((b"x y", b"a")),
    "name with a colon": ask((b"x:y", b"a")),
    "name with NUL": ask((b"x\0", b"a")),
    "name with CRLF": ask((b"x\r\ny", b"a")),
    "name empty": ask((b"", b"a")),
    "Expect of another kind": upload((b"expect", b"200-ok")),
    "trailers": h2(
        headers(request(b"POST"), END_HEADERS), frame(DATA, 0, 1, b"hello"), headers(literal(b"x", b"y"))
    ),
    "trailers without end": h2(
        headers(request(b"POST"), END_HEADERS), headers(literal(b"x", b"y"), END_HEADERS)
    ),
    "body over the limit": upload(body=[b"x" * 16000] * 66),
    # header lists
    "a header list too large": h2(cut(request() + literal(b"x", b"y" * 40000))),
    "over a hundred fields": ask(*[(b"x", b"y")] * 101),
    "an HPACK bomb": h2(headers(BOMB)),
    "index 0": h2(headers(OK2 + b"\x80")),
    "index beyond the table": h2(headers(OK2 + b"\xff\x80\x01")),
    "table size over the setting": h2(headers(b"\x3f\xe2\xff\x03" + OK2)),
    "table size behind a field": h2(headers(OK2 + b"\x20")),
    "an integer without end": h2(headers(OK2 + b"\xff" + b"\xff" * 12)),
    "a string longer than the block": h2(headers(OK2 + b"\x00\x01x\x7fyy")),
    "Huffman with EOS": h2(headers(OK2 + b"\x00\x01x\x84\xff\xff\xff\xff")),
    "Huffman with wrong padding": h2(headers(OK2 + b"\x00\x01x\x81\x18")),
    "half a block": h2(headers(OK2 + b"\x00\x01")),
    # frames
    "a wrong preface": b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + frame(SETTINGS) + headers(OK2),
    "HTTP/1.1 text": get() + b" " * 24,
    "no settings first": PREFACE + headers(OK2),
    "ping first": PREFACE + frame(PING, 0, 0, b"x" * 8),
    "settings of a wrong length": h2(frame(SETTINGS, 0, 0, b"x" * 5)),
    "settings on a stream": h2(frame(SETTINGS, 0, 1)),
    "settings ack with a payload": h2(frame(SETTINGS, ACK, 0, b"x" * 6)),
    "push switched to 2": h2(frame(SETTINGS, 0, 0, struct.pack(">HI", 2, 2))),
    "a window over 2^31": h2(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31))),
    "frames of 100 bytes": h2(frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 100))),
    "frames over 2^24": h2(frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 1 << 24))),
    "settings of 40 entries": h2(frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 1) * 40)),
    "a ping of 7 bytes": h2(frame(PING, 0, 0, b"x" * 7)),
    "a ping on a stream": h2(frame(PING, 0, 1, b"x" * 8)),
    "window update of 0": h2(frame(UPDATE, 0, 0, b"\0" * 4)),
    "window update of 3 bytes": h2(frame(UPDATE, 0, 0, b"\0\0\1")),
    "window over its maximum": h2(frame(UPDATE, 0, 0, b"\x7f\xff\xff\xff")),
    "stream window update of 0": h2(headers(request(b"POST"), END_HEADERS), frame(UPDATE, 0, 1, b"\0" * 4)),
    "stream window over its maximum": h2(
        headers(request(b"POST"), END_HEADERS), frame(UPDATE, 0, 1, b"\x7f\xff\xff\xff")
    ),
    "window update on an idle stream": h2(frame(UPDATE, 0, 5, b"\0\0\0\1")),
    "reset on an idle stream": h2(frame(RST, 0, 1, b"\0" * 4)),
    "reset on no stream": h2(frame(RST, 0, 0, b"\0" * 4)),
    "reset of 3 bytes": h2(headers(request(b"POST"), END_HEADERS), frame(RST, 0, 1, b"\0" * 3)),
    "goaway on a stream": h2(frame(GOAWAY, 0, 1, b"\0" * 8)),
    "goaway of 7 bytes": h2(frame(GOAWAY, 0, 0, b"\0" * 7)),
    "priority of 4 bytes": h2(frame(PRIORITY, 0, 1, b"\0" * 4), headers(OK2, stream=1)),
    "priority on no stream": h2(frame(PRIORITY, 0, 0, b"\0" * 5)),
    "headers on no stream": h2(headers(OK2, stream=0)),
    "headers on an even stream": h2(headers(OK2, stream=2)),
    "data on no stream": h2(frame(DATA, END_STREAM, 0, b"x")),
    "data on an idle stream": h2(frame(DATA, END_STREAM, 1, b"x")),
    "data behind the end": h2(headers(request(b"GET", b"/later?300")), frame(DATA, END_STREAM, 1, b"x")),
    "headers behind the end": h2(headers(request(b"GET", b"/later?300")), headers(OK2)),
    "padding longer than the data": h2(
        headers(request(b"POST"), END_HEADERS), frame(DATA, PADDED | END_STREAM, 1, b"\x09x")
    ),
    "padding longer than the head": h2(headers(b"\xff" + OK2[:20], PADDED | END_STREAM | END_HEADERS)),
    "a frame over the size": h2(headers(request(b"POST"), END_HEADERS), frame(DATA, 0, 1, b"x" * 16385)),
    "a head over the frame size": h2(frame(HEADERS, END_STREAM | END_HEADERS, 1, OK2 + b"\0" * 16385)),
    "continuation of nothing": h2(frame(CONTINUATION, END_HEADERS, 1, OK2)),
    "continuation of another stream": h2(
        frame(HEADERS, END_STREAM, 1, OK2), frame(CONTINUATION, END_HEADERS, 3, literal(b"x", b"y"))
    ),
    "a ping within a head": h2(frame(HEADERS, END_STREAM, 1, OK2), frame(PING, 0, 0, b"x" * 8)),
    "data within a head": h2(frame(HEADERS, 0, 1, OK2), frame(DATA, END_STREAM, 1, b"x")),
    "twenty continuations": h2(
        frame(HEADERS, END_STREAM, 1, OK2), *[frame(CONTINUATION, 0, 1, literal(b"x", b"y"))] * 20
    ),
    "push promise": h2(frame(PUSH, END_HEADERS, 1, b"\0\0\0\2" + OK2)),
    "more than the window": h2(
        headers(request(b"POST"), END_HEADERS), *[frame(DATA, 0, 3, b"")] , frame(DATA, END_STREAM, 3, b"x")
    ),
}

GOOD2 = {
    "plain": ask(),
    "host equal to :authority": ask((b"host", b"LocalHost")),
    "host without :authority": h2(
        headers(block((b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b"host", b"localhost")))
    ),
    "te: trailers": ask((b"te", b"trailers")),
    "pseudo fields in another order": h2(
        headers(block((b":path", b"/"), (b":authority", b"localhost"), (b":scheme", b"https"), (b":method", b"GET")))
    ),
    "a body": upload(),
    "a body that is sent back": h2(
        headers(request(b"POST", b"/mirror"), END_HEADERS), frame(DATA, END_STREAM, 1, b"hello")
    ),
    "a body with its length": upload((b"content-length", b"5")),
    "a body and its end apart": upload(body=[b"hel", b"lo", b""]),
    "an empty body": upload(body=[b""]),
    "a body with padding": h2(headers(request(b"POST"), END_HEADERS), frame(DATA, PADDED | END_STREAM, 1, b"\x02xx\0\0")),
    "HEAD": h2(headers(request(b"HEAD"))),
    "three continuations": h2(cut(request(), 20)),
    "a head with padding": h2(headers(b"\x03" + OK2 + b"\0\0\0", PADDED | END_STREAM | END_HEADERS)),
    "a head with priority": h2(headers(b"\0\0\0\0\x10" + OK2, 0x20 | END_STREAM | END_HEADERS)),
    "a frame of an unknown type": h2(frame(0xBB, 0xFF, 0, b"x"), headers(OK2)),
    "an unknown setting": h2(frame(SETTINGS, 0, 0, struct.pack(">HI", 0xAAAA, 7)), headers(OK2)),
    "a ping before": h2(frame(PING, 0, 0, b"x" * 8), headers(OK2)),
    "a smaller table": h2(headers(b"\x20" + OK2)),
    "cookies apart": ask((b"cookie", b"a=b"), (b"cookie", b"c=d")),
    "expect": upload((b"expect", b"100-continue")),
    "ninety fields": ask(*[(b"x", b"y")] * 90),
}


def send(s, data, piece):
    """Byte by byte; of what is large, the middle in pieces of 211. The server may close meanwhile."""
    try:
        if not piece:
            s.sendall(data)
            return
        at = 0
        while at < len(data):
            some = 1 if len(data) < 1500 or at < 400 or len(data) - at <= 400 else 211
            s.sendall(data[at : at + some])
            at += some
    except (ssl.SSLError, OSError):
        pass


def verdict1(server, data, piece):
    """The statuses that came, and whether the server closed."""
    s = server.tls("http/1.1", timeout=5)
    send(s, data, piece)
    got = read_all(s)
    statuses, rest = [], got
    while rest.startswith(b"HTTP/1.1 "):
        head, _, rest = rest.partition(b"\r\n\r\n")
        status = int(head[9:12])
        if status == 100:
            continue
        statuses.append(status)
        length = 0
        for line in head.split(b"\r\n")[1:]:
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if not data.startswith(b"HEAD") or len(statuses) > 1:
            rest = rest[length:]
    return statuses, rest == b""


def verdict2(server, data, piece):
    """"200", "status 4xx", "reset", "goaway" or "closed", whichever comes first of the last stream."""
    s = server.tls("h2", timeout=5)
    send(s, data, piece)
    got, found = b"", None
    while found is None:
        try:
            some = s.recv(65536)
        except socket.timeout:
            return "silence"
        except (ssl.SSLError, OSError):
            some = b""
        got += some
        for kind, flags, stream, payload in frames(got):
            if kind == GOAWAY:
                found = "goaway" if payload[4:8] != b"\0" * 4 else found
            elif kind == RST:
                found = found or "reset"
            elif kind == HEADERS and stream:
                if payload[0] == 0x88:
                    found = found or "200"
                elif flags & END_STREAM or len(payload) > 12:  # not "100" alone
                    found = found or "status"
            if found:
                break
        if not some:
            found = found or "closed"
    s.close()
    return found


def main():
    failures = []

    def check1(name, want, data, piece):
        close = data if want[0] == "bad" else data
        if want[0] == "good" and not data.lower().count(b"connection: close"):
            # a last request that ends the connection, so that all that came can be read
            close = data + get(b"Connection: close", line=b"GET /last HTTP/1.1")
        statuses, clean = verdict1(server, close, piece)
        if want[0] == "bad":
            good = statuses == [want[1]]
        else:
            extra = 0 if close is data else 1
            if data.split(b"\r\n")[0].endswith(b"HTTP/1.0") and want[1] == 1 or "close" in name:
                extra = 0
            if name == "1.0 that stays":
                extra = 0
            good = statuses == [200] * (want[1] + extra)
        if not good or not clean:
            failures.append(f"HTTP/1.1, {name}, {'byte by byte' if piece else 'whole'}: {statuses}")

    def check2(name, good, data, piece):
        found = verdict2(server, data, piece)
        if (found == "200") != good or found == "silence":
            failures.append(f"HTTP/2, {name}, {'byte by byte' if piece else 'whole'}: {found}")

    with Server("connections_per_address=1000", "linger_ms=3000") as server:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            jobs = []
            for piece in (False, True):
                for name, (status, data) in BAD1.items():
                    jobs.append(pool.submit(check1, name, ("bad", status), data, piece))
                for name, (count, data) in GOOD1.items():
                    jobs.append(pool.submit(check1, name, ("good", count), data, piece))
                for name, data in BAD2.items():
                    jobs.append(pool.submit(check2, name, False, data, piece))
                for name, data in GOOD2.items():
                    jobs.append(pool.submit(check2, name, True, data, piece))
            for job in jobs:
                job.result()
        seen = server.counters()
    for failure in failures:
        print(failure)
    refuse, answer = len(BAD1) + len(BAD2), len(GOOD1) + len(GOOD2)
    print(
        f"{refuse + answer} cases over TLS, each whole and byte by byte: {refuse} to be refused "
        f"({len(BAD1)} HTTP/1.1, {len(BAD2)} HTTP/2), {answer} to be answered; {len(failures)} failures"
    )
    print(f"the server counted {seen['rejected']} refusals, {seen['body_bytes']} bytes of bodies left")
    return 1 if failures or seen["body_bytes"] else 0


sys.exit(main())
