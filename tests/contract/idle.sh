#!/usr/bin/env bash
# An idle container for 11 minutes: its stream rotates at least twice, and its heartbeat goes on.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

id=$(run_idle)
wait_for_series "$id"
sleep_minutes 11
expect_rotations 2 "$id"
beats=$(metrics | grep 'log_capturer_task_heartbeats_total{' | grep "${id:0:12}" | awk '{print $2}')
if [ "${beats:-0}" -lt 2 ]; then
    fail "${beats:-0} heartbeats"
fi
if ! grep -q '"msg":"Stream read timeout - allowing rotation"' "$RINGTAIL_LOG"; then
    fail "no read of an idle stream has expired"
fi
expect_no_complaint
verdict
