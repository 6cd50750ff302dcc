#!/usr/bin/env python3
"""The first thing a stranger does: one command that shows the main job, with and without root's help."""

import os
import re
import shutil
import signal
import subprocess

from e2e import BIN, SOURCE, Room, Skip, check, main, saw, step, until


def left_behind(room):
    """Processes whose words name the room's folder."""
    out = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(word.startswith(room.folder + "/") for word in words):
            out.append(" ".join(words))
    return out


def leftovers(room):
    return [name for name in os.listdir(room.folder) if name.startswith("weft-quickstart.")]


def script(room, *prefix, **more):
    """examples/quickstart.sh, from begin to end."""
    done = room.run(*prefix, os.path.join(SOURCE, "examples", "quickstart.sh"), env={"WEFT_BIN": BIN}, timeout=100, **more)
    for line in done.out.splitlines():
        saw("|", line)
    check(done.code == 0, done)
    check("signature verified" in done.out, "the server did not verify the event")
    check("HTTP 200" in done.out, "no answer came")
    check(re.search(r"MiB searched, found 0 times", done.out), "the router's memory was not searched")
    check("Try next" in done.out, "it does not say what to try next")
    check(done.seconds < 60, f"it took {done.seconds:.0f} s")
    until("its processes to be gone", lambda: not left_behind(room), 5)
    check(not leftovers(room), "folders left behind:", leftovers(room))
    return done


def may_make_namespaces():
    if os.geteuid() != 0:
        return False
    name = f"weft-e2e-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode != 0:
        return False
    subprocess.run(["ip", "netns", "del", name], check=True)
    return True


@step("examples/quickstart.sh delivers between hosts with real firewalls")
def _(room):
    if not may_make_namespaces():
        saw("not possible here: namespaces need root")
        return
    done = script(room)
    check("policy drop" in done.out, "the receiver has no firewall")
    check("fails, as it must" in done.out, "a direct connection was not tried")
    listening = done.out.split("what listens on the receiver (all of it):\n")[1].split("\n")[0].strip()
    check(listening.startswith("127.0.0.1:"), "on the receiver listens", listening)
    saw("on the receiver listens", listening)


@step("the same as a nobody, without namespaces")
def _(room):
    if os.geteuid() != 0:
        script(room)
        return
    if shutil.which("setpriv") is None:
        raise Skip("there is no setpriv")
    os.chmod(room.folder, 0o777)
    done = script(room, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    check("No namespaces here" in done.out, "a nobody made namespaces")


@step("weft quickstart: one program, a delivery, and nothing left")
def _(room):
    done = room.weft("quickstart")
    for line in done.out.splitlines():
        saw("|", line)
    check(done.code == 0, done)
    check("signature verified" in done.out and "6  delivered" in done.out, done)
    check(not left_behind(room), "left running:", left_behind(room))
    check(not leftovers(room), "folders left behind:", leftovers(room))
    check(not os.path.exists(room.path("state")), "it wrote state outside its own folder")


@step("weft quickstart --stay: can be played with, until Ctrl-C")
def _(room):
    stay = room.start("stay", "weft", "quickstart", "--stay", "--home", room.path("home"))
    stay.says("running until Ctrl-C", 30)
    identity = room.path("home", "hook-dial.jwt")
    done = room.weft("post", "hook", "/again", "--data", "hello", "--identity", identity)
    check(done.code == 1 and "HTTP 401" in done.err, "an unsigned event must be refused by the server:", done)
    secret = room.path("home", "webhook-secret")
    done = room.weft("post", "hook", "/again", "--data", "hello", "--webhook-secret-file", secret, "--identity", identity)
    check(done.code == 0, done)
    saw("a second event was accepted, signed; the first refused, unsigned")
    stay.signal(signal.SIGINT)
    check(stay.wait() == 0, "Ctrl-C ends it with", stay.popen.returncode)
    until("its programs to end", lambda: not left_behind(room), 5)
    done = room.weft("quickstart", "--home", room.path("home"))
    check(done.code == 1 and "holds a fabric already; name another --home" in done.error, done)


@step("what it says to try next can be pasted, in this order, and stays in its folder")
def _(room):
    stay = room.start("paste", "weft", "quickstart", "--stay")
    stay.says("running until Ctrl-C", 30)
    lines = stay.said().split("try next\n")[1].split("\n\n")[0].splitlines()
    before = sorted(os.listdir(room.folder))
    done = room.run("bash", "-c", "set -ex\n" + "\n".join(lines), env={"HOME": room.path("nobody")})
    check(done.code == 0 and "HTTP 200" in done.err and "yes: " in done.out, "\n".join(lines), done)
    check(sorted(os.listdir(room.folder)) == before, "it wrote elsewhere:", os.listdir(room.folder))
    for line in lines:
        saw("|", line)
    stay.signal(signal.SIGHUP)
    check(stay.wait() == 0, "SIGHUP ends it with", stay.popen.returncode)
    check(not leftovers(room), "folders left behind:", leftovers(room))
    until("its programs to end", lambda: not left_behind(room), 5)


@step("weft quickstart killed with -9 takes its programs along")
def _(room):
    stay = room.start("killed", "weft", "quickstart", "--stay")
    stay.says("running until Ctrl-C", 30)
    check(len(left_behind(room)) >= 3, "which programs are there?", left_behind(room))
    stay.kill()
    until("its programs to end", lambda: not left_behind(room), 15)
    saw("three programs and a server went with it")


main(Room)
