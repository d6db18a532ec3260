#!/bin/bash
# The head process as a job, where login nodes kill long processes (docs/slurm.md):
#
#   sbatch slurm/head.sh --configfile config/paper.yaml
#
# It starts snakemake --profile slurm with these arguments. Before its time limit it puts itself back
# into the queue and starts again.
#SBATCH --job-name=nfe-head
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=1-00:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=head-%j.log

# What SLURM tells this job is not for the jobs that it submits.
job=$SLURM_JOB_ID
for name in ${!SLURM_*}; do
    [ "$name" = SLURM_CONF ] || unset "$name"
done

again() {
    # Killed, not asked to end: snakemake that is asked to end would end its jobs as well.
    kill -KILL "$head"
    scontrol requeue "$job"
    # Until SLURM ends it: a job that ends by itself is not put back.
    sleep 300
}
trap again USR1
snakemake --profile slurm "$@" &
head=$!
wait "$head"
