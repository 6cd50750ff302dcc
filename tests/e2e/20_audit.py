#!/usr/bin/env python3
"""The audit log: what people see of it, what tampering it notices, and what survives a kill or a restore."""

import base64
import json
import os
import random
import shutil
import threading
import time

from e2e import OK, Fabric, Web, check, json_lines, main, step, until

KILLS = 20 if os.environ.get("WEFT_FULL") else 6


class Stage(Fabric):
    def __init__(self):
        super().__init__()
        self.web = Web()
        self.tunneler, self.dialer = self.serve("web", self.web.server_address[1])
        check(self.post("web", "/hook", self.dialer, "--data", "x").code == OK)

    def entries(self):
        self.admin("audit", "export", self.path("all.jsonl"))
        with open(self.path("all.jsonl"), encoding="utf-8") as f:
            lines = json_lines(f.read())
        os.remove(self.path("all.jsonl"))
        return [line["event"] for line in lines if "event" in line]

    def verify(self, *args):
        return self.weft("audit", "verify", "--identity", self.admin_file, "--json", *args)


@step("each act is an entry: who, what, on what; a refused one says by which rule")
def _(stage):
    stage.admin("identity", "create", "ci-bot", "--roles", "ci", "--token-out", stage.path("ci.jwt"))
    again = stage.weft("identity", "create", "ci-bot", "--identity", stage.admin_file)
    check(again.code != OK)
    tail = stage.admin("audit", "tail", "--n", "3").out
    check("identity.create  ci-bot" in tail and "there is an identity 'ci-bot' already" in tail, tail)
    stranger = stage.weft("identity", "list", "--identity", stage.dialer)
    check(stranger.code != OK)
    last = json_lines(stage.admin("audit", "tail", "--n", "1", "--json").out)[0]
    check(last["event"] == "refused" and last["by"] == "web-dialer" and "row" in last["reason"], last)
    kinds = {entry["event"] for entry in stage.entries()}
    check({"start", "local", "admin", "enroll", "grants", "refused"} <= kinds, kinds)


@step("no token and no key is in it")
def _(stage):
    text = json.dumps(stage.entries())
    token = stage.read("ci.jwt").strip()
    for secret in (*token.split("."), "BEGIN", "eyJ"):
        check(secret not in text, "a secret in the log:", secret[:12])


@step("the log verifies, live and as an export, and each entry can be proved")
def _(stage):
    live = stage.verify()
    check(live.code == OK and json.loads(live.out)["verified"], live)
    stage.admin("audit", "export", stage.path("good.jsonl"))
    check(stage.verify("--file", stage.path("good.jsonl")).code == OK)
    proof = stage.admin("audit", "prove", "4").out
    check('{"seq":4,' in proof and "signed" in proof, proof)


@step("every kind of tampering with an export is found, and the first bad entry named")
def _(stage):
    lines = stage.read("good.jsonl").splitlines()
    count = sum('"event"' in line for line in lines)
    at = count // 2
    here = json.loads(lines[at])
    here["event"]["time"] += 1

    def put(name, changed):
        return stage.write(name, "\n".join(changed) + "\n")

    swapped = lines[:at] + [lines[at + 1], lines[at]] + lines[at + 2 :]
    cases = {
        "edited": (put("m1", lines[:at] + [json.dumps(here)] + lines[at + 1 :]), at + 1),
        "deleted": (put("m2", lines[:at] + lines[at + 1 :]), at + 1),
        "moved": (put("m3", swapped), at + 1),
        "cut": (put("m4", lines[: count - 1] + lines[count:]), count),
    }
    for name, (path, bad) in cases.items():
        done = stage.verify("--file", path)
        said = json.loads(done.out)
        check(done.code != OK and not said["verified"], name, done)
        check(said["first_bad"] <= bad <= said["last_bad"], name, bad, said)
        check(name == "cut" or said["first_bad"] == bad, name, bad, said)
        print(f"    {name}: {said['reason']}")
    # Without its checkpoints, too, a cut one is shorter than what this machine remembers.
    old = put("m5", lines[: count - 5] + [line for line in lines[count : count + 3]])
    done = stage.verify("--file", old)
    check(done.code != OK and "endpoints here remember" in json.loads(done.out)["reason"], done)


@step("routers and endpoints remember checkpoints")
def _(stage):
    def remembered():
        done = stage.run("weft-router", "checkpoints", "--home", stage.path("r1"))
        return done.out if done.code == OK else ""

    until("the router to keep one", remembered, seconds=20)
    stage.write("r1.jsonl", remembered())
    check(stage.verify("--against", stage.path("r1.jsonl")).code == OK)
    states = [os.path.join(folder, "state.json") for folder, _, names in os.walk(stage.path("state")) if "state.json" in names]
    check(any(json.loads(open(path, encoding="utf-8").read()).get("checkpoints") for path in states), states)


@step(f"killed {KILLS} times under load: it verifies, and all that was acknowledged is in it")
def _(stage):
    done, stop = [], threading.Event()

    def load(which):
        number = 0
        while not stop.is_set():
            number += 1
            name = f"k{which}-{number}"
            if stage.weft("identity", "create", name, "--identity", stage.admin_file).code == OK:
                done.append(name)

    workers = [threading.Thread(target=load, args=(which,)) for which in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(KILLS):
            time.sleep(random.uniform(0.3, 1.0))
            stage.controller.kill()
            stage.must("weft-controller", "audit-verify", "--home", stage.path("controller"))
            stage.start_controller()
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    names = {entry.get("what") for entry in stage.entries() if entry["event"] == "admin"}
    missing = [name for name in done if name not in names]
    check(done and not missing, f"{len(done)} acknowledged, not in the log:", missing)
    check(stage.verify().code == OK)
    print(f"    {len(done)} acknowledged")


@step("a restored old copy is noticed by the router, by the controller, and by whoever compares")
def _(stage):
    stage.controller.stop()
    shutil.copytree(stage.path("controller"), stage.path("backup"))
    stage.start_controller()
    for number in range(3):
        stage.admin("service", "create", f"later-{number}")
    size = json.loads(stage.verify().out)["entries"]
    until("the router to hear of it", lambda: newest(stage) >= size, seconds=20)
    stage.controller.stop()
    stage.write("r1.jsonl", stage.must("weft-router", "checkpoints", "--home", stage.path("r1")).out)
    shutil.rmtree(stage.path("controller"))
    shutil.copytree(stage.path("backup"), stage.path("controller"))
    old = stage.run("weft-controller", "audit-verify", "--home", stage.path("controller"), "--against", stage.path("r1.jsonl"))
    check(old.code != OK and "old copy" in old.err, old)
    stage.start_controller()
    stage.routers["r1"].says("AUDIT ALARM: the audit log went back", seconds=40)
    until("the controller to say so", lambda: "the audit log is an old copy" in stage.controller.said(), seconds=20)
    check(any(entry["event"] == "log.behind" for entry in stage.entries()))
    done = stage.verify("--against", stage.path("r1.jsonl"))
    check(done.code != OK, done)


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


def newest(stage):
    """The size in the newest checkpoint that the router remembers: Signed {body {trust_domain, size, ...}, ...}."""
    done = stage.run("weft-router", "checkpoints", "--home", stage.path("r1"))
    if done.code != OK:
        return 0
    record = base64.b64decode(json_lines(done.out)[-1]["checkpoint"])
    _, at = varint(record, 1)
    domain, at = varint(record, at + 1)
    return varint(record, at + domain + 1)[0]


main(Stage)
