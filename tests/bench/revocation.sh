#!/usr/bin/env bash
# How fast a withdrawal cuts sessions: revocation.py beside it tells the options and what is measured.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH=$PATH:/usr/sbin:/sbin
./tests/deps.sh test
cmake --preset release >/dev/null
cmake --build --preset release | tail -n 1
mkdir -p build/release/bench
cc -std=c17 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -I sdk/include -I proto/base/include tests/bench/crowd.c \
    -o build/release/bench/crowd -L build/release/lib -Wl,-rpath,"$PWD/build/release/lib" -lweft -luv
exec python3 tests/bench/revocation.py "$@"
