#!/usr/bin/env python3
"""Policy beyond roles: hours, sources, what is attested, limits of a service; and acts that are only tried."""

import json
import platform
import socket
import time

from e2e import FAILED, OK, POLICY, USAGE, Fabric, Tcp, check, echo, main, saw, step, until

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Stage(Fabric):
    def __init__(self):
        super().__init__()
        self.server = Tcp(echo)
        token = self.path("host.jwt")
        self.admin("service", "create", "desk")
        self.admin("identity", "create", "host", "--token-out", token)
        self.admin("identity", "create", "ann", "--roles", "staff", "--token-out", self.path("ann.jwt"))
        self.admin("allow", "host", "bind", "desk")
        self.admin("policy", "create", "office", "--type", "dial", "--identity-roles", "role:staff", "--service-roles", "desk")
        self.ann = self.enroll(self.path("ann.jwt"))
        self.tunneler = self.host("desk", self.server.port, token)

    def dial(self):
        return self.weft("dial", "desk", "--identity", self.ann, "--timeout", "5s", stdin=b"hello\n")

    def becomes(self, code, seconds=10):
        begun = time.monotonic()
        last = []

        def there():
            last[:] = [self.dial()]
            return last[0].code == code

        until(f"a dial to end with {code}", there, seconds)
        return last[0], time.monotonic() - begun

    def explain(self, *facts):
        return self.weft("explain", "ann", "desk", *facts, "--identity", self.admin_file)

    def update(self, *words):
        self.admin("policy", "update", "office", *words)

    def show(self, noun, name):
        return json.loads(self.admin(noun, "show", name, "--json").out)


def day_away():
    """A window of the week that is closed now and for hours to come, and a time within it."""
    then = time.gmtime(time.time() + 2 * 86400)
    return f"{DAYS[then.tm_wday]} 00:00-24:00", time.strftime("%Y-%m-%dT12:00:00Z", then)


@step("conditions and limits are stored, shown, and taken away again")
def _(f):
    f.update("--hours", "mon-fri 08:00-18:00", "--hours", "sat 10:00-12:00", "--source", "10.0.0.0/8", "--os", "linux", "--os-version-min", "5.10")
    shown = f.show("policy", "office")
    check(shown["windows"] == ["mon-fri 08:00-18:00", "sat 10:00-12:00"], shown)
    check(shown["sources"] == ["10.0.0.0/8"] and shown["os"] == ["linux"] and shown["os_version_min"] == "5.10", shown)
    f.admin("service", "update", "desk", "--max-sessions", "5", "--max-sessions-per-identity", "2", "--idle", "10m", "--max-age", "8h")
    limits = f.show("service", "desk")["limits"]
    check(limits == {"sessions": 5, "sessions_per_identity": 2, "idle": 600, "max_age": 28800}, limits)
    f.admin("service", "update", "desk", *sum(([flag, "0"] for flag in ("--max-sessions", "--max-sessions-per-identity", "--idle", "--max-age")), []))
    check(f.show("service", "desk")["limits"] == {}, "limits stay")
    f.update("--hours", "any", "--source", "any", "--os", "any", "--os-version-min", "any")
    shown = f.show("policy", "office")
    check(not {"windows", "sources", "os", "os_version_min"} & set(shown), shown)
    saw("set, shown, unset")


@step("a condition that is none is refused in one line")
def _(f):
    for words in (
        ("--hours", "mon 8-18"),
        ("--hours", "someday 08:00-18:00"),
        ("--source", "10.0.0.1/8"),
        ("--source", "10.0.0.0/33"),
        ("--os", "any thing"),
        ("--os-version-min", "five"),
    ):
        done = f.weft("policy", "update", "office", *words, "--identity", f.admin_file)
        check(done.code == USAGE and len(done.err.strip().splitlines()) == 1, done)
        saw(done.error)


@step("explain names the conditions, and judges the facts it is given")
def _(f):
    hours, within = day_away()
    f.update("--hours", hours, "--source", "10.0.0.0/8", "--os", "linux", "--os-version-min", "5.10")
    done = f.explain()
    check(done.code == OK and f"between {hours} UTC from 10.0.0.0/8 where os is linux and os_version_min is 5.10" in done.out, done)
    saw(done.out.strip())
    done = f.explain("--at", within, "--from", "10.1.2.3", "--os", "linux", "--os-version", "6.1.0-18-amd64")
    check(done.code == OK and "between" not in done.out, done)
    for facts, words in (
        (("--at", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())), (hours, "not at")),
        (("--from", "192.0.2.7"), ("10.0.0.0/8", "not from 192.0.2.7")),
        (("--os", "plan9", "--os-version", "9"), ("os linux", "plan9")),
        (("--os", "linux", "--os-version", "5.9.16"), ("os_version_min 5.10", "5.9.16")),
    ):
        done = f.explain(*facts)
        check(done.code == POLICY and all(word in done.error for word in ("office", *words)), done)
        saw(done.error)
    f.update("--hours", "any", "--source", "any", "--os", "any", "--os-version-min", "any")


@step("what is attested decides: who runs another system gets no grant")
def _(f):
    f.becomes(OK)
    f.update("--os", platform.system().lower(), "--os-version-min", "2.6")
    _, seconds = f.becomes(OK)
    saw(f"with the system it runs, let in {seconds:.1f} s later")
    f.update("--os", "plan9", "--os-version-min", "any")
    done, _ = f.becomes(POLICY)
    saw(done.error)
    f.update("--os", "any")
    _, seconds = f.becomes(OK)
    saw(f"without the condition, let in {seconds:.1f} s later")


@step("outside of its hours a policy lets nobody in")
def _(f):
    hours, _ = day_away()
    f.update("--hours", hours)
    done, _ = f.becomes(POLICY)
    saw(done.error)
    f.update("--hours", "daily 00:00-24:00")
    f.becomes(OK)
    f.update("--hours", "any")
    f.becomes(OK)


@step("from elsewhere than its sources a policy lets nobody in")
def _(f):
    f.update("--source", "10.99.0.0/16")
    done, _ = f.becomes(POLICY)
    saw(done.error)
    f.update("--source", "10.99.0.0/16", "--source", "127.0.0.0/8")
    f.becomes(OK)
    f.update("--source", "any")
    f.becomes(OK)


@step("a dry run says what it would withdraw and allow, and changes nothing")
def _(f):
    f.becomes(OK)
    done = f.admin("policy", "delete", "office", "--dry-run")
    check("withdraw 1 permission" in done.out and "ann dial desk" in done.out, done)
    saw(done.out.strip().replace("\n", "; "))
    done = json.loads(f.admin("policy", "update", "office", "--identity-roles", "role:ghosts", "--dry-run", "--json").out)
    check(done["dry_run"] is True and done["withdraws"]["count"] == 1 and done["allows"] == 0, done)
    done = json.loads(f.admin("allow", "host", "dial", "desk", "--dry-run", "--json").out)
    check(done["allows"] == 1 and done["withdraws"]["count"] == 0, done)
    done = json.loads(f.admin("identity", "create", "eve", "--dry-run", "--json").out)
    check("token" not in done and done["name"] == "eve", done)
    done = f.weft("identity", "show", "eve", "--identity", f.admin_file)
    check(done.code == FAILED, done)
    done = f.admin("identity", "disable", "ann", "--dry-run")
    check("withdraw 1 permission" in done.out, done)
    check(f.dial().code == OK and f.show("policy", "office")["identity_roles"] == ["#staff"], "a dry run changed something")
    acts = [line for line in f.controller.said().splitlines() if "administrator" in line and ("eve" in line or "policy.delete" in line)]
    check(not acts, acts)


def converse(port, count, pause):
    """Says a word and hears it `count` times; the number that came back before the end."""
    heard = 0
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.settimeout(10)
        try:
            for _ in range(count):
                connection.sendall(b"word\n")
                if not connection.recv(64):
                    break
                heard += 1
                time.sleep(pause)
        except OSError:
            pass
    return heard


@step("a service's limits hold: so many sessions, so long without a byte, so old")
def _(f):
    f.becomes(OK)
    proxy, port = f.proxy("desk", f.ann)
    check(converse(port, 3, 0) == 3, "no session without limits")

    f.admin("service", "update", "desk", "--max-sessions", "1")
    f.becomes(OK)
    with socket.create_connection(("127.0.0.1", port), 10) as held:
        held.settimeout(10)

        def is_held():
            held.sendall(b"here\n")
            return held.recv(64) == b"here\n"

        check(is_held(), "not even one session")
        until("a dial to be turned away", lambda: f.dial().code != OK, 10)
        done = f.dial()
        check("as many as policy allows" in done.error and len(done.err.strip().splitlines()) == 1, done)
        saw(done.error)
        check(is_held(), "the one that was there is gone")
    f.becomes(OK)
    f.admin("service", "update", "desk", "--max-sessions", "0", "--idle", "2s")
    f.becomes(OK)
    time.sleep(1)  # until the tunnelers hold grants with the new limits

    def cut(word, count, pause):
        begun = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.settimeout(15)
            try:
                for _ in range(count):
                    connection.sendall(b"word\n")
                    if not connection.recv(64):
                        break
                    time.sleep(pause)
                while connection.recv(64):
                    pass
            except OSError:
                pass
        seconds = time.monotonic() - begun
        saw(f"{word}: ended after {seconds:.1f} s")
        return seconds

    check(1.5 < cut("idle", 1, 0) < 9, "idle")
    for tunneler in (f.tunneler, proxy):
        until(f"{tunneler.name} to say why", lambda: "was idle for 2.000 s, no longer by policy" in tunneler.said())
    f.admin("service", "update", "desk", "--idle", "0", "--max-age", "3s")
    f.becomes(OK)
    time.sleep(1)
    check(2 < cut("age", 40, 0.25) < 9, "age")
    for tunneler in (f.tunneler, proxy):
        until(f"{tunneler.name} to say why", lambda: "greatest age: 3.000 s, by policy" in tunneler.said())
    f.admin("service", "update", "desk", "--max-age", "0")
    f.becomes(OK)


main(Stage)
