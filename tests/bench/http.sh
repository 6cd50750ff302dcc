#!/usr/bin/env bash
# Requests a second of the HTTP server alone, on one core: h2load on another. Not part of the tests.
#
#   tests/bench/http.sh BUILD      a Release build with WEFT_TESTS=ON
set -euo pipefail
build=${1:?usage: tests/bench/http.sh BUILD}
room=$(mktemp -d)
mkfifo "$room/in"
taskset -c 0 "$build/tests/http_serve" "$room" connections_per_address=1000 <"$room/in" >"$room/out" &
server=$!
exec 9>"$room/in"
trap 'exec 9>&-; wait $server; rm -rf "$room"' EXIT
until grep -q PORT "$room/out"; do sleep 0.1; done
port=$(awk '{print $2}' "$room/out")
head -c 200 /dev/zero >"$room/body"

cpu() { awk '{printf "%d", $1 / 1000}' /proc/$server/schedstat; } # us

run() {
    local name=$1 before after line
    shift
    before=$(cpu)
    line=$(taskset -c 1 h2load "$@" -n "${requests:-30000}" "https://127.0.0.1:$port/echo" | grep -E '^finished|^requests:' | tr '\n' ' ')
    after=$(cpu)
    echo "$name: $line; $(awk -v us=$((after - before)) -v n="${requests:-30000}" 'BEGIN { printf "%.1f us of processor a request, %.0f a second on a full core", us / n, n * 1000000 / us }')"
}
run "h2 GET, 10 connections of 32 streams" -c 10 -m 32
run "h2 POST of 200 bytes" -c 10 -m 32 -d "$room/body"
run "HTTP/1.1 GET, 32 connections" -c 32 -m 1 --h1
run "HTTP/1.1 POST of 200 bytes" -c 32 -m 1 --h1 -d "$room/body"
requests=900 run "HTTP/1.1 GET, a new connection each" -c 900 -m 1 --h1 -r 450
