#!/usr/bin/env bash
# The main job, for real, on one machine: a sender posts a GitHub push event by name to a server whose
# firewall denies every inbound packet. Controller, router, tunneler, server and sender are separate
# processes; where root allows it they are on separate hosts (network namespaces) with real firewalls.
#
#   examples/quickstart.sh [--stay]
#
# Installs the Debian packages it lacks, builds release into build/release, and cleans up after itself.
# WEFT_BIN names a folder with programs that are built already; nothing is installed or built then.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/sbin:/sbin

usage() {
    cat <<'USAGE'
usage: examples/quickstart.sh [--stay]

Delivers a signed GitHub push event by name, between hosts with real firewalls where root allows it.

  --stay    leave it running until Ctrl-C
  --help    show this

WEFT_BIN names a folder with programs that are built already; else they are built into build/release.
USAGE
}

stay=no
case "${1:-}" in
'') ;;
--stay) stay=yes ;;
--help | -h)
    usage
    exit 0
    ;;
*)
    usage >&2
    exit 2
    ;;
esac

if [ -n "${WEFT_BIN:-}" ]; then
    bin=$WEFT_BIN
else
    ./tests/deps.sh build python3 iproute2 nftables procps
    echo "building into build/release (a minute or two) ..." >&2
    cmake --preset release >build.log 2>&1 || { tail -n 20 build.log >&2; exit 1; }
    cmake --build --preset release >>build.log 2>&1 || { tail -n 40 build.log >&2; exit 1; }
    rm -f build.log
    bin=$PWD/build/release/bin
fi
examples=$PWD/examples
export PATH=$bin:$PATH

work=$(mktemp -d "${TMPDIR:-/tmp}/weft-quickstart.XXXXXX")
chmod 755 "$work"
export XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config
names=() pids=()
clean_up() {
    trap - EXIT INT TERM
    for pid in ${pids[@]+"${pids[@]}"}; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    for name in ${names[@]+"${names[@]}"}; do ip netns del "$name" 2>/dev/null || true; done
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step=0
say() { step=$((step + 1)) && printf '\n%2d  %s\n' $step "$1"; }
tell() { sed 's/^/      /'; }
die() {
    echo "quickstart: $1" >&2
    for log in "$work"/*.log; do
        echo "--- ${log##*/}" >&2
        tail -n 5 "$log" >&2
    done
    exit 1
}
# until_true WHAT COMMAND...: within 10 seconds
until_true() {
    local what=$1
    shift
    for _ in $(seq 200); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.05
    done
    die "$what did not happen in time"
}
# start LOG HOST COMMAND...: in the background, on one of the hosts; pids gets the program's own id
start() {
    local log=$work/$1.log host=$2
    shift 2
    if [ $separate = yes ]; then ip netns exec "weft-$host-$tag" "$@" >"$log" 2>&1 & else "$@" >"$log" 2>&1 & fi
    pids+=($!)
}

# Three hosts joined by one network, or this one host when that is not allowed.
tag=$$
if [ "$(id -u)" = 0 ] && ip netns add "weft-hub-$tag" 2>/dev/null && names=("weft-hub-$tag") &&
    ip netns exec "weft-hub-$tag" true 2>/dev/null; then
    names=("weft-hub-$tag" "weft-receiver-$tag" "weft-sender-$tag")
    ip netns add "${names[1]}"
    ip netns add "${names[2]}"
    on_hub() { ip netns exec "${names[0]}" "$@"; }
    on_receiver() { ip netns exec "${names[1]}" "$@"; }
    on_sender() { ip netns exec "${names[2]}" "$@"; }
    on_hub ip link add hub type bridge
    on_hub ip addr add 192.0.2.1/24 dev hub
    for i in 1 2; do
        ip link add "wq$tag$i" type veth peer name eth0 netns "${names[$i]}"
        ip link set "wq$tag$i" netns "${names[0]}"
        on_hub ip link set "wq$tag$i" master hub up
        ip netns exec "${names[$i]}" ip addr add "192.0.2.$((i + 1))/24" dev eth0
        ip netns exec "${names[$i]}" ip link set eth0 up
    done
    on_hub ip link set hub up
    for name in "${names[@]}"; do ip netns exec "$name" ip link set lo up; done
    hub=192.0.2.1 separate=yes
else
    on_hub() { "$@"; }
    on_receiver() { "$@"; }
    on_sender() { "$@"; }
    hub=127.0.0.1 separate=no
fi
# below the ports that outgoing connections take
free_port() {
    python3 -c 'import random, socket
while True:
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", random.randrange(10000, 30000)))
        except OSError:
            continue
        print(s.getsockname()[1])
        break'
}
if [ $separate = yes ]; then control=9338 relay=9339 server=8080; else
    control=$(free_port) relay=$(free_port) server=$(free_port)
fi
metrics=$(free_port)
# connects HOST ADDRESS PORT: from one of the hosts
connects() { "on_$1" timeout 1 bash -c "exec 3<>/dev/tcp/$2/$3"; }

say "hosts"
if [ $separate = yes ]; then
    on_receiver nft -f - <<'RULES'
table inet firewall {
    chain input {
        type filter hook input priority filter; policy drop;
        iif lo accept
        ct state established,related accept
    }
}
RULES
    echo "hub 192.0.2.1, receiver 192.0.2.2 and sender 192.0.2.3, as network namespaces." | tell
    echo "The receiver's firewall:" | tell
    on_receiver nft list chain inet firewall input | tell
else
    echo "No namespaces here (that needs root): everything runs on loopback, without firewalls." | tell
fi

say "weft-controller init: keys, certificates and policy, without a question"
weft-controller init --home "$work/controller" --domain quickstart.weft --address "$hub:$control" \
    --admin-out "$work/admin.json" >"$work/init.log" 2>&1 || die "init failed"
start controller hub weft-controller run --home "$work/controller" --listen "$hub:$control"
until_true "the controller" connects hub "$hub" "$control"
on_hub weft login "$hub:$control" --identity "$work/admin.json" 2>&1 | tell

say "weft-router: enrolled with a one-time token, then running"
on_hub weft router create r1 --token-out "$work/r1.jwt" 2>&1 | tell
on_hub weft-router enroll "$work/r1.jwt" --home "$work/router" --listen "$hub:$relay" --advertise "$hub:$relay" \
    >"$work/enroll.log" 2>&1 || die "the router could not enroll"
start router hub weft-router run --home "$work/router" --metrics "127.0.0.1:$metrics"
router=${pids[-1]}
until_true "the router" connects hub "$hub" "$relay"

say "weft share hook: a service, who may host it, who may dial it"
on_hub weft share hook --host-token "$work/hook-host.jwt" --dial-token "$work/hook-dial.jwt" 2>&1 | tell

say "the receiver: a plain HTTP server on its loopback, and a tunneler that dials out"
printf "It's a Secret to Everybody" >"$work/secret"
start server receiver python3 "$examples/receiver/receiver.py" "127.0.0.1:$server" "$work/secret"
start tunneler receiver weft-tunneler host "hook=127.0.0.1:$server" --identity "$work/hook-host.jwt"
until_true "the server" grep -q LISTENING "$work/server.log"
until_true "the bind" grep -q "bound on" "$work/tunneler.log"
if [ $separate = yes ]; then
    echo "what listens on the receiver (all of it):" | tell
    on_receiver ss -Hltnp | awk '{print $4, $6}' | tell
    if connects sender 192.0.2.2 "$server" 2>/dev/null; then die "a direct connection got through"; fi
    echo "a direct connection from the sender to 192.0.2.2:$server: fails, as it must" | tell
fi

say "weft post hook /github: a push event, signed, from the sender"
cat >"$work/push.json" <<'EVENT'
{"ref":"refs/heads/main","repository":{"full_name":"acme/shop"},"pusher":{"name":"mona"},"head_commit":{"id":"6dcb09b5b57875f334f61aebed695e2e4193db5e","message":"Ship it: canary-1f0c9be24ae7"}}
EVENT
begun=$(date +%s%N)
on_sender weft post hook /github --data "@$work/push.json" --header "X-GitHub-Event: push" \
    --webhook-secret-file "$work/secret" --retry 5 --identity "$work/hook-dial.jwt" 2>&1 | tell
echo "took $((($(date +%s%N) - begun) / 1000000)) ms, enrolling included" | tell

say "what the server printed"
until_true "the delivery" grep -q "signature verified" "$work/server.log"
grep EVENT "$work/server.log" | tell

say "what the router saw"
on_hub python3 -c "
import urllib.request
for line in urllib.request.urlopen('http://127.0.0.1:$metrics/metrics', timeout=5).read().decode().splitlines():
    if line.startswith('weft_router_') and not line.endswith(' 0'): print(line)" | tell
found=$(python3 "$examples/look-inside.py" "$router" canary-1f0c9be24ae7) || die "the router held clear text: $found"
echo "its memory, searched for the commit message: $found" | tell

cat <<NEXT

Try next
    export PATH=$bin:\$PATH
    weft quickstart --stay               the same in one program, left running
    docs/quickstart.md                   your own service in three commands
    weft --help
NEXT
if [ $stay = yes ]; then
    cat <<LEFT

Left running until Ctrl-C. On the sender:
    ${names[2]:+ip netns exec ${names[2]} }env PATH=$bin:\$PATH XDG_STATE_HOME=$XDG_STATE_HOME weft post hook /again --data hello --webhook-secret-file $work/secret --identity $work/hook-dial.jwt
Logs: $work
LEFT
    wait
fi
