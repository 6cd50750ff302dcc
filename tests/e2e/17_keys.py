#!/usr/bin/env python3
"""Keys of every kind and in every place: inside the identity, in a file, under a passphrase, in a PKCS#11 token."""

import glob
import json
import os
import shutil
import subprocess

from e2e import BIN, CREDENTIAL, OK, USAGE, Fabric, Skip, Web, check, free_port, main, saw, step, until

MODULE = next(iter(glob.glob("/usr/lib/softhsm/libsofthsm2.so") + glob.glob("/usr/lib/*/softhsm/libsofthsm2.so")), None)
PIN = "271828"


class Keys(Fabric):
    def __init__(self):
        super().__init__(routers=1)
        self.web = Web()
        self.count = 0
        if MODULE is None:
            return
        os.mkdir(self.path("tokens"))
        self.write("softhsm2.conf", f"directories.tokendir = {self.path('tokens')}\nlog.level = ERROR\n")
        self.env.update(SOFTHSM2_CONF=self.path("softhsm2.conf"), WEFT_PKCS11_MODULE=MODULE)
        if "asan" in subprocess.run(["ldd", os.path.join(BIN, "weft")], capture_output=True, text=True, check=True).stdout:
            # What the engine and the module keep to the end of the process isn't ours to free.
            self.write("lsan.supp", "leak:libsofthsm2\nleak:pkcs11.so\nleak:libp11\nleak:p11-kit\nleak:ENGINE_\n")
            self.env["LSAN_OPTIONS"] = f"suppressions={self.path('lsan.supp')}:print_suppressions=0"
        self.must("softhsm2-util", "--init-token", "--free", "--label", "weft", "--pin", PIN, "--so-pin", "31415926")
        self.pin = self.write("pin", PIN + "\n")

    def tool(self, *args):
        return self.must("pkcs11-tool", "--module", MODULE, "--token-label", "weft", "--login", "--pin", PIN, *args)

    def token_key(self, label, curve="prime256v1"):
        if MODULE is None:
            raise Skip("there is no softhsm2")
        self.count += 1
        self.tool("--keypairgen", "--key-type", f"EC:{curve}", "--label", label, "--id", f"{self.count:02x}", "--usage-sign", "--usage-derive")
        return f"pkcs11:token=weft;object={label}?pin-source=file:{self.pin}"

    def identity(self, name, *args, env=None):
        token = self.path(f"{name}.jwt")
        self.admin("identity", "create", name, "--roles", "keys", "--token-out", token)
        out = self.path(f"{name}.json")
        done = self.weft("enroll", token, "--out", out, *args, env=env)
        return out, done

    def deliver(self, service, identity, env=None):
        return self.post(service, "/", identity, "--data", "x", env=env)

    def whole_path(self, word, host_args, dial_args, env=None):  # env: the dialer's
        """A host and a dialer with such keys: bound, dialed, renewed, and delivered again."""
        service = f"s-{word}"
        self.admin("service", "create", service)
        host, done = self.identity(f"{word}-host", *host_args)
        check(done.code == OK, done)
        dial, done = self.identity(f"{word}-dial", *dial_args, env=env)
        check(done.code == OK, done)
        self.admin("allow", f"{word}-host", "bind", service)
        self.admin("allow", f"{word}-dial", "dial", service)
        tunneler = self.start(f"t-{word}", "weft-tunneler", "host", f"{service}=127.0.0.1:{self.web.port}", "--identity", host)
        tunneler.says(f"{service} is bound on ")
        done = self.deliver(service, dial, env)
        check(done.code == OK and done.out == "hello\n", done)
        before = json.load(open(dial, encoding="utf-8"))
        done = self.weft("renew", "--identity", dial, env=env)
        check(done.code == OK, done)
        after = json.load(open(dial, encoding="utf-8"))
        check(before["certificate"] != after["certificate"], "the certificate is the old one")
        if "ENCRYPTED" not in before["key"]:
            check(before["key"] == after["key"], "the key is another")
        done = self.deliver(service, dial, env)
        check(done.code == OK, done)
        return tunneler, host, dial, service


@step("P-256, P-384 and Ed25519 inside the file: bound, dialed, renewed")
def _(fabric):
    for kind in ("p256", "p384", "ed25519"):
        tunneler, _host, dial, _service = fabric.whole_path(kind, ["--key-kind", kind], ["--key-kind", kind])
        check("BEGIN PRIVATE KEY" in fabric.read(dial), "the key is not inside")
        tunneler.stop()
    saw("three kinds went the whole path")


@step("a router with each kind of key, and with one in a file under a passphrase")
def _(fabric):
    passphrase = fabric.write("router-passphrase", "router horse battery\n")
    for name, args, env in (
        ("r-p384", ["--key-kind", "p384"], {}),
        ("r-ed25519", ["--key-kind", "ed25519"], {}),
        ("r-file", ["--key", f"file:{fabric.path('router.pem')}", "--key-passphrase-file", passphrase], {"WEFT_KEY_PASSPHRASE_FILE": passphrase}),
    ):
        fabric.ports[name] = free_port()
        token = fabric.path(f"{name}.jwt")
        fabric.admin("router", "create", name, "--token-out", token)
        fabric.must("weft-router", "enroll", token, "--home", fabric.path(name), "--listen", f"127.0.0.1:{fabric.ports[name]}", *args)
        router = fabric.start(name, "weft-router", "run", "--home", fabric.path(name), env=env)
        until(name, lambda: fabric.up(router, fabric.ports[name]))
        until(f"{name} to be online", lambda: json.loads(fabric.admin("router", "show", name, "--json").out)["online"])
        router.stop()
    check("ENCRYPTED" in fabric.read("router.pem"), "the router's key is in clear")
    done = fabric.run("weft-router", "run", "--home", fabric.path("r-file"))
    check(done.code == CREDENTIAL and "WEFT_KEY_PASSPHRASE_FILE" in done.error, done)
    saw(done.error)


@step("a key in a file is made, found beside the identity, and refused when others may read it")
def _(fabric):
    os.mkdir(fabric.path("sub"))
    token = fabric.path("filed.jwt")
    fabric.admin("identity", "create", "filed", "--token-out", token)
    out = fabric.path("sub", "filed.json")
    # Typed relative to the working directory, though the identity lies elsewhere.
    fabric.must("weft", "enroll", token, "--out", "sub/filed.json", "--key", "file:filed.pem")
    check(os.stat(fabric.path("filed.pem")).st_mode & 0o777 == 0o600, "the key is open")
    check("PRIVATE" not in fabric.read("sub/filed.json"), "the key is inside, too")
    done = fabric.weft("renew", "--identity", out)
    check(done.code == OK, done)
    os.chmod(fabric.path("filed.pem"), 0o644)
    done = fabric.weft("renew", "--identity", out)
    check(done.code == CREDENTIAL, done)
    saw(done.error)


@step("a key under a passphrase opens with its file alone, and stays sealed when renewed")
def _(fabric):
    passphrase = fabric.write("passphrase", "correct horse battery\n")
    env = {"WEFT_KEY_PASSPHRASE_FILE": passphrase}
    tunneler, _host, dial, service = fabric.whole_path("sealed", [], [], env=env)
    tunneler_key = json.loads(fabric.read("sealed-dial.json"))["key"]
    check("BEGIN ENCRYPTED PRIVATE KEY" in tunneler_key, "the key is in clear after the renewal")
    for name in os.listdir(fabric.folder):
        if name.startswith("sealed-dial") and os.path.isfile(fabric.path(name)):
            check(b"BEGIN PRIVATE KEY" not in open(fabric.path(name), "rb").read(), f"{name} holds a key in clear")
    done = fabric.deliver(service, dial)
    check(done.code == CREDENTIAL and "WEFT_KEY_PASSPHRASE_FILE" in done.error, done)
    saw(done.error)
    wrong = fabric.write("wrong", "another passphrase\n")
    done = fabric.deliver(service, dial, {"WEFT_KEY_PASSPHRASE_FILE": wrong})
    check(done.code == CREDENTIAL and "passphrase" in done.error, done)
    saw(done.error)
    tunneler.stop()


@step("P-256 and P-384 in a PKCS#11 token: bound, dialed, renewed, and nothing of the key is on disk")
def _(fabric):
    for curve, word in (("prime256v1", "hsm256"), ("secp384r1", "hsm384")):
        host = fabric.token_key(f"{word}-host", curve)
        dial = fabric.token_key(f"{word}-dial", curve)
        tunneler, _host, path, _service = fabric.whole_path(word, ["--key", host], ["--key", dial])
        check(json.loads(open(path, encoding="utf-8").read())["key"] == dial, "the identity names another key")
        check("PRIVATE" not in open(path, encoding="utf-8").read(), "a private key is in the file")
        if word != "hsm256":
            tunneler.stop()
    saw("two curves went the whole path")


@step("the PIN may come from WEFT_PKCS11_PIN_FILE, and never from the URI or a question")
def _(fabric):
    fabric.token_key("bare")
    uri = "pkcs11:token=weft;object=bare"
    out, done = fabric.identity("bare", "--key", uri, env={"WEFT_PKCS11_PIN_FILE": fabric.pin})
    check(done.code == OK, done)
    done = fabric.weft("renew", "--identity", out, env={"WEFT_PKCS11_PIN_FILE": fabric.pin})
    check(done.code == OK, done)
    done = fabric.weft("renew", "--identity", out)
    check(done.code == CREDENTIAL and "pin-source" in done.error and len(done.err.strip().splitlines()) == 1, done)
    saw(done.error)
    _out, done = fabric.identity("bare2", "--key", uri + "?pin-value=" + PIN)
    check(done.code == USAGE and "PIN" in done.error and PIN not in done.error, done)
    saw(done.error)


@step("a wrong PIN, a key that isn't there and a module that isn't there are one line each")
def _(fabric):
    fabric.token_key("lines")
    wrong = fabric.write("wrong-pin", "999999\n")
    cases = (
        (f"pkcs11:token=weft;object=lines?pin-source=file:{wrong}", {}, "PIN"),
        (f"pkcs11:token=weft;object=none?pin-source=file:{fabric.pin}", {}, "pkcs11-tool"),
        (f"pkcs11:token=gone;object=lines?pin-source=file:{fabric.pin}", {}, "is the token there"),
        (f"pkcs11:token=weft;object=lines?pin-source=file:{fabric.path('no-such-pin')}", {}, "no-such-pin"),
        (f"pkcs11:token=weft;object=lines?pin-source=file:{fabric.pin}", {"WEFT_PKCS11_MODULE": "/no/such/module.so"}, "WEFT_PKCS11_MODULE"),
    )
    for number, (uri, env, word) in enumerate(cases):
        out, done = fabric.identity(f"lines{number}", "--key", uri, env=env)
        check(done.code == CREDENTIAL and word in done.error, done)
        check(len(done.err.strip().splitlines()) == 1, done)
        check(not os.path.exists(out), "an identity was written")
        saw(done.error)


@step("a router with its key in the token")
def _(fabric):
    uri = fabric.token_key("router")
    name = "r-token"
    fabric.ports[name] = free_port()
    token = fabric.path(f"{name}.jwt")
    fabric.admin("router", "create", name, "--token-out", token)
    fabric.must("weft-router", "enroll", token, "--home", fabric.path(name), "--listen", f"127.0.0.1:{fabric.ports[name]}", "--key", uri)
    fabric.start_router(name)
    until("it to be online", lambda: json.loads(fabric.admin("router", "show", name, "--json").out)["online"])
    fabric.routers["r1"].stop()
    tunneler, _host, _dial, _service = fabric.whole_path("over", [], [])
    tunneler.stop()
    fabric.start_router("r1")
    saw("a delivery went over it alone")


@step("the controller's keys are sealed with a key in the token, and open with that one alone")
def _(fabric):
    uri, other = fabric.token_key("seal"), fabric.token_key("other")
    home = fabric.path("sealed-home")
    fabric.must("weft-controller", "init", "--home", home, "--seal-key", uri)
    done = fabric.must("weft-controller", "check-config", "--home", home)
    check("object=seal" in done.out and PIN not in done.out, done)
    done = fabric.run("weft-controller", "check-config", "--home", home, "--seal-key", other)
    check(done.code == CREDENTIAL and "doesn't open" in done.error, done)
    saw(done.error)
    fabric.must("weft-controller", "seal", "--home", home, "--to", other)
    fabric.must("weft-controller", "check-config", "--home", home)


@step("a token that is taken away while a program runs breaks nothing that is up, and is said in one line")
def _(fabric):
    if MODULE is None:
        raise Skip("there is no softhsm2")
    ready = lambda: fabric.deliver("s-hsm256", fabric.path("hsm256-dial.json")).code == OK  # noqa: E731
    until("the host to be bound to the router that was restarted", ready, pause=0.5)
    shutil.move(fabric.path("tokens"), fabric.path("away"))
    os.mkdir(fabric.path("tokens"))
    done = fabric.deliver("s-hsm256", fabric.path("hsm256-dial.json"))
    check(done.code == CREDENTIAL and len(done.err.strip().splitlines()) == 1, done)
    saw(done.error)
    shutil.rmtree(fabric.path("tokens"))
    shutil.move(fabric.path("away"), fabric.path("tokens"))
    until("a delivery", ready, pause=0.5)
    check(all(p.running() for p in fabric.processes if p.name in ("t-hsm256", "r-token")), "a program died")


main(Keys)
