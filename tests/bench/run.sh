#!/usr/bin/env bash
# The benchmark: the same load through Weft, through the same chain made of nginx, and raw, in one run.
#
#   tests/bench/run.sh [--json FILE] [--rounds N] [--quick]
#
# Prints a table and, with --json, writes the figures. Ratios are medians over the rounds, taken within
# each round, since absolute figures of a shared machine drift. docs/development.md tells what each means.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH=$PATH:/usr/sbin:/sbin
./tests/deps.sh test
cmake --preset release >/dev/null
cmake --build --preset release | tail -n 1
mkdir -p build/bench
cc -std=c17 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror tests/bench/blast.c -o build/bench/blast
cc -std=c17 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -I sdk/include -I proto/base/include tests/bench/idle.c \
    -o build/bench/idle -L build/release/lib -Wl,-rpath,"$PWD/build/release/lib" -lweft -luv
exec python3 tests/bench/bench.py "$@"
