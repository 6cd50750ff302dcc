#!/usr/bin/env python3
"""The GitHub action, run as a runner runs it: from what action.yml says, with the environment it makes and no other."""

import base64
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import time
import urllib.parse

from e2e import BIN, CREDENTIAL, FAILED, OK, POLICY, SOURCE, UNREACHABLE, USAGE, Fabric, Web, check, free_port, main, saw, step

ACTION = os.path.join(SOURCE, "examples", "github-action")
RECEIVER = os.path.join(SOURCE, "examples", "receiver", "receiver.py")
SECRET = "It's a Secret to Everybody"
EVENT = {"ref": "refs/heads/main", "repository": {"full_name": "acme/shop"}, "pusher": {"name": "mona"}}


class Action:
    """What action.yml says, as far as a runner needs it."""

    def __init__(self):
        with open(os.path.join(ACTION, "action.yml"), encoding="utf-8") as f:
            self.text = f.read()
        sections = dict(re.findall(r"^(\w+):[^\n]*\n((?:[ ].*\n|\n)*)", self.text, re.M))
        self.inputs = {}
        for name, body in re.findall(r"^  ([\w-]+):\n((?:    .*\n)+)", sections["inputs"], re.M):
            default = re.search(r"^    default: (.*)$", body, re.M)
            self.inputs[name] = (default[1].strip('"') if default else "", "required: true" in body)
        self.outputs = dict(re.findall(r"^  (\w+):\n(?:    (?!value).*\n)*    value: (.*)$", sections["outputs"], re.M))
        self.run = re.search(r"^      run: (.*)$", sections["runs"], re.M)[1]
        self.env = dict(re.findall(r"^        (\w+): \$\{\{ (.*) \}\}$", sections["runs"], re.M))

    def environment(self, given, event_name):
        """The variables of the step, for these inputs."""
        values = {name: given.get(name.replace("-", "_"), default) for name, (default, _) in self.inputs.items()}
        unknown = {key.replace("_", "-") for key in given} - set(values)
        check(not unknown, "no such input:", unknown)
        out = {}
        for variable, expression in self.env.items():
            out[variable] = ""
            for term in expression.split(" || "):
                kind, name = term.split(".")
                out[variable] = out[variable] or (values[name] if kind == "inputs" else {"event_name": event_name}[name])
        return out


class Outcome:
    """A step that has ended."""

    def __init__(self, code, out, err, outputs):
        self.code, self.out, self.err, self.outputs = code, out, err, outputs

    def __str__(self):
        return f"exit {self.code}\n  stdout: {self.out!r}\n  stderr: {self.err!r}\n  outputs: {self.outputs!r}"


def parse(text):
    """The outputs in a GITHUB_OUTPUT file, as the runner reads it: a mark ends a value, and nothing else does."""
    out, lines = {}, iter(text.split("\n"))
    for line in lines:
        heredoc, assignment = re.fullmatch(r"([\w-]+)<<(.+)", line), re.fullmatch(r"([\w-]+)=(.*)", line)
        if heredoc:
            value = []
            for word in lines:
                if word == heredoc[2]:
                    break
                value.append(word)
            else:
                check(False, "no mark ends", heredoc[1])
            out[heredoc[1]] = "\n".join(value)
        elif assignment:
            out[assignment[1]] = assignment[2]
        else:
            check(line == "", "the runner refuses", repr(line))
    return out


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


class Stage(Fabric):
    def __init__(self):
        super().__init__()
        self.action = Action()
        self.reply = (200, {}, b"hello\n")
        self.hold = 0.0
        self.web = Web(self.answer)
        self.tunneler, dialer = self.serve("hook", self.web.port)
        self.identity = self.read(os.path.basename(dialer))
        self.key = json.loads(self.identity)["key"]
        self.write("event.json", json.dumps(EVENT))
        for name in ("temp", "home", "tmp"):
            os.mkdir(self.path(name), 0o700)
        check("${{" not in self.action.run, "an expression would be run as code:", self.action.run)
        self.write("step.sh", self.action.run + "\n", 0o700)

    def answer(self, request, body):
        time.sleep(self.hold)
        return self.reply

    def begin(self, **inputs):
        more = inputs.pop("more", {})
        given = {"service": "hook", "identity": self.identity, "weft": os.path.join(BIN, "weft"), **inputs}
        self.write("output", "")
        env = {
            "PATH": "/usr/bin:/bin",
            "HOME": self.path("home"),
            "TMPDIR": self.path("tmp"),
            "RUNNER_TEMP": self.path("temp"),
            "GITHUB_OUTPUT": self.path("output"),
            "GITHUB_EVENT_PATH": self.path("event.json"),
            "GITHUB_ACTION_PATH": ACTION,
            "GITHUB_RUN_ID": "4711",
            "GITHUB_RUN_ATTEMPT": "2",
            **self.action.environment(given, "push"),
            **more,
        }
        return subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", self.path("step.sh")], env=env, cwd=self.path("home"),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def finish(self, process, timeout=40):
        out, err = (text.decode(errors="replace") for text in process.communicate(timeout=timeout))
        check("Sanitizer" not in err and "runtime error:" not in err, err)
        check(not alive(process.pid), "something of the step runs on")
        outcome = Outcome(process.returncode, out, err, parse(self.read("output")))
        for name in ("temp", "home", "tmp"):
            left = os.listdir(self.path(name))
            check(not left, f"left in {name}:", left, outcome)
        return outcome

    def act(self, **inputs):
        return self.finish(self.begin(**inputs))

    def on_disk(self):
        """Every file of the runner's folders, with its bytes. The test's own copy of the identity is elsewhere."""
        out = {}
        for name in ("temp", "home", "tmp"):
            for where, _, names in os.walk(self.path(name)):
                for file in names:
                    try:
                        with open(os.path.join(where, file), "rb") as f:
                            out[os.path.join(where, file)] = f.read()
                    except FileNotFoundError:
                        pass
        return out


@step("action.yml and post.sh name the same inputs and outputs")
def _(f):
    with open(os.path.join(ACTION, "post.sh"), encoding="utf-8") as script:
        text = script.read()
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    used = set(re.findall(r"\b(?:INPUT_\w+|WEFT_IDENTITY|WEFT_WEBHOOK_SECRET)\b", code))
    declared = set(f.action.env)
    check(used == declared, "used and declared differ in", used ^ declared)
    named = {name for expression in f.action.env.values() for name in re.findall(r"inputs\.([\w-]+)", expression)}
    check(named == set(f.action.inputs), "inputs that reach nobody, or are no inputs:", named ^ set(f.action.inputs))
    written = set(re.findall(r'echo "(\w+)(?:=|<<)', code))
    check(written == set(f.action.outputs), "outputs differ:", written ^ set(f.action.outputs))
    for name, value in f.action.outputs.items():
        check(value == f"${{{{ steps.post.outputs.{name} }}}}", name, value)
    for name in ("identity", "webhook-secret"):
        check(f"INPUT_{name.upper().replace('-', '_')}" not in f.action.env, name, "must go where weft reads it itself")
    done = f.run("bash", "-n", os.path.join(ACTION, "post.sh"))
    check(done.code == 0, done)
    check({name for name, (_, required) in f.action.inputs.items() if required} == {"service"}, "what is required")
    saw(len(f.action.inputs), "inputs,", len(f.action.outputs), "outputs")


@step("the event is posted with its name, and 2xx is success")
def _(f):
    done = f.act(path="/github")
    check(done.code == OK and done.outputs == {"status": "200", "body": "hello\n"}, done)
    method, path, headers, body = f.web.requests[-1]
    check((method, path, body) == ("POST", "/github", json.dumps(EVENT).encode()), method, path, body)
    check(headers["X-GitHub-Event"] == "push" and headers["X-GitHub-Delivery"] == "4711-2", headers)
    check(headers["Content-Type"] == "application/json" and headers["Host"] == "hook", headers)
    check("X-Hub-Signature-256" not in headers, "signed with what?")
    f.reply = (201, {}, b"made")
    done = f.act(data="a b\n'\"$(id)`id`", event="ping", method="PUT", path="/a%20b?c=d")
    check(done.code == OK and done.outputs == {"status": "201", "body": "made"}, done)
    method, path, headers, body = f.web.requests[-1]
    check((method, path, body) == ("PUT", "/a%20b?c=d", b"a b\n'\"$(id)`id`"), method, path, body)
    check(headers["X-GitHub-Event"] == "ping", headers)
    f.reply = (204, {}, b"")
    done = f.act(data_file=f.write("body.bin", bytes(range(256)) * 64))
    check(done.code == OK and done.outputs["status"] == "204" and done.outputs["body"] == "", done)
    check(f.web.requests[-1][3] == bytes(range(256)) * 64, "the file")
    f.reply = (200, {}, b"hello\n")
    done = f.act(weft="", more={"PATH": f"{BIN}:/usr/bin:/bin"})
    check(done.code == OK, "weft from PATH", done)


@step("anything else fails, and says with what")
def _(f):
    def refused(code, words, **inputs):
        done = f.act(**inputs)
        line = [line for line in done.out.splitlines() if line.startswith("::error::")]
        check(done.code == code and len(line) == 1 and words in line[0], done)
        saw(done.code, line[0])
        return done

    count = len(f.web.requests)
    for status in (404, 500, 302):
        f.reply = (status, {"Location": "http://127.0.0.1:1/"}, b"no\n")
        done = refused(FAILED, str(status))
        check(done.outputs == {"status": str(status), "body": "no\n"}, done)
    check(len(f.web.requests) == count + 3, "each was sent", len(f.web.requests) - count, "times")
    f.reply = (200, {}, b"hello\n")
    f.admin("service", "create", "other")
    done = refused(POLICY, "other", service="other", retry="0")
    check(done.outputs == {"status": "", "body": ""}, done)
    refused(POLICY, "nowhere", service="nowhere")
    refused(USAGE, "service", service="")
    refused(USAGE, "identity", identity="")
    refused(USAGE, "identity", identity=f.path("hook-dial.json"))
    refused(CREDENTIAL, "", identity=f.identity.replace(json.dumps(f.key)[1:-1][60:90], "A" * 30))
    refused(USAGE, "weft:", weft="/nowhere/weft")
    refused(USAGE, "weft:", weft="")
    refused(USAGE, "timeout", timeout="soon")
    refused(USAGE, "X-GitHub-Event", event="a\nX-Evil: 1")
    refused(USAGE, "data", more={"GITHUB_EVENT_PATH": ""})
    check(len(f.web.requests) == count + 3, "a refused step reached the server")


@step("a timeout ends it, 503 is tried again")
def _(f):
    f.hold = 5
    begun = time.monotonic()
    done = f.act(timeout="1500ms")
    check(done.code == 6 and time.monotonic() - begun < 5, done)
    f.hold = 0
    answers = [(503, {"Retry-After": "0"}, b"busy"), (503, {}, b"busy"), (200, {}, b"at last")]
    f.web.answer = lambda request, body: answers.pop(0)
    count = len(f.web.requests)
    done = f.act(retry="2")
    check(done.code == OK and done.outputs == {"status": "200", "body": "at last"}, done)
    sent = f.web.requests[count:]
    check(len(sent) == 3 and len({headers["Idempotency-Key"] for _, _, headers, _ in sent}) == 1, len(sent), "requests")
    f.web.answer = f.answer


@step("outputs are the answer, whatever the answer tries")
def _(f):
    evil = b"a\n\nstatus=999\nbody<<EOF\nEOF\nx=y\nbody<<weft_0\nweft_0\n::set-output name=status::999\n::add-mask::a\n"
    for body in (evil, b"one\ntwo\n\nthree", b"\n", b"\n\n\n", b"=", b"weft_", "\u00e4\u20ac\u2028".encode(), b"x" * 65535 + b"\n"):
        f.reply = (200, {}, body)
        done = f.act()
        check(done.outputs == {"status": "200", "body": body.decode()}, done)
        check("::" not in done.out + done.err, "the answer is shown to the runner as commands:", done)
    f.reply = (200, {}, b"a\0b")
    check(f.act().outputs["body"] == "ab", "NUL can't be in a variable")
    f.reply = (200, {}, b"x" * 200000)
    check(f.act().outputs["body"] == "x" * 65536, "the first 64 KiB")
    f.reply = (200, {}, b"hello\n")


@step("the webhook secret signs what is sent; the receiver verifies it")
def _(f):
    port = free_port()
    receiver = f.start("receiver", "python3", "-B", RECEIVER, f"127.0.0.1:{port}", f.write("secret", SECRET))
    receiver.says("LISTENING")
    host = f.path("signed-host.jwt")
    f.admin("service", "create", "signed")
    f.admin("identity", "create", "signed-host", "--token-out", host)
    f.admin("allow", "signed-host", "bind", "signed")
    f.admin("allow", "hook-dialer", "dial", "signed")
    f.host("signed", port, host)
    done = f.act(service="signed", path="/github", webhook_secret=SECRET)
    check(done.code == OK and done.outputs == {"status": "200", "body": "received\n"}, done)
    receiver.says("EVENT push of acme/shop")
    for secret in ("", "another"):
        done = f.act(service="signed", webhook_secret=secret)
        check(done.code == FAILED and done.outputs["status"] == "401", done)
    body = b"raw \xff bytes\r\n"
    done = f.act(webhook_secret=SECRET, data_file=f.write("body.bin", body))
    right = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    check(f.web.requests[-1][2]["X-Hub-Signature-256"] == right, f.web.requests[-1][2])
    receiver.popen.kill()
    receiver.popen.wait()
    saw("one accepted, unsigned and wrongly signed ones refused by the server")


@step("neither key nor secret is in a file or an argument, and SIGTERM leaves nothing")
def _(f):
    hidden = [line.encode() for line in f.key.split("\n") if len(line) > 40 and "--" not in line]
    hidden = (hidden or [f.key.encode()[:64]]) + [SECRET.encode()]
    for number in (0, signal.SIGTERM, signal.SIGINT):
        f.hold = 20 if number else 1.5
        count = len(f.web.requests)
        process = f.begin(webhook_secret=SECRET, timeout="30s")
        seen, looks = set(), 0

        def searched():
            nonlocal looks
            looks += 1
            for path, content in f.on_disk().items():
                seen.add(os.path.relpath(path, f.folder).split("/", 2)[-1])
                for secret in hidden:
                    check(secret not in content, "a secret is in", path)
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as line:
                        words = line.read()
                except OSError:
                    continue
                for secret in hidden:
                    check(secret not in words, "a secret is an argument of", words)

        limit = time.monotonic() + 15
        while len(f.web.requests) == count or (not number and process.poll() is None):
            check(time.monotonic() < limit, "nothing came in 15 s")
            searched()
            time.sleep(0.01)
        searched()
        if number:
            check(process.poll() is None, "ended before the signal")
            begun = time.monotonic()
            process.send_signal(number)
            done = f.finish(process)
            check(done.code == 128 + number, done)
            check(time.monotonic() - begun < 2.5, f"gone only {time.monotonic() - begun:.1f} s after signal {number}")
        else:
            check(f.finish(process).code == OK, "the step")
            check("body" in seen and "words" in seen, "what was searched?", seen)
        saw(f"{looks} looks at {len(seen)} files; " + (f"ended by signal {number}" if number else "ended by itself"))
    f.hold = 0


@step("the program from a URL runs if its SHA-256 is the right one, and only then")
def _(f):
    program = os.path.join(BIN, "weft")
    with open(program, "rb") as file:
        right = hashlib.sha256(file.read()).hexdigest()
    url = {"weft": "", "weft_url": f"file://{os.path.realpath(program)}"}
    count = len(f.web.requests)
    done = f.act(**url, weft_sha256=right)
    check(done.code == OK and done.outputs["status"] == "200" and len(f.web.requests) == count + 1, done)
    planted = f.write("planted", f"#!/bin/sh\ntouch {f.path('ran')}\n", 0o700)
    for code, words, inputs in (
        (CREDENTIAL, "another one", {**url, "weft_sha256": right[:-1] + ("0" if right[-1] != "0" else "1")}),
        (CREDENTIAL, "another one", {**url, "weft_url": f"file://{planted}", "weft_sha256": right}),
        (USAGE, "64 hex digits", {**url, "weft_sha256": ""}),
        (USAGE, "64 hex digits", {**url, "weft_sha256": right + "\n"}),
        (UNREACHABLE, "could not be fetched", {**url, "weft_url": "file:///nowhere/weft", "weft_sha256": right}),
        (UNREACHABLE, "could not be fetched", {**url, "weft_url": f"http://127.0.0.1:{f.web.port}/", "weft_sha256": right}),
    ):
        done = f.act(**inputs)
        check(done.code == code and words in done.out, done)
        saw(done.code, done.out.strip())
    check(len(f.web.requests) == count + 1 and not os.path.exists(f.path("ran")), "a wrong program ran")


ISSUER = "https://token.actions.githubusercontent.com"


class Provider:
    """Gives tokens to jobs as GitHub does: an address and a token in the environment, RS256, its claims."""

    def __init__(self, f):
        self.f, self.claims, self.asked = f, {}, []
        self.key = f.path("provider.key")
        self.openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.key)
        modulus = self.openssl("rsa", "-in", self.key, "-noout", "-modulus").decode().strip().split("=")[1]
        self.jwks = {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "38826b17", "e": "AQAB",
                               "n": self.b64(bytes.fromhex(modulus))}]}  # fmt: skip
        self.web = Web(self.answer)

    @staticmethod
    def b64(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    @staticmethod
    def openssl(*args, stdin=b""):
        return subprocess.run(["openssl", *args], input=stdin, capture_output=True, check=True).stdout

    def answer(self, request, body):
        if request.headers["Authorization"] != "bearer runtime-token":
            return 401, {}, b"{}"
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query)
        now = int(time.time())
        claims = {
            "jti": os.urandom(16).hex(), "sub": "repo:acme/shop:ref:refs/heads/main", "aud": query["audience"][0],
            "ref": "refs/heads/main", "sha": "0" * 40, "repository": "acme/shop", "repository_owner": "acme",
            "run_id": "4711", "run_number": "7", "run_attempt": "2", "actor": "mona", "workflow": "notify",
            "event_name": "push", "ref_protected": "true", "ref_type": "branch", "runner_environment": "github-hosted",
            "iss": ISSUER, "nbf": now - 600, "exp": now + 300, "iat": now, **self.claims,
        }  # fmt: skip
        head = {"typ": "JWT", "alg": "RS256", "x5t": "ykNaY4qM_ta4k2TgZOCEYLkcYlA", "kid": "38826b17"}
        text = f"{self.b64(json.dumps(head).encode())}.{self.b64(json.dumps(claims).encode())}"
        signature = self.openssl("dgst", "-sha256", "-sign", self.key, stdin=text.encode())
        return 200, {}, json.dumps({"count": 1, "value": f"{text}.{self.b64(signature)}"}).encode()

    def environment(self):
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://127.0.0.1:{self.web.port}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "runtime-token",
        }


@step("with oidc a job needs no secret")
def _(f):
    provider = Provider(f)
    f.write("jwks.json", json.dumps(provider.jwks))
    f.admin("oidc", "add", "github", "--issuer", ISSUER, "--audience", "weft", "--jwks", f.path("jwks.json"), "--claim",
            "repository == acme/shop", "--claim", "ref == refs/heads/main", "--roles", "ci", "--name-template",
            "{repository}:{run_id}", "--token-out", f.path("join.jwt"))  # fmt: skip
    f.admin("allow", "role:ci", "dial", "hook")
    f.reply = (200, {}, b"hello\n")
    f.hold = 0
    join, count = f.read("join.jwt").strip(), len(f.web.requests)
    done = f.act(identity="", oidc="true", join_token=join, more=provider.environment())
    check(done.code == OK and done.outputs == {"status": "200", "body": "hello\n"}, done)
    check(len(f.web.requests) == count + 1, "nothing came")
    check("runtime-token" not in done.out + done.err, done)
    shown = f.admin("identity", "show", "acme_2fshop_3a4711", "--json")
    check(json.loads(shown.out)["enroll"] == "oidc", shown)
    saw("posted as", json.loads(shown.out)["name"])

    def refused(code, words, more=None, **inputs):
        done = f.act(**{"identity": "", "oidc": "true", "join_token": join, **inputs},
                     more=provider.environment() if more is None else more)  # fmt: skip
        line = [line for line in done.out.splitlines() if line.startswith("::error::")]
        check(done.code == code and len(line) == 1 and words in line[0], words, done)
        saw(done.code, line[0])

    refused(USAGE, "id-token: write", more={})
    refused(USAGE, "leave it with oidc", identity=f.identity)
    refused(USAGE, "join-token", join_token="")
    refused(USAGE, "true or false", oidc="yes")
    refused(CREDENTIAL, "not for the audience", audience="other")
    refused(UNREACHABLE, "gave no token", more={**provider.environment(), "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "wrong"})
    provider.claims = {"repository": "mallory/shop"}
    refused(POLICY, "claim 'repository'")
    check(len(f.web.requests) == count + 1, "a refused job posted")


main(Stage)
