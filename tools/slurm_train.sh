#!/usr/bin/env bash
# Train on a Slurm cluster.
#   GPUS=16 tools/slurm_train.sh PARTITION JOB_NAME CONFIG [flags of tools/train.py]
# Environment variables and defaults: GPUS in total (8), GPUS_PER_NODE (8), CPUS_PER_TASK (8), PORT (29500), and
# SRUN_ARGS, more flags for srun (none).
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: [GPUS=8] $0 PARTITION JOB_NAME CONFIG [flags of tools/train.py]" >&2; exit 2; }
partition=$1 job=$2
shift 2
exec "$(dirname "$0")/srun.sh" "$partition" "$job" "$(dirname "$0")/train.py" "$@"
