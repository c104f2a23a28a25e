#!/bin/bash
# sbatch plate.sh ADAPTER PLATE OUT [OPTION...]: translate a plate in ten jobs, and gather what they made
#SBATCH --array=1-10
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
set -euo pipefail
work=(phenolens translate "$1" "$2" --out "$3" "${@:4}")

if [ "$SLURM_ARRAY_TASK_ID" = "$SLURM_ARRAY_TASK_MIN" ]; then
    # once all jobs have ended, whatever became of them: gathering names what is missing
    sbatch --dependency="afterany:$SLURM_ARRAY_JOB_ID" --wrap "$(printf '%q ' "${work[@]}" --gather)"
fi
"${work[@]}" --job "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
