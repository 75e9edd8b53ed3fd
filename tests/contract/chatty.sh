#!/usr/bin/env bash
# Ten chatty containers for 15 minutes: each stream rotates at least three times.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ids=()
for ((i = 0; i < 10; i++)); do
    ids+=("$(run_chatty 10)")
done
wait_for_series "${ids[@]}"
sleep_minutes 15
expect_rotations 3 "${ids[@]}"
expect_no_complaint
verdict
