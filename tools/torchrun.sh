#!/usr/bin/env bash
# Used by dist_train.sh and dist_test.sh: torchrun with the usual environment variables.
set -euo pipefail
gpus=$1
shift
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$gpus" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$@" --launcher pytorch
