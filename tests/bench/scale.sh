#!/usr/bin/env bash
# How large a fabric one controller holds: 10,000, 50,000 and 100,000 identities with 10,000 services and
# 1,000 policies, loaded through the operation table. Prints figures as JSON lines.
#
#   tests/bench/scale.sh [--small]      --small: 500 identities, to see that it works
set -euo pipefail
cd "$(dirname "$0")/../.."
./tests/deps.sh test
cmake --preset dev -B build/scale -D CMAKE_BUILD_TYPE=Release >/dev/null
cmake --build build/scale --target weft_scale weft_controller | tail -n 1
run() { build/scale/tests/bench/weft-scale build/scale/bin/weft-controller "$@" | grep --line-buffered '^{'; }
if [ "${1:-}" = --small ]; then
    run 500 100 50
    exit
fi
for identities in 10000 50000 100000; do
    run "$identities" 10000 1000
done
