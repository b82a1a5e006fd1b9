#!/usr/bin/env bash
# dist_train.sh and dist_test.sh call this: torchrun with the usual environment variables.
# TORCHRUN_ARGS: more flags for torchrun, such as --max-restarts=3
set -euo pipefail
gpus=$1
shift
# TORCHRUN_ARGS may be several words.
# shellcheck disable=SC2086
exec "${PYTHON:-python}" -u "$(dirname "$0")/torchrun.py" \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$gpus" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" ${TORCHRUN_ARGS:-} \
    "$@" --launcher pytorch
