#!/usr/bin/env bash
# Train on several devices. For several machines, run this on each of them with NNODES, NODE_RANK and MASTER_ADDR.
#   tools/dist_train.sh CONFIG GPUS [flags of tools/train.py]
#   TORCHRUN_ARGS=--max-restarts=3 tools/dist_train.sh CONFIG 8    restart and resume if a process fails
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=10.1.1.1 tools/dist_train.sh CONFIG 8
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 CONFIG GPUS [flags of tools/train.py]" >&2; exit 2; }
config=$1 gpus=$2
shift 2
exec "$(dirname "$0")/torchrun.sh" "$gpus" "$(dirname "$0")/train.py" "$config" "$@"
