#!/bin/bash
# sbatch plate.sh ADAPTER PLATE OUT: translate a plate in ten jobs, and gather what they made
#SBATCH --array=1-10
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
set -euo pipefail
adapter=$1 plate=$2 out=$3
jobs=$SLURM_ARRAY_TASK_COUNT

if [ "$SLURM_ARRAY_TASK_ID" = "$SLURM_ARRAY_TASK_MIN" ]; then
    # once all jobs have ended, whatever became of them: gathering names what is missing
    sbatch --dependency="afterany:$SLURM_ARRAY_JOB_ID" --array=1 \
        --wrap "phenolens translate '$adapter' '$plate' --out '$out' --gather"
fi
phenolens translate "$adapter" "$plate" --out "$out" --job "$SLURM_ARRAY_TASK_ID/$jobs"
