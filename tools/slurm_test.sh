#!/usr/bin/env bash
# Test on a Slurm cluster.
#   GPUS=8 tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [flags of tools/test.py]
# The environment variables are the same as for slurm_train.sh.
set -euo pipefail
[ $# -ge 4 ] || { echo "usage: [GPUS=8] $0 PARTITION JOB_NAME CONFIG CHECKPOINT [flags of tools/test.py]" >&2; exit 2; }
partition=$1 job=$2
shift 2
exec "$(dirname "$0")/srun.sh" "$partition" "$job" "$(dirname "$0")/test.py" "$@"
