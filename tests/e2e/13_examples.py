#!/usr/bin/env python3
"""The examples, as a reader of them would run them: in C on both faces of the library, and in Python on libweft.so."""

import hashlib
import hmac
import os
import sys
import time

from e2e import (
    BUILD, FAILED, OK, POLICY, SOURCE, UNREACHABLE, USAGE, Fabric, Web, check, main, preload, saw, step, until,
)  # fmt: skip

EXAMPLES = os.path.join(BUILD, "examples")
SECRET = "a secret between sender and receiver"


class Stage(Fabric):
    def __init__(self):
        super().__init__()
        self.share("echo")
        self.share("web")
        self.receiver = Web(self.answer)
        self.host("web", self.receiver.port, self.path("web-host.jwt"))

    def answer(self, request, body):
        """Knows nothing of Weft; verifies the signature if there is one."""
        given = request.headers.get("X-Hub-Signature-256")
        wanted = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        good = given is None or hmac.compare_digest(given, wanted)
        status = 200 if good and request.path == "/hooks/push" else 400
        return status, {}, b"got " + body + (b", signed" if given else b"")

    def example(self, name, *args, identity=None, **more):
        env = {"WEFT_IDENTITY": self.path(identity)} if identity else {}
        return self.run(os.path.join(EXAMPLES, name), *args, env=env, **more)


@step("an echo server in C binds a service and listens nowhere")
def _(f):
    server = f.start("echo-server", os.path.join(EXAMPLES, "echo-server"), "echo", "4", env={"WEFT_IDENTITY": f.path("echo-host.jwt")})
    server.says("bound on 1 router")
    with open("/proc/net/tcp", encoding="ascii") as table:
        listening = {line.split()[9] for line in table if line.split()[3] == "0A"}
    own = {os.readlink(f"/proc/{server.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{server.pid}/fd")}
    check(not own & {f"socket:[{inode}]" for inode in listening}, "the echo server listens")
    done = f.example("echo-client", "echo", "hello", identity="echo-dial.jwt")
    check(done.code == OK and done.out == "hello\n" and "talking to echo-host <spiffe://e2e.weft/identity/" in done.err, done)
    saw(done.err.strip())
    text = "line\n" * 2000000
    done = f.example("cat", "echo", stdin=text.encode(), identity="echo-dial.json")
    check(done.code == OK and done.out == text, "cat of 10 MB:", str(done)[:300])
    saw(f"cat: 10 MB there and back in {done.seconds:.2f} s")
    done = f.example("cat", "echo", identity="echo-dial.json")
    check(done.code == OK and done.out == "", done)
    large = "x" * 100000  # more than one write takes
    done = f.example("echo-client", "echo", large, identity="echo-dial.json")
    check(done.code == OK and done.out == large + "\n", str(done)[:300])
    check(server.wait(20) == 0, "the echo server did not leave after four connections")
    check(server.said().count("echo-dialer dialed echo") == 4, server.said())


@step("they end with the exit statuses of everything else")
def _(f):
    for args, identity, status in (
        (("echo-client", "echo", "hello"), "echo-dial.json", UNREACHABLE),  # nobody is bound now
        (("cat", "echo"), "echo-dial.json", UNREACHABLE),
        (("echo-client", "web", "hello"), "echo-dial.json", POLICY),
        (("webhook-sender", "web", "/", "{}"), "echo-dial.json", POLICY),
        (("cat", "echo"), None, USAGE),
        (("cat",), "echo-dial.json", USAGE),
        (("webhook-sender", "web", "/a b", "{}"), "web-dial.jwt", USAGE),
    ):
        done = f.example(*args, identity=identity)
        check(done.code == status and done.err.strip(), status, done)
        saw(done.code, done.error)
    done = f.example("echo-server", "web", identity="echo-dial.json")  # may not bind
    check(done.code == POLICY, done)


@step("a webhook sender in C")
def _(f):
    done = f.example("webhook-sender", "web", "/hooks/push", '{"ref":"main"}', identity="web-dial.jwt")
    check(done.code == OK and done.out.startswith("HTTP/1.1 200") and 'got {"ref":"main"}' in done.out, done)
    check(f.example("webhook-sender", "web", "/hooks/none", "{}", identity="web-dial.json").code == FAILED, "a 400")


@step("a webhook sender in Python, with nothing compiled")
def _(f):
    env = {
        "WEFT_IDENTITY": f.path("web-dial.json"),
        "WEFT_LIBRARY": os.path.join(BUILD, "lib", "libweft.so"),
        "WEFT_SECRET": SECRET,
        **preload(),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
    }

    def send(*args):
        return f.run(sys.executable, "-B", os.path.join(SOURCE, "examples", "webhook_sender.py"), *args, env=env)

    done = send("web", "/hooks/push", '{"ref":"main"}')
    check(done.code == OK and 'got {"ref":"main"}, signed' in done.out, done)
    saw(done.out.splitlines()[0], "...", done.out.splitlines()[-1])
    check(send("web", "/hooks/none", "{}").code == FAILED, "a 400")
    done = send("echo", "/hooks/push", "{}")
    check(done.code == POLICY and "echo" in done.err, done)
    check(send("web").code == USAGE, "wrong usage")
    env["WEFT_LIBRARY"] = f.path("none.so")
    done = send("web", "/hooks/push", "{}")
    check(done.code == FAILED and len(done.err.splitlines()) == 1 and "set WEFT_LIBRARY" in done.err, done)
    saw(done.error.replace(f.folder, "~"))
    del env["WEFT_IDENTITY"]
    env["WEFT_LIBRARY"] = os.path.join(BUILD, "lib", "libweft.so")
    done = send("web", "/hooks/push", "{}")
    check(done.code == USAGE and done.error == "no identity: set WEFT_IDENTITY to an identity file", done)


@step("weft-tunneler and an embedded server can host the same service; either one answers")
def _(f):
    server = f.start("second", os.path.join(EXAMPLES, "echo-server"), "web", env={"WEFT_IDENTITY": f.path("web-host.json")})
    server.says("bound on 1 router")
    answers = set()

    def both():
        done = f.example("webhook-sender", "web", "/hooks/push", "{}", identity="web-dial.json")
        answers.add("tunneler" if "got {}" in done.out else "embedded" if done.out.startswith("POST /hooks/push") else done.out)
        return answers >= {"tunneler", "embedded"}

    until("both to be asked", both, 30)
    check(answers == {"tunneler", "embedded"}, answers)
    server.kill()
    time.sleep(0.2)
    for _ in range(5):
        done = f.example("webhook-sender", "web", "/hooks/push", "{}", identity="web-dial.json")
        check("got {}" in done.out, "after one of them died:", done)


main(Stage)
