#!/usr/bin/env python3
"""Runs the benchmark: see run.sh beside it."""
import argparse
import atexit
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.join(ROOT, "build/release/bin")
BLAST = os.path.join(ROOT, "build/bench/blast")
IDLE = os.path.join(ROOT, "build/bench/idle")
HERE = os.path.dirname(os.path.abspath(__file__))

children = []


def stop_all():
    for child in reversed(children):
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            child.kill()


atexit.register(stop_all)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def free_port():
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, check, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return
        time.sleep(0.05)
    raise SystemExit(f"bench: {what} did not happen")


def listens(port):
    import socket

    with socket.socket() as s:
        s.settimeout(0.5)
        return s.connect_ex(("127.0.0.1", port)) == 0


def start(log, *words, **more):
    out = open(log, "ab")
    child = subprocess.Popen(words, stdout=out, stderr=out, stdin=subprocess.DEVNULL, **more)
    children.append(child)
    return child


def run(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def blast(*words, timeout=300):
    return json.loads(run(BLAST, *map(str, words), timeout=timeout))


def serve():
    child = subprocess.Popen([BLAST, "serve", "0"], stdout=subprocess.PIPE, text=True)
    children.append(child)
    return int(child.stdout.readline())


def rss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f:
            if line.startswith("Rss:"):
                return int(line.split()[1])
    raise SystemExit("bench: no Rss")


def wakeups(pid):
    with open(f"/proc/{pid}/status") as f:
        return sum(int(line.split()[1]) for line in f if "ctxt_switches" in line)


class Fabric:
    """controller, router, tunneler that hosts, tunneler that proxies: one process each."""

    def __init__(self, home, target):
        self.home = home
        self.env = dict(os.environ, XDG_STATE_HOME=f"{home}/state", XDG_CONFIG_HOME=f"{home}/config")
        control, self.relay, self.proxy_port = free_port(), free_port(), free_port()
        weft = self.weft
        run(f"{BIN}/weft-controller", "init", "--home", f"{home}/controller", "--domain", "bench.weft",
            "--address", f"127.0.0.1:{control}", "--admin-out", f"{home}/admin.json")
        self.controller = start(f"{home}/controller.log", f"{BIN}/weft-controller", "run", "--home", f"{home}/controller")
        wait_for("the controller", lambda: listens(control))
        weft("login", f"127.0.0.1:{control}", "--identity", f"{home}/admin.json")
        weft("router", "create", "r1", "--token-out", f"{home}/r1.jwt")
        run(f"{BIN}/weft-router", "enroll", f"{home}/r1.jwt", "--home", f"{home}/router",
            "--listen", f"127.0.0.1:{self.relay}", "--advertise", f"127.0.0.1:{self.relay}")
        self.router = start(f"{home}/router.log", f"{BIN}/weft-router", "run", "--home", f"{home}/router")
        wait_for("the router", lambda: listens(self.relay))
        time.sleep(0.5)
        self.router_empty = rss_kib(self.router.pid)
        weft("share", "blast", "--host-token", f"{home}/host.jwt", "--dial-token", f"{home}/dial.jwt")
        self.host = start(f"{home}/host.log", f"{BIN}/weft-tunneler", "host", f"blast=127.0.0.1:{target}",
                          "--identity", f"{home}/host.jwt", "--max-sessions", "60000", env=self.env)
        wait_for("the bind", lambda: "bound on" in open(f"{home}/host.log").read())
        self.tunneler_empty = rss_kib(self.host.pid)
        self.proxy = start(f"{home}/proxy.log", f"{BIN}/weft-tunneler", "proxy", f"127.0.0.1:{self.proxy_port}=blast",
                           "--identity", f"{home}/dial.jwt", "--max-sessions", "60000", env=self.env)
        wait_for("the proxy", lambda: listens(self.proxy_port))

    def weft(self, *words):
        return run(f"{BIN}/weft", *words, env=self.env)


def nginx_chain(home, target):
    """client -> nginx -> TLS 1.3 -> nginx -> TLS 1.3 -> nginx -> server; returns the first one's port."""
    os.makedirs(home)
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", "/CN=bench", "-keyout", f"{home}/key.pem", "-out", f"{home}/cert.pem")
    module = next(p for p in ("/usr/lib/nginx/modules/ngx_stream_module.so",
                              "/usr/share/nginx/modules/ngx_stream_module.so") if os.path.exists(p))
    ports = [free_port() for _ in range(3)]
    for i, port in enumerate(ports):
        incoming = "" if i == 0 else (
            f"ssl_certificate {home}/cert.pem; ssl_certificate_key {home}/key.pem; ssl_protocols TLSv1.3; "
            "ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;")
        outgoing = "" if i == 2 else ("proxy_ssl on; proxy_ssl_protocols TLSv1.3; "
                                      "proxy_ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;")
        to = ports[i + 1] if i < 2 else target
        with open(f"{home}/{i}.conf", "w") as f:
            f.write(f"""load_module {module};
worker_processes 1; daemon off; master_process off; pid {home}/{i}.pid; error_log {home}/{i}.log;
events {{ worker_connections 60000; }}
stream {{ tcp_nodelay on; proxy_buffer_size 64k; server {{
  listen 127.0.0.1:{port}{"" if i == 0 else " ssl"} so_keepalive=off; {incoming} proxy_pass 127.0.0.1:{to}; {outgoing}
}} }}
""")
        start(f"{home}/{i}.out", "nginx", "-c", f"{home}/{i}.conf", "-p", home, "-e", f"{home}/{i}.log")
    for port in ports:
        wait_for("nginx", lambda: listens(port))
    return ports[0]


def median(values):
    return statistics.median(values)


def spread(values, digits=3):
    return f"{median(values):.{digits}f}  ({min(values):.{digits}f} to {max(values):.{digits}f})"


def calibrated(port, seconds, streams=1):
    """Bytes that take about so long through this port."""
    probe = blast("bulk", "127.0.0.1", port, streams, 128 << 20)
    return max(int(probe["gbit"] * 1e9 / 8 * seconds), 128 << 20) // streams * streams


def measure_idle(fabric, count):
    before = rss_kib(fabric.router.pid)
    child = subprocess.Popen([IDLE, f"{fabric.home}/host.json", "blast", str(count)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True, env=fabric.env)
    children.append(child)
    if child.stdout.readline() != "bound\n":
        raise SystemExit("bench: the idle endpoints did not bind")
    time.sleep(2)
    per = (rss_kib(fabric.router.pid) - before) / count
    child.stdin.close()
    child.wait()
    time.sleep(1)
    return per


def measure_circuits(fabric, count):
    before, tunneler = rss_kib(fabric.router.pid), rss_kib(fabric.host.pid)
    child = subprocess.Popen([BLAST, "hold", "127.0.0.1", str(fabric.proxy_port), str(count)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    children.append(child)
    if child.stdout.readline() != "held\n":
        raise SystemExit("bench: the circuits could not be held")
    time.sleep(1)
    per = (rss_kib(fabric.router.pid) - before) * 1024 / count
    per_session = (rss_kib(fabric.host.pid) - tunneler) / count
    child.stdin.close()
    child.wait()
    time.sleep(1)
    return per, per_session


def measure_wakeups(pids, seconds):
    before = {pid: wakeups(pid) for pid in pids}
    time.sleep(seconds)
    return sum(wakeups(pid) - before[pid] for pid in pids) / seconds


def ip(*words):
    return run("ip", *words)


def measure_post_cold(fabric, rounds):
    """weft post from another namespace whose leg to the router takes 50 ms each way; grants are carried. None without root."""
    if os.geteuid() != 0 or shutil.which("nft") is None:
        return None
    name, tag = f"weft-bench-{os.getpid()}", os.getpid() % 10000
    home, relay = fabric.home, fabric.relay
    fabric.weft("identity", "create", "cold", "--token-out", f"{home}/cold.jwt")
    fabric.weft("allow", "cold", "dial", "web")
    run(f"{BIN}/weft", "enroll", f"{home}/cold.jwt", "--out", f"{home}/cold.json", "--carry", "1d", env=fabric.env)
    with open(f"{home}/cold.json") as f:
        document = f.read()
    ip("netns", "add", name)
    try:
        ip("link", "add", f"wb{tag}", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", "192.0.2.129/30", "dev", f"wb{tag}")
        ip("link", "set", f"wb{tag}", "up")
        inside = ["netns", "exec", name]
        ip(*inside, "ip", "addr", "add", "192.0.2.130/30", "dev", "eth0")
        ip(*inside, "ip", "link", "set", "eth0", "up")
        ip(*inside, "ip", "link", "set", "lo", "up")
        # The router advertises a loopback address; inside, that address is the slow leg. Its far end
        # reaches the real router over the veth pair, through a relay that adds nothing.
        out = start(f"{home}/far.log", "python3", f"{HERE}/delay.py", "7001", f"127.0.0.1:{relay}", "0")
        slow = start(f"{home}/leg.log", "ip", *inside, "python3", f"{HERE}/delay.py", str(relay), "192.0.2.129:7001", "50")
        wait_for("the slow leg", lambda: all(os.path.getsize(f"{home}/{n}.log") > 0 for n in ("far", "leg")))
        times = []
        for _ in range(rounds):
            begun = time.monotonic()
            run("ip", *inside, f"{BIN}/weft", "post", "web", "/", "--data", "hello",
                env=dict(fabric.env, XDG_STATE_HOME=f"{home}/nothing", WEFT_IDENTITY=document))
            times.append((time.monotonic() - begun) * 1000)
        for child in (out, slow):
            child.terminate()
        return median(times)
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)
        subprocess.run(["ip", "link", "del", f"wb{tag}"], capture_output=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="short pieces: shows that it runs, not how fast")
    options = parser.parse_args()
    seconds, echoes, sessions, idle = (0.5, 500, 200, 50) if options.quick else (4, 5000, 2000, 1000)
    rounds = 1 if options.quick else options.rounds

    home = tempfile.mkdtemp(prefix="weft-bench.")
    atexit.register(shutil.rmtree, home, True)
    try:
        measure(options, home, seconds, echoes, sessions, idle, rounds)
    except BaseException:
        show_logs(home)
        raise


def show_logs(home):
    for folder, _, files in os.walk(home):
        for name in sorted(files):
            if name.endswith((".log", ".out")):
                with open(f"{folder}/{name}", errors="replace") as f:
                    for line in f.readlines()[-4:]:
                        print(f"{name}: {line.rstrip()}", file=sys.stderr)


def measure(options, home, seconds, echoes, sessions, idle, rounds):
    target = serve()
    fabric = Fabric(home, target)
    # First of all, while the router's heap has no holes that would hide what a circuit takes.
    per_circuit, per_session = measure_circuits(fabric, idle)
    nginx = nginx_chain(f"{home}/nginx", target)
    ports = {"weft": fabric.proxy_port, "nginx": nginx, "raw": target}
    for port in ports.values():
        blast("echo", "127.0.0.1", port, 50, 64)
    sizes = {name: calibrated(port, seconds) for name, port in ports.items()}
    got = {name: {"bulk1": [], "bulk32": [], "jain": [], "p50": [], "p99": [], "open": []} for name in ports}
    for _ in range(rounds):
        for name, port in ports.items():
            one = blast("bulk", "127.0.0.1", port, 1, sizes[name])
            many = blast("bulk", "127.0.0.1", port, 32, sizes[name] // 32 * 32)
            trip = blast("echo", "127.0.0.1", port, echoes, 64)
            opened = blast("open", "127.0.0.1", port, sessions, 16)
            row = got[name]
            row["bulk1"].append(one["gbit"])
            row["bulk32"].append(many["gbit"])
            row["jain"].append(many["jain"])
            row["p50"].append(trip["p50_us"])
            row["p99"].append(trip["p99_us"])
            row["open"].append(opened["per_s"])

    def ratios(key, other="nginx"):
        return [a / b for a, b in zip(got["weft"][key], got[other][key])]

    per_endpoint = measure_idle(fabric, idle)
    idle_wakeups = measure_wakeups([fabric.router.pid, fabric.host.pid, fabric.proxy.pid, fabric.controller.pid],
                                   5 if options.quick else 30)
    receiver_port = free_port()
    with open(f"{home}/secret", "w") as f:
        f.write("unused")
    start(f"{home}/web.log", "python3", "-c",
          "import http.server,sys\n"
          "class H(http.server.BaseHTTPRequestHandler):\n"
          "    def do_POST(self):\n"
          "        self.rfile.read(int(self.headers['Content-Length'])); self.send_response(200)\n"
          "        self.send_header('Content-Length','0'); self.end_headers()\n"
          "    def log_message(self,*a): pass\n"
          f"http.server.ThreadingHTTPServer(('127.0.0.1',{receiver_port}),H).serve_forever()")
    fabric.weft("share", "web", "--host-token", f"{home}/web-host.jwt", "--dial-token", f"{home}/web-dial.jwt")
    start(f"{home}/web-host.log", f"{BIN}/weft-tunneler", "host", f"web=127.0.0.1:{receiver_port}", "--identity",
          f"{home}/web-host.jwt", env=fabric.env)
    wait_for("the web bind", lambda: "bound on" in open(f"{home}/web-host.log").read())
    cold = measure_post_cold(fabric, 1 if options.quick else 5)

    many_to_one = [a / b for a, b in zip(got["weft"]["bulk32"], got["weft"]["bulk1"])]
    figures = {
        "bulk_1_gbit": median(got["weft"]["bulk1"]),
        "bulk_1_vs_nginx": median(ratios("bulk1")),
        "bulk_32_vs_bulk_1": median(many_to_one),
        "jain_32": median(got["weft"]["jain"]),
        "echo_p50_vs_nginx": median(ratios("p50")),
        "echo_p99_vs_nginx": median(ratios("p99")),
        "sessions_per_s": median(got["weft"]["open"]),
        "router_rss_mb": fabric.router_empty / 1024,
        "router_kib_per_idle_endpoint": per_endpoint,
        "router_bytes_per_idle_circuit": per_circuit,
        "tunneler_rss_mb": fabric.tunneler_empty / 1024,
        "idle_wakeups_per_s": idle_wakeups,
        "post_cold_ms": cold,
    }
    rows = [
        ("bulk, one stream, Gbit/s", spread(got["weft"]["bulk1"], 2), ""),
        ("  the nginx chain", spread(got["nginx"]["bulk1"], 2), ""),
        ("  raw loopback", spread(got["raw"]["bulk1"], 2), ""),
        ("  weft / nginx", spread(ratios("bulk1")), ">= 1.1"),
        ("32 streams / one stream", spread(many_to_one), ">= 1.0"),
        ("  nginx's", spread([a / b for a, b in zip(got["nginx"]["bulk32"], got["nginx"]["bulk1"])]), ""),
        ("Jain fairness of 32", spread(got["weft"]["jain"]), ">= 0.95"),
        ("  nginx's", spread(got["nginx"]["jain"]), ""),
        ("echo 64 B p50, us", spread(got["weft"]["p50"], 0), ""),
        ("  weft / nginx", spread(ratios("p50")), "<= 1.3"),
        ("echo 64 B p99, us", spread(got["weft"]["p99"], 0), ""),
        ("  weft / nginx", spread(ratios("p99")), "<= 2"),
        ("new sessions per second", spread(got["weft"]["open"], 0), ">= 1200"),
        ("  nginx's", spread(got["nginx"]["open"], 0), ""),
        ("router, MB empty", f"{figures['router_rss_mb']:.1f}", "<= 10"),
        ("  KiB per idle endpoint", f"{per_endpoint:.1f}", "<= 40"),
        ("  bytes per idle circuit", f"{per_circuit:.0f}", "<= 1024"),
        ("tunneler, MB empty", f"{figures['tunneler_rss_mb']:.1f}", ""),
        ("  KiB per idle session, host", f"{per_session:.1f}", ""),
        ("idle wake-ups per second, all 4", f"{idle_wakeups:.2f}", "heartbeats"),
        ("weft post cold, 50 ms each way, ms", "not measured (needs root)" if cold is None else f"{cold:.0f}", "<= 400"),
    ]
    print(f"\n{'':36}{'median (least to most)':30}goal")
    for what, value, goal in rows:
        print(f"{what:36}{value:30}{goal}")
    if options.json:
        with open(options.json, "w") as f:
            json.dump({k: None if v is None else round(v, 4) for k, v in figures.items()}, f, indent=2)
            f.write("\n")


main()
