#!/usr/bin/env python3
"""The ways to enroll beside a one-time token: a certificate of an own authority, and a token of an OIDC issuer."""

import base64
import http.server
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.request

from e2e import CREDENTIAL, OK, POLICY, UNREACHABLE, USAGE, Fabric, Web, check, faked, free_port, main, saw, step, until

ISSUER = "https://token.actions.githubusercontent.com"
EXTENSIONS = """
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost,IP:127.0.0.1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Ways(Fabric):
    def __init__(self):
        super().__init__()
        self.write("x509.cnf", EXTENSIONS)
        self.authority("corp")
        self.authority("other")
        self.serials = 100

    def openssl(self, *args, stdin=b""):
        done = subprocess.run(["openssl", *map(str, args)], cwd=self.folder, input=stdin, capture_output=True, check=False)
        check(done.returncode == 0, "openssl", *args, done.stderr.decode())
        return done.stdout

    def key(self, name, kind="EC"):
        options = ["-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "EC" else ["-pkeyopt", "rsa_keygen_bits:2048"]
        self.openssl("genpkey", "-algorithm", kind, *options, "-out", self.path(f"{name}.key"))
        os.chmod(self.path(f"{name}.key"), 0o600)

    def authority(self, name, kind="EC"):
        self.key(name, kind)
        self.openssl(
            "req", "-new", "-x509", "-key", f"{name}.key", "-subj", f"/CN={name} authority", "-days", 30, "-out",
            f"{name}.pem", "-config", "x509.cnf", "-extensions", "ca",
        )  # fmt: skip

    def certificate(self, name, cn, by="corp", days=5, section="leaf", new_key=True):
        self.serials += 1
        if new_key:
            self.key(name)
        self.openssl("req", "-new", "-key", f"{name}.key", "-subj", "/CN=" + cn.replace("/", "\\/"), "-out", f"{name}.csr")
        self.openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-set_serial", self.serials,
            "-days", days, "-extfile", "x509.cnf", "-extensions", section, "-out", f"{name}.pem",
        )  # fmt: skip

    def vouched(self, token, certificate, out, *more, **kw):
        return self.weft(
            "enroll", self.path(token), "--ca-cert", self.path(f"{certificate}.pem"), "--ca-key",
            self.path(f"{certificate}.key"), "--out", self.path(out), *more, **kw,
        )  # fmt: skip

    def identity(self, name):
        return json.loads(self.admin("identity", "show", name, "--json").out)

    def ends(self, name):
        """Of a certificate of ours, as the controller says it."""
        return self.identity(name)["expires"]

    # the issuer

    def issuer(self):
        self.key("issuer", "RSA")
        modulus = self.openssl("rsa", "-in", "issuer.key", "-noout", "-modulus").decode().strip().split("=")[1]
        self.jwks = {
            "keys": [
                {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "k1", "e": "AQAB", "n": b64(bytes.fromhex(modulus)),
                 "x5c": ["MII..."], "x5t": "xx"},
            ]
        }  # fmt: skip

    def token(self, header=None, key="issuer.key", **claims):
        """As GitHub Actions makes them."""
        now = int(time.time())
        body = {
            "jti": os.urandom(8).hex(), "sub": "repo:acme/shop:ref:refs/heads/main", "aud": "weft", "ref": "refs/heads/main",
            "sha": "0" * 40, "repository": "acme/shop", "repository_owner": "acme", "run_id": "4711", "run_attempt": "1",
            "actor": "mona", "event_name": "push", "ref_type": "branch", "iss": ISSUER, "nbf": now - 5, "exp": now + 300,
            "iat": now, **claims,
        }  # fmt: skip
        body = {name: value for name, value in body.items() if value is not None}
        head = {"typ": "JWT", "alg": "RS256", "x5t": "xx", "kid": "k1", **(header or {})}
        text = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(body).encode())}"
        return f"{text}.{b64(self.openssl('dgst', '-sha256', '-sign', key, stdin=text.encode()))}"

    def join(self, out, token, *more, **kw):
        return self.weft("enroll", self.path("gh.jwt"), "--oidc-token", "-", "--out", self.path(out), *more,
                         stdin=token.encode(), **kw)  # fmt: skip


@step("an authority vouches for nobody until its key was shown")
def _(f):
    f.certificate("w1", "worker-1")
    f.admin("ca", "add", "corp", "--cert", f.path("corp.pem"), "--auto", "--roles", "ci")
    done = f.weft("ca", "token", "corp", "--identity", f.admin_file)
    check(done.code != OK and "not verified" in done.error, done)
    done = f.weft("ca", "verify", "corp", "--key", f.path("other.key"), "--identity", f.admin_file)
    check(done.code == CREDENTIAL and "signature" in done.error, done)
    challenge = json.loads(f.admin("ca", "show", "corp", "--json").out)["challenge"]
    f.write("challenge", challenge)
    f.openssl("dgst", "-sha256", "-sign", "corp.key", "-out", "sig", "challenge")
    f.admin("ca", "verify", "corp", "--signature", f.path("sig"))
    check(json.loads(f.admin("ca", "show", "corp", "--json").out)["state"] == "verified", "state")
    f.admin("ca", "token", "corp", "--token-out", f.path("corp.jwt"))
    saw("a signature by openssl over the challenge verified it")


@step("a leaf, or one that may not sign, is no authority")
def _(f):
    done = f.weft("ca", "add", "leaf", "--cert", f.path("w1.pem"), "--identity", f.admin_file)
    check(done.code == CREDENTIAL and "CA:TRUE" in done.error, done)


@step("a certificate of the authority makes an identity with its roles, that ends with it")
def _(f):
    done = f.vouched("corp.jwt", "w1", "w1.json")
    check(done.code == OK, done)
    shown = f.identity("worker-1")
    check(shown["enroll"] == "ca" and shown["roles"] == ["#ci"], shown)
    end = f.openssl("x509", "-in", "w1.pem", "-noout", "-enddate").decode()
    saw("foreign", end.strip(), "- ours ends", shown["expires"])
    left = time.mktime(time.strptime(shown["expires"], "%Y-%m-%dT%H:%M:%SZ")) - time.mktime(time.gmtime())
    check(left <= 5 * 86400, shown, left)
    check(f.weft("status", "--identity", f.path("w1.json")).code == OK, "it can't be used")


@step("the same certificate gives the same identity, another one with its name is refused")
def _(f):
    first = f.identity("worker-1")["id"]
    check(f.vouched("corp.jwt", "w1", "w1b.json").code == OK, "again")
    check(f.identity("worker-1")["id"] == first, "another identity")
    f.certificate("w2", "worker-1")
    done = f.vouched("corp.jwt", "w2", "w2.json")
    check(done.code == CREDENTIAL and "another identity's" in done.error, done)


@step("what doesn't vouch is refused with one line")
def _(f):
    f.certificate("o1", "other-1", by="other")
    done = f.vouched("corp.jwt", "o1", "o1.json")
    check(done.code == CREDENTIAL and "foreign certificate is refused" in done.error, done)
    saw(done.error)
    f.certificate("s1", "server-1", section="server")
    done = f.vouched("corp.jwt", "s1", "s1.json")
    check(done.code == CREDENTIAL and "purpose" in done.error, done)
    f.certificate("spaced", "a b/c")
    check(f.vouched("corp.jwt", "spaced", "sp.json").code == OK, "escaped")
    check(f.identity("a_20b_2fc")["enroll"] == "ca", "its name")
    f.certificate("dotdot", "../x")
    done = f.vouched("corp.jwt", "dotdot", "dd.json")
    check(done.code == CREDENTIAL and "name made by the template" in done.error, done)
    done = f.weft("enroll", f.path("corp.jwt"), "--out", f.path("none.json"))
    check(done.code == USAGE and "--ca-cert" in done.error, done)


@step("ottca: the token alone is not enough, nor a certificate of another authority")
def _(f):
    f.admin("identity", "create", "bot", "--enroll", "ottca", "--ca", "corp", "--token-out", f.path("bot.jwt"))
    done = f.vouched("bot.jwt", "o1", "bot.json")
    check(done.code == CREDENTIAL, done)
    f.certificate("b1", "anything")
    check(f.vouched("bot.jwt", "b1", "bot.json").code == OK, "enroll")
    check(f.identity("bot")["enroll"] == "ottca", "method")
    done = f.vouched("bot.jwt", "b1", "bot2.json")
    check(done.code == CREDENTIAL and "used" in done.error, done)
    f.admin("identity", "reissue", "bot", "--token-out", f.path("bot-again.jwt"))
    check(f.vouched("bot-again.jwt", "b1", "bot3.json").code == OK, "reissued")


@step("renewal ends with the foreign certificate, and goes on with its successor")
def _(f):
    f.certificate("r1", "renewing", days=2)
    check(f.vouched("corp.jwt", "r1", "r1.json").code == OK, "enroll")
    before = f.ends("renewing")
    f.must("weft", "renew", "--identity", f.path("r1.json"))
    check(f.ends("renewing") <= before, before, f.ends("renewing"))
    f.certificate("r1", "renewing", days=6, new_key=False)
    f.must("weft", "renew", "--identity", f.path("r1.json"), "--ca-cert", f.path("r1.pem"), "--ca-key", f.path("r1.key"))
    check(f.ends("renewing") > before, before, f.ends("renewing"))
    saw("from", before, "to", f.ends("renewing"))


@step("a removed authority enrolls and renews nobody")
def _(f):
    f.admin("ca", "remove", "corp")
    f.certificate("w9", "worker-9")
    done = f.vouched("corp.jwt", "w9", "w9.json")
    check(done.code == CREDENTIAL and "removed" in done.error, done)
    done = f.weft("renew", "--identity", f.path("r1.json"))
    check(done.code == CREDENTIAL and "removed" in done.error, done)


@step("a job enrolls with its provider's token and no secret")
def _(f):
    f.issuer()
    f.write("jwks.json", json.dumps(f.jwks))
    f.admin(
        "oidc", "add", "github", "--issuer", ISSUER, "--audience", "weft", "--jwks", f.path("jwks.json"), "--claim",
        "repository == acme/shop", "--claim", "ref ~ refs/heads/*", "--roles", "ci", "--name-template",
        "{repository}:{run_id}", "--token-out", f.path("gh.jwt"),
    )  # fmt: skip
    web = Web(lambda request, body: (200, {}, b"taken\n"))
    f.serve("hook", web.port)
    f.admin("allow", "role:ci", "dial", "hook")
    done = f.join("job.json", f.token())
    check(done.code == OK, done)
    shown = f.identity("acme_2fshop_3a4711")
    check(shown["enroll"] == "oidc" and shown["roles"] == ["#ci"], shown)
    left = time.mktime(time.strptime(shown["expires"], "%Y-%m-%dT%H:%M:%SZ")) - time.mktime(time.gmtime())
    check(0 < left <= 900, left)
    posted = f.post("hook", "/x", f.path("job.json"), "--data", "hello")
    check(posted.code == OK and posted.out == "taken\n", posted)
    saw("posted as", shown["name"], "for", int(left), "s")
    done = f.weft("renew", "--identity", f.path("job.json"))
    check(done.code == POLICY and "isn't renewed" in done.error, done)


@step("a job that outlives its identity is told that it ends, when and why")
def _(f):
    port = free_port()
    late = f.start(
        "late", "weft-tunneler", "proxy", f"{port}=hook", "--identity", f.path("job.json"), env=faked("+10m")
    )
    until("the proxy", lambda: f.up_quietly(late))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/x", b"hello", timeout=10) as answer:
        check(answer.read() == b"taken\n", "not served")
    late.says("enroll again with a new token of its issuer; this one ends at ", 20)
    lines = [line for line in late.said().splitlines() if "is not renewed" in line]
    check(len(lines) == 1, lines)
    saw(lines[0].split("weft-tunneler: ")[-1])


@step("two jobs of one run have two names, and one token makes one identity")
def _(f):
    token = f.token()
    check(f.join("job2.json", token).code == OK, "the second job")
    rows = [r["name"] for r in map(json.loads, f.admin("identity", "list", "--json").out.splitlines()) if r["enroll"] == "oidc"]
    check(len(rows) == 2 and len(set(rows)) == 2, rows)
    done = f.join("job3.json", token)
    check(done.code == CREDENTIAL and "presented" in done.error, done)
    f.admin(
        "oidc", "add", "twin", "--issuer", ISSUER, "--audience", "weft", "--jwks", f.path("jwks.json"), "--claim",
        "repository == acme/shop", "--name-template", "twin-{run_id}", "--token-out", f.path("twin.jwt"),
    )  # fmt: skip
    words = ("enroll", f.path("twin.jwt"), "--oidc-token", "-", "--out")
    done = f.weft(*words, f.path("job4.json"), stdin=token.encode())
    check(done.code == CREDENTIAL and "presented" in done.error, "by the same issuer under another name:", done)
    check(f.weft(*words, f.path("job5.json"), stdin=f.token().encode()).code == OK, "the twin takes no token at all")
    f.admin("oidc", "remove", "twin")


@step("tokens that don't hold are refused, each with its reason")
def _(f):
    f.key("evil", "RSA")
    now = int(time.time())
    rows = [
        ("signature is wrong", f.token(key="evil.key")),
        ("not from the issuer", f.token(iss=ISSUER + "/")),
        ("not for the audience", f.token(aud="other")),
        ("not for the audience", f.token(aud=["weft", "other"])),
        ("not for the audience", f.token(aud="")),
        ("has expired", f.token(exp=now - 120)),
        ("over an hour ago", f.token(iat=now - 7200)),
        ("not valid yet", f.token(nbf=now + 600)),
        ("claim 'repository'", f.token(repository="evil/shop")),
        ("claim 'repository'", f.token(repository=["acme/shop"])),
        ("claim 'ref'", f.token(ref="refs/tags/v1")),
        ("claim 'ref'", f.token(ref=None)),
        ("brings its own key", f.token(header={"jku": "https://evil.example/keys"})),
        ("unknown field", f.token(header={"crit": ["exp"]})),
        ('"alg" is none', f.token(header={"alg": "none"})),
        ('"alg" is none', f.token(header={"alg": "HS256"})),
        ('"alg" is not the one', f.token(header={"alg": "ES256"})),
        ("no key of the token", f.token(header={"kid": "k2"})),
    ]  # fmt: skip
    for words, token in rows:
        done = f.join("bad.json", token)
        check(done.code in (CREDENTIAL, POLICY) and words in done.error, words, done)
        check("acme/shop" not in done.error and "refs/heads" not in done.error, "a condition is told to a stranger", done)
    saw(len(rows), "refused")
    check(not os.path.exists(f.path("bad.json")) and not os.path.exists(f.path("bad.json.pending")), "left behind")


class Keys(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked += 1
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/jwks")
            self.end_headers()
            return
        body = json.dumps(self.server.jwks).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@step("keys are fetched from the configured address, over https, and from nowhere else")
def _(f):
    f.certificate("web", "localhost", by="other", section="server")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    server.asked, server.jwks = 0, f.jwks
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f.path("web.pem"), f.path("web.key"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at = f"https://localhost:{server.server_address[1]}"

    def add(name, url, *more):
        return f.weft("oidc", "add", name, "--issuer", ISSUER, "--audience", "weft", "--jwks-url", url, "--claim",
                      "repository == acme/shop", "--name-template", "{sub}", "--token-out", f.path("gh.jwt"),
                      "--identity", f.admin_file, *more)  # fmt: skip

    os.remove(f.path("gh.jwt"))
    done = add("plain", at.replace("https", "http") + "/jwks")
    check(done.code != OK and "https" in done.error, done)
    check(add("fetched", at + "/jwks", "--jwks-ca", f.path("other.pem")).code == OK, "add")
    done = f.join("fetched.json", f.token())
    check(done.code == OK, done)
    check(server.asked == 1, server.asked)
    done = f.join("unknown.json", f.token(header={"kid": "k2"}))
    check(done.code == CREDENTIAL and server.asked == 1, "asked again within the minute", server.asked, done)
    os.remove(f.path("gh.jwt"))
    check(add("moved", at + "/moved", "--jwks-ca", f.path("other.pem")).code == OK, "add")
    done = f.join("moved.json", f.token())
    check(done.code == UNREACHABLE and "can't be fetched" in done.error, done)
    until("the log", lambda: "302" in f.controller.said())
    os.remove(f.path("gh.jwt"))
    check(add("untrusted", at + "/jwks").code == OK, "add")
    done = f.join("untrusted.json", f.token())
    check(done.code == UNREACHABLE and "can't be fetched" in done.error, done)
    server.shutdown()
    server.server_close()


@step("identities of jobs are forgotten an hour after their end")
def _(f):
    before = f.admin("identity", "list", "--json").out
    check('"oidc"' in before, before)
    f.controller.stop()
    f.start_controller_at("+2h")
    after = f.weft("identity", "list", "--json", "--identity", f.admin_file, env=faked("+2h"))
    check(after.code == OK and '"oidc"' not in after.out, after)


def start_at(self, offset):
    self.controller = self.start(
        "controller-later", "weft-controller", "run", "--home", self.path("controller"), env=faked(offset)
    )
    until("the controller", lambda: self.up(self.controller, self.control))


Ways.start_controller_at = start_at

main(Ways)
