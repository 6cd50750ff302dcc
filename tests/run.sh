#!/usr/bin/env bash
# Everything that must hold, on one machine: installs what is missing, builds with sanitizers, runs all tests.
#
#   tests/run.sh           what CI runs: under 15 minutes on 2 cores; the expensive kinds are sampled
#   tests/run.sh --full    exhaustive: slow tests, every test under valgrind, minutes for each fuzz target
#   tests/run.sh --only STEP[,STEP...]   of: asan tsan valgrind fuzz release static
#
# Every step runs even when one before it failed; the summary at the end names what did. Logs and builds are
# in build/. WEFT_JOBS sets the number of compilers (default: the cores).
set -uo pipefail
cd "$(dirname "$0")/.."

usage() {
    echo "usage: tests/run.sh [--full] [--only STEP[,STEP...]]" >&2
    exit 2
}

full=no
only=asan,tsan,valgrind,fuzz,release,static
while [ $# -gt 0 ]; do
    case "$1" in
    --full) full=yes ;;
    --only)
        [ $# -ge 2 ] || usage
        only=$2
        shift
        ;;
    *) usage ;;
    esac
    shift
done
for step in ${only//,/ }; do
    case "$step" in asan | tsan | valgrind | fuzz | release | static) ;; *) usage ;; esac
done

./tests/deps.sh test || exit 1

# A missing tool would turn some test off without a word.
export PATH=$PATH:/usr/sbin:/sbin
for tool in cmake ninja gcc g++ clang clang-format pkg-config protoc-c python3 valgrind faketime ccache \
    nginx nft ip setarch curl openssl; do
    command -v $tool >/dev/null || {
        echo "run.sh: there is no $tool, though tests/deps.sh was satisfied" >&2
        exit 1
    }
done

jobs=${WEFT_JOBS:-$(nproc)}
fuzz_seconds=5
ctest=(ctest --output-on-failure --no-tests=error -j2)
sampled=(-LE slow)
valgrind_label=valgrind
if [ $full = yes ]; then
    export WEFT_FULL=1 # tests that sample (the n-th allocation failing) become exhaustive
    fuzz_seconds=180
    sampled=()
    valgrind_label=cmocka
fi
export CMAKE_C_COMPILER_LAUNCHER=ccache
export ASAN_OPTIONS=detect_stack_use_after_return=1:check_initialization_order=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

failed=0
summary=()

# step NAME COMMAND...: runs it, says how it went, goes on.
step() {
    local name=$1 begun=$SECONDS verdict=ok
    shift
    echo
    echo "== $name"
    "$@" || {
        verdict=FAILED
        failed=$((failed + 1))
    }
    summary+=("$(printf '%-9s %-7s %4d s  %s' "$name" $verdict $((SECONDS - begun)) "$said")")
    said=
}
said=

build() {
    local log=build/$1.configure.log
    mkdir -p build
    cmake --preset "$1" >"$log" 2>&1 || {
        cat "$log"
        return 1
    }
    # ninja's progress is noise in a log; what a compiler said is not.
    cmake --build --preset "$1" -j "$jobs" "${@:2}" >"build/$1.build.log" 2>&1 || {
        grep -vE '^\[[0-9]+/[0-9]+\]' "build/$1.build.log" | head -200
        return 1
    }
}

# tests PRESET [ctest options...]: keeps ctest's last words for the summary.
tests() {
    local preset=$1 status
    shift
    "${ctest[@]}" --test-dir "build/$preset" "$@" | tee "build/$preset.ctest.log"
    status=${PIPESTATUS[0]}
    said=$(grep -E 'tests? passed|tests? failed' "build/$preset.ctest.log" | tail -1)
    return "$status"
}

do_asan() { build asan && tests asan ${sampled[@]+"${sampled[@]}"}; }

do_valgrind() { build valgrind && tests valgrind -L "$valgrind_label" ${sampled[@]+"${sampled[@]}"}; }

# ThreadSanitizer of gcc 12 can't place its shadow under the address randomization of newer kernels.
do_tsan() {
    build tsan || return 1
    ctest=(setarch -R "${ctest[@]}")
    tests tsan -L tsan ${sampled[@]+"${sampled[@]}"}
    local status=$?
    ctest=("${ctest[@]:2}")
    return $status
}

fuzz_one() {
    local target=$1 noun log found
    noun=$(basename "$target")
    noun=${noun#fuzz_}
    log=build/fuzz/$noun.log
    local corpus=build/fuzz/corpus/$noun seeds=tests/fuzz/seeds/$noun
    mkdir -p "$corpus"
    [ -d "$seeds" ] || {
        echo "fuzz_$noun: FAILED: has no seeds in $seeds"
        return 1
    }
    if "$target" -max_total_time="$fuzz_seconds" -timeout=10 -rss_limit_mb=1024 -max_len=70000 \
        -artifact_prefix="build/fuzz/crash-$noun-" -print_final_stats=1 "$corpus" "$seeds" >"$log" 2>&1; then
        found=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        echo "fuzz_$noun: ${found:-?} inputs"
        # Nothing executed means that nothing was tried.
        [ "${found:-0}" -gt 0 ]
    else
        echo "fuzz_$noun: FAILED; the input is in build/fuzz/crash-$noun-*:"
        tail -60 "$log"
        return 1
    fi
}
export -f fuzz_one
export fuzz_seconds

do_fuzz() {
    build fuzz || return 1
    local targets status
    targets=$(find build/fuzz/fuzz -maxdepth 1 -type f -name 'fuzz_*' -perm -u+x 2>/dev/null | sort)
    [ -n "$targets" ] || {
        echo "there is no fuzz target"
        return 1
    }
    xargs -P 2 -I{} bash -c 'fuzz_one {}' <<<"$targets"
    status=$?
    said="$(wc -l <<<"$targets") targets, $fuzz_seconds s each"
    return $status
}

do_release() {
    build release || return 1
    local program
    for program in weft weft-controller weft-router weft-tunneler; do
        "build/release/bin/$program" --version || {
            echo "$program --version failed"
            return 1
        }
    done
}

# The one program that travels must start where there is nothing but itself.
do_static() {
    build static || return 1
    local program=build/static/bin/weft room status
    if readelf -lW $program | grep -q INTERP; then
        echo "$program wants a loader"
        return 1
    fi
    room=$(mktemp -d)
    cp $program "$room/weft"
    if [ "$(id -u)" = 0 ]; then
        chroot "$room" /weft --version
    else
        unshare --user --map-root-user chroot "$room" /weft --version
    fi
    status=$?
    rm -rf "$room"
    said="$(stat -c %s $program) bytes, no loader"
    return $status
}

for name in ${only//,/ }; do
    step "$name" "do_$name"
done

echo
echo "== summary ($([ $full = yes ] && echo full || echo sampled), $SECONDS s)"
printf '%s\n' "${summary[@]}"
if [ $failed -gt 0 ]; then
    echo "$failed of ${#summary[@]} steps FAILED"
    exit 1
fi
echo "all ${#summary[@]} steps passed"
