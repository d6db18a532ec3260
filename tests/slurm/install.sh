#!/usr/bin/env bash
# Installs what tests/slurm needs from Debian's packages; as root, again at no cost.
#
# The client tools go to a folder that only the tests put on PATH: with sbatch and its like present
# and no controller answering, every snakemake call on this machine would wait for it.
set -euo pipefail
tools=/opt/nfe-bench-slurm/bin
missing=""
for program in $tools/sbatch slurmctld slurmd slurmdbd munged mariadbd; do
    command -v $program >/dev/null || missing="$missing $program"
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "install.sh: root is needed to install$missing" >&2; exit 1; }
mkdir -p $tools
for tool in sacct sacctmgr salloc sattach sbatch sbcast scancel scontrol sdiag sinfo sprio squeue \
    sreport srun sshare sstat strigger; do
    dpkg-divert --quiet --local --rename --divert $tools/$tool --add /usr/bin/$tool
done
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends slurmctld slurmd slurmdbd munge mariadb-server
