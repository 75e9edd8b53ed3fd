#!/usr/bin/env bash
# The load test: 55 containers, busy and idle ones, for 30 minutes. Each rotates at least six times,
# nothing that is counted grows, and no stream has an error. The original allowed some growth.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

export -f api run_container run_idle run_chatty say
mapfile -t ids < <(
    seq 55 | xargs -P 8 -I N bash -c 'if ((N % 5 == 0)); then run_idle; else run_chatty 5; fi'
)
if [ "${#ids[@]}" -ne 55 ]; then
    fail "only ${#ids[@]} containers started"
fi
wait_for_series "${ids[@]}"
began=$SECONDS
# From here on every stream has been replaced once, and every output file is open.
if [ "$INTERVAL_MS" -ge 300000 ]; then
    sleep_minutes 5.1
fi
expect_rotations 1 "${ids[@]}"
activities=$(least_of activities)
descriptors=$(least_of descriptors)
if [ "$INTERVAL_MS" -ge 300000 ]; then
    sleep_minutes "$(awk -v passed="$((SECONDS - began))" 'BEGIN { print 30 - passed / 60 }')"
fi
expect_rotations 6 "${ids[@]}"
expect_no_growth activities "$activities"
expect_no_growth descriptors "$descriptors"
active=$(metrics | grep '^log_capturer_container_streams_active ' | awk '{print $2}')
if [ "$active" -lt 55 ]; then
    fail "$active streams are active"
fi
expect_no_complaint
verdict
