#!/usr/bin/env bash
# Test on several devices.
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [flags of tools/test.py]
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 CONFIG CHECKPOINT GPUS [flags of tools/test.py]" >&2; exit 2; }
config=$1 checkpoint=$2 gpus=$3
shift 3
exec "$(dirname "$0")/torchrun.sh" "$gpus" "$(dirname "$0")/test.py" "$config" "$checkpoint" "$@"
