#!/usr/bin/env python3
"""What is refused: one line that says what, by which rule and what to do, with the exit status of docs/cli.md."""

import json
import os
import re
import shutil
import time

from e2e import (
    CREDENTIAL, FAILED, OK, POLICY, TIMED_OUT, UNREACHABLE, USAGE, Fabric, Tcp, Web, check, faked, free_port, json_lines, main,
    saw, step,
)  # fmt: skip

PROGRAMS = ("weft", "weft-controller", "weft-router", "weft-tunneler")


def everything(folder):
    """Each file below, with its bytes."""
    out = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            with open(path, "rb") as f:
                out[path] = f.read()
    return out


def refused(fabric, status, words, program, *args, **more):
    """Runs it; it must end with the status and one line on stderr that holds the words."""
    done = fabric.run(program, *args, **more)
    lines = done.err.strip().splitlines()
    check(done.code == status, f"not {status}:", done)
    check(len(lines) == 1, "more than one line, or none:", done)
    check(lines[0].startswith(program + ": "), "says not who speaks:", done)
    check(len(lines[0]) < 420, "too long a line:", done)
    for word in [words] if isinstance(words, str) else words:
        check(word in lines[0], f"says nothing of {word!r}:", done)
    saw(status, lines[0].replace(fabric.folder, "~"))
    return done


class Stage(Fabric):
    def __init__(self):
        super().__init__()
        self.web = Web()
        self.tunneler, self.dialer = self.serve("web", self.web.port, "--log-level", "debug")
        self.as_admin = ("--identity", self.admin_file)


@step("wrong usage is status 2")
def _(f):
    d = ("--identity", f.dialer)
    for program in PROGRAMS:
        refused(f, USAGE, "unknown command", program, "nonsense")
        refused(f, USAGE, "unknown option --nonsense", program, "--nonsense")
        done = f.run(program)
        check(done.code == USAGE and "usage:" in done.err and done.out == "", done)
    for program, command in (("weft", "status"), ("weft-controller", "run"), ("weft-router", "run"), ("weft-tunneler", "run")):
        refused(f, USAGE, "unknown option --nonsense", program, command, "--nonsense")
        refused(f, USAGE, "unknown option -q", program, command, "-q")
        refused(f, USAGE, "loud", program, command, "--log-level", "loud")
        refused(f, USAGE, "xml", program, command, "--log-format", "xml")
    refused(f, USAGE, "usage: weft post SERVICE PATH", "weft", "post", "web")
    refused(f, USAGE, "--data needs a value", "weft", "post", "web", "/", "--data")
    refused(f, USAGE, "--timeout", "weft", "post", "web", "/", "--timeout", "abc", *d)
    refused(f, USAGE, "--retry", "weft", "post", "web", "/", "--retry", "-1", *d)
    refused(f, USAGE, "whose identity?", "weft", "post", "web", "/")
    refused(f, USAGE, "not logged in", "weft", "identity", "list")
    refused(f, USAGE, "port", "weft", "login", "nonsense:99999", *f.as_admin)
    refused(f, USAGE, "dial", "weft", "allow", "web-dialer", "look-at", "web", *f.as_admin)
    refused(f, USAGE, "SERVICE=HOST:PORT", "weft-tunneler", "host", "web", *d)
    refused(f, USAGE, "port", "weft-tunneler", "proxy", "99999=web", *d)
    refused(f, USAGE, "--max-sessions", "weft-tunneler", "proxy", "0=web", "--max-sessions", "0", *d)
    refused(f, USAGE, "--metrics", "weft-tunneler", "proxy", "0=web", "--metrics", "nowhere", *d)
    for command in (("post", "web", "/"), ("dial", "web"), ("status",)):
        refused(f, USAGE, "--timeout 0 leaves no time", "weft", *command, "--timeout", "0", *d)
        refused(f, USAGE, f"options come after the command: weft {command[0]} --identity FILE", "weft", *d, *command)
    refused(f, USAGE, 'the service\'s name "we b"', "weft", "post", "we b", "/", *d)
    refused(f, USAGE, "--token-life: at most 30d", "weft", "identity", "create", "x", "--token-life", "31d", *f.as_admin)
    refused(f, USAGE, "give --roles, --life or --rename", "weft", "identity", "update", "web-dialer", *f.as_admin)
    refused(f, USAGE, "give --roles, --mode, a limit or --rename", "weft", "service", "update", "web", *f.as_admin)
    refused(f, USAGE, "--type dial or bind is needed", "weft", "policy", "create", "p", *f.as_admin)
    refused(f, USAGE, "nothing to change", "weft", "policy", "update", "web-dial", *f.as_admin)
    refused(f, USAGE, "--home", "weft-controller", "init")
    refused(f, USAGE, "--home", "weft-router", "run")
    refused(f, USAGE, "--memory", "weft-router", "run", "--home", f.path("r1"), "--memory", "1k")


@step("bad names are refused where they are typed, and where they are stored")
def _(f):
    bad = ("../x", "a b", "", "-x", "a" * 65, "a/b", "n\u00e4me", "a\nb", "#x", "%00", "a;b", "$(x)")
    for name in bad:
        args = ["--", name] if name.startswith("-") else [name]
        done = f.run("weft", "identity", "create", *f.as_admin, *args)
        check(done.code == USAGE and len(done.err.strip().splitlines()) == 1, repr(name), done)
        done = f.run("weft", "share", *f.as_admin, *args)
        check(done.code == USAGE and len(done.err.strip().splitlines()) == 1, repr(name), done)
        done = f.run("weft", "post", "--identity", f.dialer, *(["--", name] if name.startswith("-") else [name]), "/")
        check(done.code == USAGE and len(done.err.strip().splitlines()) == 1, repr(name), done)
    saw(len(bad), "names, three commands each; the last said:", done.error)
    refused(f, USAGE, "trust domain", "weft-controller", "init", "--home", f.path("other"), "--domain", "UPPER case")
    refused(f, USAGE, "address", "weft-controller", "init", "--home", f.path("other"), "--address", "x:y:z")
    check(not os.path.exists(f.path("other")), "a refused init left a folder")
    refused(f, USAGE, "names nothing", "weft", "allow", "nobody", "dial", "web", *f.as_admin)
    refused(f, FAILED, "there is no identity", "weft", "identity", "show", "nobody", *f.as_admin)
    refused(f, FAILED, "already", "weft", "identity", "create", "web-dialer", *f.as_admin)


@step("a file with a secret must be its owner's alone")
def _(f):
    for mode in (0o644, 0o640, 0o604, 0o660):
        os.chmod(f.dialer, mode)
        refused(f, CREDENTIAL, f"mode {mode:o}): run chmod 600", "weft", "post", "web", "/", "--identity", f.dialer)
    os.chmod(f.dialer, 0o600)
    check(f.post("web", "/", f.dialer).code == OK, "with 600 it must work")
    os.chmod(f.path("r1", "router.json"), 0o644)
    refused(f, CREDENTIAL, "chmod 600", "weft-router", "check-config", "--home", f.path("r1"))
    os.chmod(f.path("r1", "router.json"), 0o600)
    passphrase = f.write("passphrase", "open sesame\n", 0o644)
    refused(f, CREDENTIAL, "chmod 600", "weft-controller", "init", "--home", f.path("other"), "--root-passphrase-file", passphrase)
    check(not os.path.exists(f.path("other")), "a refused init left a folder")
    # a key beside the identity
    token = f.path("keyed.jwt")
    f.admin("identity", "create", "keyed", "--token-out", token)
    f.must("weft", "enroll", token, "--out", f.path("keyed.json"), "--key", f"file:{f.path('keyed.key')}")
    check("PRIVATE" not in f.read("keyed.json"), "the key is in the identity too")
    os.chmod(f.path("keyed.key"), 0o644)
    refused(f, CREDENTIAL, "chmod 600", "weft", "status", "--identity", f.path("keyed.json"))
    # those of the controller's home
    home = f.path("copy")
    shutil.copytree(f.path("controller"), home)
    for name in sorted(os.listdir(home)):
        if name.endswith(".key"):
            os.chmod(os.path.join(home, name), 0o644)
            done = f.run("weft-controller", "check-config", "--home", home)
            check((done.code == CREDENTIAL and "chmod 600" in done.err) or name == "root.key", name, done)
            os.chmod(os.path.join(home, name), 0o600)
    shutil.rmtree(home)


@step("a broken identity says what is broken")
def _(f):
    good = f.read("web-dial.json")
    tree = json.loads(good)
    bad = {
        "cut short": (good[: len(good) // 2], "JSON"),
        "no JSON": ("hello", "JSON"),
        "empty": ("", ""),
        "nothing in it": ("{}", "weft"),
        "a list": ("[]", ""),
        "another version": (json.dumps({**tree, "weft": 2}), "weft"),
        "doubled": (good.rstrip()[:-1] + ',"weft":1}', "JSON"),
        "NUL": (good + "\0", ""),
    }
    for key in tree:
        if key != "controllers" and tree[key]:
            bad[f"without {key}"] = (json.dumps({k: v for k, v in tree.items() if k != key}), "")
            bad[f"{key} a number"] = (json.dumps({**tree, key: 7}), "")
    status = set()
    for what, (text, word) in bad.items():
        path = f.write("bad.json", text)
        done = f.post("web", "/", path)
        lines = done.err.strip().splitlines()
        check(done.code in (CREDENTIAL, USAGE, FAILED) and len(lines) == 1 and word in lines[0], what, done)
        status.add((done.code, what))
        check("PRIVATE" not in done.err, what, "shows the key:", done)
    saw(len(bad), "kinds; not 5:", sorted(what for code, what in status if code != CREDENTIAL))
    check(all(code == CREDENTIAL for code, what in status), "an identity that can't be used is status 5:", status)
    refused(f, FAILED, "nobody.json", "weft", "post", "web", "/", "--identity", f.path("nobody.json"))
    refused(f, FAILED, "not a regular file", "weft", "post", "web", "/", "--identity", f.folder)


@step("secrets stand in no argument")
def _(f):
    token = f.read("web-dial.jwt").strip()
    done = refused(f, USAGE, "process list", "weft", "enroll", token, "--out", f.path("t.json"))
    check(token not in done.err, "the refusal shows the token")
    refused(f, USAGE, "enroll", "weft", "post", "web", "/", "--identity", token)
    for program, args in (("weft", ["post", "web", "/"]), ("weft-tunneler", ["proxy", "0=web"])):
        refused(f, USAGE, ["process list", "WEFT_IDENTITY"], program, *args, "--identity", f.read("web-dial.json"))
    done = f.run("weft", "post", "web", "/", env={"WEFT_IDENTITY": f.read("web-dial.json")})
    check(done.code == OK, "the variable may hold it:", done)
    for program in PROGRAMS:
        options = re.findall(r"^\\-\\-([a-z-]+) ([^:]+):", f.run(program, "man").out, re.M)
        check(options or program == "weft-controller", program, "has no options?")
        for name, value in options:
            takes_secret = re.search("secret|passphrase|password|token|key", name) and not value.startswith(("FILE", "TIME", "KEY"))
            check(not takes_secret, program, "takes a secret in an argument:", name, value)


@step("YAML is refused with its file and line")
def _(f):
    rule = "host:\n  - service: web\n    to: 127.0.0.1:80\n"
    for line, text in (
        (1, "a: b\n"),
        (1, ""),
        (1, "\0"),
        (1, "- a\n"),
        (1, "&a [*a]\n"),
        (1, "identity: x\n"),
        (1, "host: {}\n"),
        (2, "host:\n  - service: web\n    to: x\n"),
        (2, "host: [\n"),
        (2, "host:\n  - service: ../x\n    to: 127.0.0.1:80\n"),
        (4, rule + "  - service: web\n    to: 127.0.0.1:81\n"),
        (4, rule + "    extra: 1\n"),
        (4, rule + rule),
        (5, rule + "proxy:\n  - service: web\n    listen: 127.0.0.1:99999\n"),
        (4, rule + "\tx: 1\n"),
        (4, rule + "metrics: [1]\n"),
    ):
        path = f.write("t.yaml", text)
        refused(f, USAGE, f"t.yaml:{line}: ", "weft-tunneler", "check-config", "-c", path)
        done = f.run("weft-tunneler", "run", "-c", path, "--identity", f.dialer)
        check(done.code == USAGE, done)
    refused(f, USAGE, "write web=127.0.0.1:8080", "weft-tunneler", "host", "web=8080", "--identity", f.dialer)
    refused(f, FAILED, "another program listens there", "weft-tunneler", "proxy", f"{f.web.port}=web", "--identity", f.dialer)
    path = f.write("t.yaml", "identity: gone.json\n" + rule)
    refused(f, FAILED, "gone.json", "weft-tunneler", "check-config", "-c", path)
    for good in (f.dialer, f.path("web-dial.jwt")):
        done = f.run("weft-tunneler", "check-config", "-c", path, "--identity", good)
        check(done.code == OK, done)
    refused(f, FAILED, "nowhere.yaml", "weft-tunneler", "run", "-c", f.path("nowhere.yaml"))
    home = f.path("r1copy")
    shutil.copytree(f.path("r1"), home)
    for line, text in ((1, "lisen: x\n"), (2, "memory: 1MiB\nlisten: x:y\n"), (1, "memory: 3 bananas\n"), (1, "log_level: loud\n"), (1, "links_per_identity: 0\n")):
        f.write("r1copy/router.yaml", text)
        refused(f, USAGE, f"router.yaml:{line}: ", "weft-router", "check-config", "--home", home)


@step("an address where nobody could listen, or be found, is refused before anything is spent")
def _(f):
    for everywhere in ("0.0.0.0", "[::]:9338"):
        refused(f, USAGE, "not where to be found", "weft-controller", "init", "--home", f.path("lost"), "--address", everywhere)
    check(not os.path.exists(f.path("lost")), "a fabric was made")
    done = f.run("weft-controller", "init", "--home", f.path("here"))
    check("only this machine can reach 127.0.0.1:9338; give --address HOST for others" in done.out, done)
    done = f.run("weft-controller", "init", "--home", f.path("there"), "--address", "fabric.example.com")
    check("only this machine" not in done.out, done)
    token, home, port = f.path("r5.jwt"), f.path("r5"), free_port()
    f.admin("router", "create", "r5", "--token-out", token)
    refused(f, USAGE, "give an IP address", "weft-router", "enroll", token, "--home", home, "--listen", "r5.example.com:9339")
    refused(f, USAGE, "give an IP address", "weft-router", "check-config", "--home", f.path("r1"), "--listen", "r5.example.com:9339")
    refused(f, USAGE, "give an IP address", "weft-router", "run", "--home", f.path("r1"), "--listen", "r5.example.com:9339")
    f.write("spoilt.jwt", "abc")
    refused(f, CREDENTIAL, "token", "weft-router", "enroll", f.path("spoilt.jwt"), "--home", home, "--listen", "127.0.0.1:9")
    check(os.listdir(home) == [], "left:", os.listdir(home))
    f.must("weft-router", "enroll", token, "--home", home, "--listen", f"127.0.0.1:{port}")
    with open(f"{home}/router.yaml", encoding="utf-8") as file:
        check(file.read().count(f"127.0.0.1:{port}") == 2, "what it advertises is not where it listens")
    refused(f, FAILED, "there already", "weft-router", "enroll", token, "--home", home)
    with open(f"{home}/router.yaml", "w", encoding="utf-8") as file:
        file.write(f"listen: 127.0.0.1:{port}\nadvertise: [moved.example.com:9339]\n")
    router = f.start("moved", "weft-router", "run", "--home", home)
    router.says("advertise is told at enrollment only; another address means a new router")
    router.stop()
    f.admin("router", "disable", "r5")
    f.admin("router", "enable", "r5")
    f.admin("router", "reissue", "r5", "--token-out", f.path("r5b.jwt"))
    f.must("weft-router", "enroll", f.path("r5b.jwt"), "--home", f.path("r5b"), "--listen", f"127.0.0.1:{port}")
    refused(f, CREDENTIAL, "weft router reissue r5", "weft-router", "enroll", f.path("r5b.jwt"), "--home", f.path("r5c"))
    f.admin("router", "delete", "r5")


@step("what is there already is never overwritten")
def _(f):
    before = everything(f.folder)
    refused(f, FAILED, "there already", "weft-controller", "init", "--home", f.path("controller"))
    refused(f, FAILED, "there already", "weft-controller", "init", "--home", f.path("other"), "--admin-out", f.admin_file)
    refused(f, FAILED, "exists already", "weft", "enroll", f.path("web-dial.jwt"), "--out", f.dialer)
    refused(f, FAILED, "exists already", "weft", "share", "second", "--host-token", f.dialer, *f.as_admin)
    refused(f, FAILED, "exists already", "weft", "identity", "create", "second", "--token-out", f.dialer, *f.as_admin)
    refused(f, FAILED, "exists already", "weft", "router", "create", "r2", "--token-out", f.dialer, *f.as_admin)
    refused(f, FAILED, "there already", "weft-router", "enroll", f.path("r1.jwt"), "--home", f.path("r1"))
    refused(f, FAILED, "in use", "weft-controller", "run", "--home", f.path("controller"))
    refused(f, FAILED, "in use", "weft-controller", "admin", "--home", f.path("controller"), "--out", f.path("again.json"))
    after = everything(f.folder)
    moving = ("controller/", "r1/", ".log", "state/")  # what running programs write themselves
    changed = [
        path for path in before.keys() | after.keys()
        if before.get(path) != after.get(path) and not any(part in path[len(f.folder):] for part in moving)
    ]  # fmt: skip
    check(not changed, "changed or new:", changed)
    names = {row["name"] for row in json_lines(f.admin("service", "list", "--json").out)}
    check(names == {"web"}, "the controller made what the command could not hand over:", names)
    saw(len(before), "files as before")


@step("a folder that can't be written costs no token and leaves nothing half-written")
def _(f):
    shut = f.path("shut")
    os.mkdir(shut)
    token = f.path("careful.jwt")
    f.admin("identity", "create", "careful", "--token-out", token)
    if os.geteuid() == 0:  # root may write everywhere: become somebody else
        os.chmod(f.folder, 0o755)
        os.chown(token, 65534, 65534)
        os.chown(shut, 65534, 65534)
        nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"]
        run = lambda *args: f.run("setpriv", *nobody, f.words("weft", [])[0], *args)
    else:
        run = f.weft
    os.chmod(shut, 0o500)
    done = run("enroll", token, "--out", f"{shut}/careful.json")
    check(done.code == FAILED and shut in done.error, done)
    saw(done.error.replace(f.folder, "~"))
    check(os.listdir(shut) == [], "left:", os.listdir(shut))
    # a token in the place of an identity: its folder can't be written either
    there = f.path("shut2")
    os.mkdir(there)
    shutil.copy(token, f"{there}/careful.jwt")
    if os.geteuid() == 0:
        os.chown(f"{there}/careful.jwt", 65534, 65534)
        os.chown(there, 65534, 65534)
    os.chmod(there, 0o500)
    done = run("post", "web", "/", "--identity", f"{there}/careful.jwt")
    check(done.code == FAILED and there in done.error, done)
    saw(done.error.replace(f.folder, "~"))
    check(os.listdir(there) == ["careful.jwt"], "left:", os.listdir(there))
    os.chmod(shut, 0o700)
    done = run("enroll", token, "--out", f"{shut}/careful.json")
    check(done.code == OK, "the token must still be good:", done)
    os.chmod(there, 0o700)
    refused(f, FAILED, "/nowhere/", "weft", "identity", "create", "lost", "--token-out", "/nowhere/lost.jwt", *f.as_admin)
    refused(f, FAILED, "no identity", "weft", "identity", "show", "lost", *f.as_admin)


@step("policy says no: status 3")
def _(f):
    refused(f, POLICY, "no bind policy matches", "weft", "explain", "web-dialer", "web", "--bind", *f.as_admin)
    check(f.weft("explain", "web-dialer", "web", *f.as_admin).code == OK, "explain must say yes")
    f.admin("service", "create", "other")
    unknown = refused(f, POLICY, "not permitted, or there is no such service", "weft", "post", "never-made", "/", "--identity", f.dialer)
    forbidden = refused(f, POLICY, "not permitted, or there is no such service", "weft", "post", "other", "/", "--identity", f.dialer)
    check(
        unknown.error.replace("never-made", "X") == forbidden.error.replace("other", "X"),
        "unknown and forbidden can be told apart:", unknown.error, forbidden.error,
    )  # fmt: skip
    refused(f, POLICY, "no such service", "weft", "dial", "other", "--identity", f.dialer)
    refused(f, POLICY, "is it an administrator? (weft admin list)", "weft", "identity", "list", "--identity", f.dialer)
    for operation in (["share", "mine"], ["admin", "add", "web-dialer"], ["allow", "all", "dial", "all"], ["router", "create", "r9"]):
        done = f.run("weft", *operation, "--identity", f.dialer)
        check(done.code == POLICY, done)
    saw("and nothing of the administration is open to it")


@step("not reachable is status 4")
def _(f):
    refused(f, UNREACHABLE, "connection refused", "weft", "login", "127.0.0.1:1", *f.as_admin)
    f.share("empty")
    f.enroll(f.path("empty-dial.jwt"))
    refused(f, UNREACHABLE, "no host is bound", "weft", "post", "empty", "/", "--identity", f.path("empty-dial.json"))
    refused(f, UNREACHABLE, "no host is bound", "weft", "dial", "empty", "--identity", f.path("empty-dial.json"))
    f.serve("away", free_port())
    refused(f, UNREACHABLE, "does not answer", "weft", "post", "away", "/", "--identity", f.path("away-dial.json"))


@step("a credential that is spent is status 5")
def _(f):
    refused(f, CREDENTIAL, "already used", "weft", "enroll", f.path("web-dial.jwt"), "--out", f.path("again.json"))
    refused(f, CREDENTIAL, "is no enrollment token but an identity", "weft", "enroll", f.dialer)
    f.write("not.jwt", "abc")
    refused(f, CREDENTIAL, "token", "weft", "enroll", f.path("not.jwt"))
    refused(f, CREDENTIAL, "", "weft", "enroll", f.write("empty.jwt", ""))
    refused(f, USAGE, "not a router", "weft-router", "enroll", f.path("web-dial.jwt"), "--home", f.path("r8"))
    late = faked("+91d")
    refused(f, CREDENTIAL, "expired", "weft", "post", "web", "/", "--identity", f.dialer, env=late)
    refused(f, CREDENTIAL, "clock", "weft", "post", "web", "/", "--identity", f.dialer, env=faked("-1d"))
    f.admin("identity", "disable", "web-dialer")
    refused(f, CREDENTIAL, ["router r1 says that web-dialer was disabled", "can enable it"], "weft", "post", "web", "/", "--identity", f.dialer)
    refused(f, CREDENTIAL, ["router r1 says that web-dialer was disabled", "can enable it"], "weft", "dial", "web", "--identity", f.dialer)
    refused(f, CREDENTIAL, "disabled", "weft", "status", "--identity", f.dialer)
    router = f.path("r1", "router.json")
    refused(f, USAGE, "router.json is the identity of router r1; give one of weft enroll", "weft", "dial", "web", "--identity", router)
    refused(f, CREDENTIAL, "disabled", "weft", "renew", "--identity", f.dialer)
    f.admin("identity", "enable", "web-dialer")
    check(f.post("web", "/", f.dialer).code == OK, "enabled, it must work again")
    for left in ("again.json", "not.json", "empty.json"):
        check(not os.path.exists(f.path(left)), left, "was written")


@step("doctor says what to mend")
def _(f):
    def doctor(*words, identity=f.dialer, code=FAILED, env=None):
        done = f.run("weft", "doctor", *(("--identity", identity) if identity else ()), env=env)
        check(done.code == code and done.out.endswith("services are tried by: weft status\n"), done)
        for word in words:
            check(word in done.out, f"says nothing of {word!r}:", done)
        return done

    doctor("ok    clock\n", "ok    router r1: answers", code=OK)
    late = doctor("look expired, both", "is this machine's clock right?", env=faked("+400d"))
    check(late.out.count("BAD") == 1, "the clock explains the rest:", late)
    f.must("weft", "login", f"127.0.0.1:{f.control}", *f.as_admin)
    doctor("note  grants: none", identity=None, code=OK)
    os.remove(f.path("config", "weft", "login.json"))
    doctor("BAD   grants: none", identity=f.admin_file)
    f.admin("identity", "disable", "web-dialer")
    told = "web-dialer was disabled, or its key revoked: an administrator can enable it"
    doctor(f"BAD   controller: {told}", f"BAD   router r1: {told}")
    f.admin("identity", "enable", "web-dialer")


@step("no answer in time is status 6")
def _(f):
    mute = Tcp(lambda connection: time.sleep(20))
    f.serve("mute", mute.port)
    done = refused(f, TIMED_OUT, "--timeout", "weft", "post", "mute", "/", "--timeout", "1s", "--identity", f.path("mute-dial.json"))
    check(0.9 < done.seconds < 3, f"after {done.seconds:.1f} s")


@step("--json is JSON, and nothing else on stdout")
def _(f):
    for words in (
        "identity list", "service list", "policy list", "router list", "admin list", "session list",
        "identity show web-dialer", "service show web", "policy show web-dial", "router show r1",
        "explain web-dialer web",
    ):  # fmt: skip
        rows = json_lines(f.admin(*words.split(), "--json").out)
        check(all(isinstance(row, dict) for row in rows), words)
        check(rows or words == "session list", words, "is empty")
    json_lines(f.weft("status", "--json", "--identity", f.dialer).out)
    done = f.weft("explain", "web-dialer", "empty", "--json", *f.as_admin)
    check(done.code == POLICY and json_lines(done.out)[0]["allowed"] is False, done)
    for words in (
        "identity create j --token-out j.jwt", "router create j --token-out jr.jwt", "service create j", "share js",
        "allow j dial j", "identity update j --roles a,b", "identity disable j", "identity enable j", "disallow j dial j",
        "identity delete j", "service delete j", "router delete j",
        "policy create p --type dial --identity-roles role:ci --service-roles web", "policy delete p",
    ):  # fmt: skip
        out = f.admin(*words.split(), "--json").out
        json_lines(out)
        check("eyJ" not in out, words, "prints a token that went into a file")
    check(f.read("j.jwt").startswith("eyJ"), "the token's file")
    made = json_lines(f.admin("identity", "create", "j2", "--json").out)[0]
    check(made["token"].startswith("eyJ"), "without --token-out the token is in the JSON")


@step("what is gone is said to be gone, and a policy that matches nothing to match nothing")
def _(f):
    policy = ["--type", "dial", "--identity-roles", "role:g1,role:g2", "--semantic", "allOf", "--service-roles", "web"]
    f.admin("identity", "create", "g", "--roles", "g1", "--token-out", f.path("g.jwt"))
    done = f.admin("policy", "create", "pg", *policy)
    check(done.err == "note: it matches no identity as things stand\n" and "pg" in done.out, done)
    done = f.admin("policy", "update", "pg", "--semantic", "anyOf")
    check(done.err == "", done)
    done = f.admin("policy", "update", "pg", "--service-roles", "role:none")
    check(done.err == "note: it matches no service as things stand\n", done)
    f.admin("allow", "g", "dial", "web")
    f.admin("admin", "add", "g")
    for words in ("disallow g dial web", "policy delete pg", "admin remove g", "identity delete g"):
        done = f.admin(*words.split())
        check(done.out == "" and done.err == f"gone: {words.split(' ', 1 if words.startswith('dis') else 2)[-1]}\n", done)


@step("no log holds a token or a key")
def _(f):
    f.admin("identity", "create", "quiet", "--token-out", f.path("quiet.jwt"))
    f.must("weft", "enroll", f.path("quiet.jwt"), "--log-level", "debug")
    secrets = [f.read(name).strip().rsplit(".", 1)[1] for name in os.listdir(f.folder) if name.endswith(".jwt") and f.read(name).count(".") == 2]
    for name in os.listdir(f.folder):
        if name.endswith(".json") and name not in ("bad.json",):
            key = json.loads(f.read(name)).get("key", "")
            if "PRIVATE" in key:
                secrets.append(key.split("\n")[1])
    check(len(secrets) > 8, "too few secrets to look for", len(secrets))
    size = 0
    for name, text in f.logs():
        size += len(text)
        for secret in secrets:
            check(secret not in text, name, "holds a secret")
        check("PRIVATE KEY" not in text and "eyJ" not in text, name, "holds a secret")
    saw(len(secrets), "secrets are in none of", size, "bytes of logs")


main(Stage)
