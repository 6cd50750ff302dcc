#!/usr/bin/env python3
"""A crowd of endpoints waits for a controller that was killed: when it returns it serves people at once and takes the crowd in by and by.

WEFT_CROWD says how many endpoints (or WEFT_FULL=1: 2,000; else 200).
"""

import os
import subprocess
import time

from e2e import BUILD, OK, Fabric, Tcp, check, echo, free_port, main, metrics, saw, step, until

IDLE = os.environ.get("WEFT_IDLE", os.path.join(BUILD, "tests", "e2e", "idle"))
CROWD = int(os.environ.get("WEFT_CROWD", "2000" if os.environ.get("WEFT_FULL") else "200"))


class Stage(Fabric):
    def __init__(self):
        self.figures = free_port()
        super().__init__()
        self.server = Tcp(echo)
        self.tunneler, self.dialer = self.serve("raw", self.server.port)
        _, self.port = self.proxy("raw", self.dialer)
        self.admin("service", "create", "crowd")
        self.admin("allow", "role:crowd", "bind", "crowd")
        self.crowds = [self.gather(f"crowd-{i}", CROWD // 4) for i in range(4)]  # one identity has a share, not the whole

    def gather(self, name, count):
        self.admin("identity", "create", name, "--roles", "crowd", "--token-out", self.path(f"{name}.jwt"))
        words = [IDLE, self.enroll(self.path(f"{name}.jwt")), "crowd", str(count)]
        with open(self.path(f"{name}.said"), "w", encoding="utf-8") as said:
            return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=said, stderr=said, env=self.env)

    def bound(self):
        return all("bound\n" in self.read(f"crowd-{i}.said") for i in range(4))

    def start_controller(self, *args):
        return super().start_controller("--metrics", f"127.0.0.1:{self.figures}", *args)

    def peers(self):
        return metrics(self.figures)["weft_controller_peers"]

    def close(self):
        for crowd in self.crowds:
            crowd.stdin.close()
            crowd.wait(20)
        return super().close()


@step("the crowd is there")
def _(f):
    until("all of them to be bound", f.bound, 90, 0.2)
    until("all their links", lambda: f.peers() >= CROWD, 60)
    saw(f"{CROWD} endpoints, each bound and linked to the controller")


@step("killed for a while: the hosts of the crowd stay bound, a session goes on")
def _(f):
    check(f.weft("dial", "raw", "--identity", f.dialer, stdin=b"x").out == "x", "with a controller")
    f.controller.kill()
    time.sleep(8 if CROWD < 1000 else 20)  # so that their back-off has grown
    done = f.weft("dial", "raw", "--identity", f.dialer, stdin=b"x")
    check(done.code == OK and done.out == "x", done)
    check(all(crowd.poll() is None for crowd in f.crowds), "the crowd ended")


@step("it returns: who administers is served at once, and the crowd comes back spread over time")
def _(f):
    begun = time.monotonic()
    f.start_controller()
    waits, came = [], []
    while True:
        asked = time.monotonic()
        done = f.weft("identity", "show", "crowd-0", "--identity", f.admin_file)
        check(done.code == OK, done)
        waits.append(time.monotonic() - asked)
        came.append((time.monotonic() - begun, f.peers()))
        if came[-1][1] >= CROWD:
            break
        check(time.monotonic() - begun < 100, "not all came back:", came[-3:])
        time.sleep(0.1)
    half = next(when for when, count in came if count >= CROWD / 2)
    figures = metrics(f.figures)
    saw(f"half of them after {half:.1f} s, all after {came[-1][0]:.1f} s; CPU of the controller {cpu(f.controller):.1f} s")
    saw(f"meanwhile {len(waits)} commands by the administrator: the slowest took {max(waits):.2f} s")
    saw("handshakes that failed:", figures.get("weft_controller_handshakes_failed_total"))
    check(max(waits) < 5, "the administrator waited", max(waits))
    check(f.controller.rss() < 400 << 20, "memory", f.controller.rss())


def cpu(process):
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@step("changes reach the crowd again, and the service goes on")
def _(f):
    f.admin("disallow", "role:crowd", "bind", "crowd")
    f.admin("allow", "role:crowd", "bind", "crowd")
    done = f.weft("dial", "raw", "--identity", f.dialer, stdin=b"x")
    check(done.code == OK and done.out == "x", done)


main(Stage)
