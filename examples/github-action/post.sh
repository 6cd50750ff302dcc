#!/usr/bin/env bash
# The step of action.yml. Inputs come as INPUT_... variables, the identity as
# WEFT_IDENTITY (the JSON itself), the webhook secret as WEFT_WEBHOOK_SECRET.
set -euo pipefail
umask 077

fail() {
  echo "::error::$1"
  exit "${2:-2}"
}

work= child=
# run COMMAND...: so that a signal is obeyed at once, not when the command ends
run() {
  "$@" &
  child=$!
  wait "$child"
}
stop() {
  [ -z "$child" ] || kill "$child" 2>/dev/null || true
  wait
  exit "$1"
}
trap 'rm -rf "$work"' EXIT
trap 'stop 143' TERM
trap 'stop 130' INT
work=$(mktemp -d "${RUNNER_TEMP:-/tmp}/weft-post.XXXXXX")

: "${GITHUB_OUTPUT:=/dev/null}"
[ -n "${INPUT_SERVICE:-}" ] || fail "service: say which one"
case "${INPUT_OIDC:-false}" in
  true)
    [ -z "${WEFT_IDENTITY:-}" ] || fail "identity: leave it with oidc"
    [ -n "${INPUT_JOIN_TOKEN:-}" ] || fail "join-token: needed with oidc (weft oidc token NAME)"
    [ -n "${ACTIONS_ID_TOKEN_REQUEST_URL:-}" ] && [ -n "${ACTIONS_ID_TOKEN_REQUEST_TOKEN:-}" ] ||
      fail "oidc: the job lacks the permission id-token: write"
    [[ "${INPUT_AUDIENCE:-}" =~ ^[A-Za-z0-9._~:/-]+$ ]] || fail "audience: letters, digits and ._~:/- only"
    ;;
  false | '')
    case "${WEFT_IDENTITY:-}" in
      '{'*) ;;
      '') fail "identity: the secret is empty (is it available to this workflow?)" ;;
      *) fail "identity: expected the identity's JSON, not a path or a token" ;;
    esac
    ;;
  *) fail "oidc: true or false" ;;
esac
export WEFT_IDENTITY XDG_STATE_HOME="$work/state"
if [ -n "${WEFT_WEBHOOK_SECRET:-}" ]; then export WEFT_WEBHOOK_SECRET; else unset WEFT_WEBHOOK_SECRET; fi

weft=${INPUT_WEFT:-}
if [ -n "${INPUT_WEFT_URL:-}" ]; then
  [[ "${INPUT_WEFT_SHA256:-}" =~ ^[0-9a-f]{64}$ ]] || fail "weft-sha256: 64 hex digits are needed with weft-url"
  weft=$work/weft
  run curl --fail --silent --show-error --location --proto '=https,file' --max-time 120 --max-filesize 104857600 \
    --output "$weft" "$INPUT_WEFT_URL" || fail "weft-url: the program could not be fetched" 4
  echo "$INPUT_WEFT_SHA256  $weft" | sha256sum --check --status || fail "weft-sha256: the fetched program is another one" 5
  chmod 700 "$weft"
fi
[ -n "$weft" ] || weft=$(command -v weft) || fail "weft: not in PATH; give weft or weft-url"
[ -x "$weft" ] || fail "weft: $weft is no program"

if [ "${INPUT_OIDC:-false}" = true ]; then
  # The request's own token goes by a file of ours: arguments show in the process list.
  printf 'header = "Authorization: bearer %s"\n' "$ACTIONS_ID_TOKEN_REQUEST_TOKEN" >"$work/ask"
  run curl --config "$work/ask" --fail --silent --show-error --proto '=https,http' --max-time 30 --retry 2 \
    --max-filesize 65536 --output "$work/answer" "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=$INPUT_AUDIENCE" ||
    fail "oidc: GitHub gave no token" 4
  sed -n 's/.*"value" *: *"\([A-Za-z0-9_.-]*\)".*/\1/p' "$work/answer" >"$work/oidc"
  [ -s "$work/oidc" ] || fail "oidc: GitHub's answer holds no token" 4
  printf '%s' "$INPUT_JOIN_TOKEN" >"$work/join.jwt"
  run "$weft" enroll "$work/join.jwt" --oidc-token "$work/oidc" --out "$work/identity.json" 2>"$work/words" || {
    code=$?
    cat "$work/words" >&2
    fail "weft enroll: $(tail -n 1 "$work/words")" "$code"
  }
  rm -f "$work/ask" "$work/answer" "$work/oidc"
  WEFT_IDENTITY=$work/identity.json
fi
unset ACTIONS_ID_TOKEN_REQUEST_TOKEN INPUT_JOIN_TOKEN

if [ -n "${INPUT_DATA_FILE:-}" ]; then
  data=@$INPUT_DATA_FILE
elif [ -n "${INPUT_DATA:-}" ]; then
  printf '%s' "$INPUT_DATA" >"$work/data"
  data=@$work/data
elif [ -n "${GITHUB_EVENT_PATH:-}" ]; then
  data=@$GITHUB_EVENT_PATH
else
  fail "data: nothing to send"
fi

arguments=(post "$INPUT_SERVICE" "${INPUT_PATH:-/}" --data "$data" --method "${INPUT_METHOD:-POST}"
  --timeout "${INPUT_TIMEOUT:-60s}" --retry "${INPUT_RETRY:-3}")
[ -z "${INPUT_EVENT:-}" ] || arguments+=(--header "X-GitHub-Event: $INPUT_EVENT")
[ -z "${GITHUB_RUN_ID:-}" ] || arguments+=(--header "X-GitHub-Delivery: ${GITHUB_RUN_ID}-${GITHUB_RUN_ATTEMPT:-1}")

code=0
run "$weft" "${arguments[@]}" >"$work/body" 2>"$work/words" || code=$?
cat "$work/words" >&2
status=$(sed -n 's/^HTTP \([0-9]\{3\}\)$/\1/p' "$work/words" | tail -n 1)

mark=weft_$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
{
  echo "status=$status"
  echo "body<<$mark"
  head -c 65536 "$work/body" | tr -d '\000'
  echo
  echo "$mark"
} >>"$GITHUB_OUTPUT"
[ "$code" = 0 ] || fail "weft post $INPUT_SERVICE: $(tail -n 1 "$work/words")" "$code"
