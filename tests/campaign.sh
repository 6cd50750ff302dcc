#!/usr/bin/env bash
# The long runs of what CI samples, against a Release build: rotation under 200 sessions, the audit log under
# kills, 2,000 endpoints that wait for a controller, 200 kills and a failing disk, random acts by the thousand.
#
#   tests/campaign.sh [NAME...]     of: rotation audit storm faults acts; about 15 minutes in all
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/sbin:/sbin
./tests/deps.sh test
cmake -S . -B build/campaign -G Ninja -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build build/campaign | tail -n 1
export WEFT_FULL=1 WEFT_STEP_SECONDS=1800 WEFT_BIN=$PWD/build/campaign/bin

failed=()
for name in "${@:-rotation audit storm faults acts}"; do
    for one in $name; do
        echo "== $one"
        case "$one" in
        rotation) python3 -B tests/e2e/18_rotation.py ;;
        audit) python3 -B tests/e2e/20_audit.py ;;
        storm) python3 -B tests/e2e/23_storm.py ;;
        faults) python3 -B tests/e2e/24_faults.py ;;
        acts) build/campaign/tests/test_controller_catalog ;;
        *)
            echo "there is no campaign $one" >&2
            exit 2
            ;;
        esac || failed+=("$one")
    done
done
[ ${#failed[@]} -eq 0 ] || {
    echo "failed: ${failed[*]}"
    exit 1
}
echo "all passed"
