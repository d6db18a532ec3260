"""Snakemake's executor for SLURM, made to outlast what clusters do to jobs.

Submitting is snakemake-executor-plugin-slurm's. Its own are here:

- a job is the rule's shell command, written out when it is submitted: what is changed afterwards
  in the configuration or the rules does not reach it, and no Snakemake runs within it;
- a submission that a limit refuses waits for a free place;
- a pre-empted job that SLURM does not put back into the queue is submitted again; neither this nor
  the waiting is one of the job's attempts;
- a job that SLURM has forgotten is judged by its files;
- a job that an earlier, killed snakemake has submitted is taken over;
- a GPU's model may have a hyphen in its name (nfe.cluster.gpu_option).

Registered as ``nfe-slurm`` (snakemake_executor_plugin_nfe_slurm). Used of Snakemake: the interface
of executors, and the numbers that it keeps of the jobs of unfinished files.
"""

import re
import shlex
import threading
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from nfe.cluster import container, gpu_option, queue, site

# sbatch names the limit in a line of its own: AssocMaxSubmitJobLimit, QOSMaxSubmitJobPerUserLimit.
_FULL = re.compile(r"\w*Submit\w*Limit")
_NAMED = re.compile(r"^sbatch: error: (?:Assoc|QOS)\w+$", re.MULTILINE)
# Slurms that name none, and controllers that are away or busy.
_PASSING = re.compile(
    "job submit limit|temporarily unable|Unable to contact|Socket timed out|Connection refused"
    "|Connection timed out|Zero Bytes|Transport endpoint|in standby mode"
)
# So long such a refusal is taken for a passing one where nothing of the workflow is in the queue.
_PATIENCE_SECONDS = 1800
_MOMENT_SECONDS = 5.0
# In a job: other nodes' files are seen late on network file systems. $1: seconds; then files.
_WAIT = """\
until_second=$((SECONDS + $1)); shift
for file in "$@"; do
    until [ -e "$file" ] || [ $SECONDS -ge $until_second ]; do sleep 1; done
done"""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

gpu_option.allow_hyphens()


class Executor(SlurmExecutor):  # type: ignore[misc]
    """Submits a workflow's jobs to SLURM, and keeps hold of them."""

    def __init__(self, workflow: Any, logger: Any) -> None:
        # Before the plugin starts the thread that looks after jobs.
        self._guard = threading.Lock()
        # What is to be submitted at one of the next looks, in turn.
        self._held: list[JobExecutorInterface] = []
        self._refused: dict[JobExecutorInterface, float] = {}
        self._full = False
        # Numbers of what this process has submitted, and of what it has taken over.
        self._ours: set[str] = set()
        self._inherited: set[str] = set()
        self._told: set[str] = set()
        self._answer: dict[str, queue.Job] = {}
        self._asked = -_MOMENT_SECONDS
        self._watched: list[SubmittedJobInfo] = []
        self._forgotten: dict[str, float] = {}
        self._stopped = False
        self._is_complete = False
        super().__init__(workflow, logger)

    def __post_init__(self, test_mode: bool = False) -> None:
        super().__post_init__(test_mode)
        self._is_complete = True
        # On a command line the submitting shell would expand what is meant for the job's.
        self.workflow.executor_settings.pass_command_as_script = True

    def format_job_exec(self, job: JobExecutorInterface) -> str:
        """Return the script of a job: its shell command as it is now, in a step of its own.

        A step, since SLURM's signal before the time limit goes to steps alone.
        """
        threads = "; ".join(f"export {name}={job.threads}" for name in _THREADS)
        folders = container.folders(self.workflow.config)
        setup = site.load().setup(job.resources.get("gpu", 0), folders)
        seconds = self.workflow.execution_settings.latency_wait
        inputs = [str(file) for file in job.input]
        step = f"srun --ntasks=1 --nodes=1 --cpus-per-task={job.threads} --cpu-bind=q bash -c "
        return f"{threads}\nexec {step}" + shlex.join(
            [f"{_WAIT}\n{setup}\n{job.shellcmd}", "job", str(seconds), *inputs]
        )

    def run_job(self, job: JobExecutorInterface) -> None:
        """Submit a job, unless others wait for a free place before it."""
        if self._full:
            self._hold(job)
        else:
            self._start(job)

    def report_job_submission(self, job_info: SubmittedJobInfo, register_job: bool = True) -> None:
        """Take note of a job that has been submitted."""
        if job_info.external_jobid not in self._inherited:
            self._ours.add(job_info.external_jobid)
        self._refused.pop(job_info.job, None)
        self._full = False
        super().report_job_submission(job_info, register_job)

    def report_job_error(
        self, job_info: SubmittedJobInfo, msg: str | None = None, **kwargs: Any
    ) -> None:
        """Report a failure, but for a refused submission that may be accepted later."""
        if job_info.external_jobid is None and self._passes(job_info.job, msg or ""):
            self._full = True
            self._hold(job_info.job)
        else:
            self._refused.pop(job_info.job, None)
            super().report_job_error(job_info, msg=msg, **kwargs)

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncIterator[SubmittedJobInfo]:
        """Report the jobs that have ended and yield the others; then submit what waits."""
        self.next_seconds_between_status_checks = (
            self.workflow.executor_settings.init_seconds_before_status_checks
        )
        if not self._is_complete:
            # Snakemake starts to look at jobs before it has all that this takes; there are none.
            return
        self._watched = active_jobs
        async with self.status_rate_limiter:
            states = self._states(active_jobs)
        for info in active_jobs:
            if not self._settled(info, states):
                yield info
        self._watched = []
        self._try_again()

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Cancel all jobs, those that are looked at just now as well; submit none any more."""
        self._stopped = True
        known = {info.external_jobid: info for info in (*self._watched, *active_jobs)}
        super().cancel_jobs(list(known.values()))

    def _states(self, infos: list[SubmittedJobInfo]) -> dict[str, queue.Job] | None:
        """Return what SLURM says of jobs; None where it does not answer."""
        if not infos:
            return {}
        clusters = _clusters(infos)
        try:
            known = queue.queued(clusters)
        except queue.Unanswered as error:
            self.logger.warning(f"SLURM does not answer, asked again later ({error}).")
            return None
        gone = {info.external_jobid for info in infos} - set(known)
        return {**queue.accounted(sorted(gone), clusters), **known}

    def _settled(self, info: SubmittedJobInfo, states: dict[str, queue.Job] | None) -> bool:
        """Report a job that has ended; return whether it has."""
        if states is None:
            return False
        if info.external_jobid not in states:
            return self._judged(info)
        self._forgotten.pop(info.external_jobid, None)
        job = states[info.external_jobid]
        if job.state == queue.PREEMPTED:
            self.logger.warning(
                f"SLURM job {info.external_jobid} was pre-empted: it is submitted again."
            )
            self._hold(info.job)
        elif job.state == queue.COMPLETED:
            self._succeeded(info)
        elif job.ended:
            self._failed(info, f"its state is {job.state}")
        return job.ended

    def _judged(self, info: SubmittedJobInfo) -> bool:
        """Report a job that SLURM does not know any more, by its files; wait for late ones."""
        since = self._forgotten.setdefault(info.external_jobid, time.monotonic())
        if _made(info.job.output):
            self._succeeded(info)
        elif time.monotonic() - since > self.workflow.execution_settings.latency_wait:
            self._failed(info, "it is gone from squeue and sacct, and has not made all its files")
        else:
            return False
        return True

    def _succeeded(self, info: SubmittedJobInfo) -> None:
        log = (info.aux or {}).get("slurm_logfile")
        if log and not self.workflow.executor_settings.keep_successful_logs:
            Path(log).unlink(missing_ok=True)
        self.report_job_success(info)

    def _failed(self, info: SubmittedJobInfo, reason: str) -> None:
        log = (info.aux or {}).get("slurm_logfile")
        self.report_job_error(
            info,
            msg=f"SLURM job {info.external_jobid} failed: {reason}. ",
            aux_logs=[str(log)] if log else [],
        )

    def _passes(self, job: JobExecutorInterface, message: str) -> bool:
        """Return whether a submission's refusal may pass, and say so the first time."""
        said = message.partition("sbatch call:")[0]
        full = _FULL.search(said)
        if not full and (_NAMED.search(said) or not _PASSING.search(said)):
            return False
        now = time.monotonic()
        with self.lock:
            others = bool(self.active_jobs or self._watched)
        if not self._refused:
            self.logger.warning(
                "SLURM takes no more jobs for now; what is refused waits until it does "
                f"({said.strip()})"
            )
        since = self._refused.setdefault(job, now)
        if full or others:
            self._refused[job] = now
        return bool(full) or others or now - since < _PATIENCE_SECONDS

    def _hold(self, job: JobExecutorInterface) -> None:
        with self._guard:
            self._held.append(job)

    def _try_again(self) -> None:
        """Submit the jobs that are held, up to the first refusal."""
        self._full = False
        with self._guard:
            held, self._held = self._held, []
        while held and not self._full and not self._stopped:
            self._start(held.pop(0))
        with self._guard:
            # The one that was refused goes last: another one may fit where it does not.
            self._held[:0] = held

    def _start(self, job: JobExecutorInterface) -> None:
        """Submit a job, or take over the one that makes the same."""
        if self._stopped:
            return
        try:
            if not self._taken_over(job):
                for file in (*job.output, *job.log):
                    Path(file).parent.mkdir(parents=True, exist_ok=True)
                for file in job.log:
                    Path(file).unlink(missing_ok=True)
                super().run_job(job)
        except queue.Unanswered as error:
            self.report_job_error(SubmittedJobInfo(job), f"Unable to contact SLURM: {error}")

    def _taken_over(self, job: JobExecutorInterface) -> bool:
        """Return whether a job of before makes a job's files, or must end before it is submitted.

        What would make some of them only, and has not started yet, is cancelled.
        """
        if slipped := self._slipped(job):
            self._take_over(job, slipped)
            return True
        marks = {str(file): self._mark(file) for file in job.output}
        numbers = {number for number in marks.values() if number} - self._ours
        if not numbers:
            return False
        missing = {file for file in marks if not Path(file).exists()}
        before = {n: known for n, known in self._queued().items() if n in numbers}
        if not missing:
            before |= queue.accounted(sorted(numbers - set(before)))
        before = {n: known for n, known in before.items() if self._is_here(known)}
        live = [n for n, known in before.items() if not known.ended]
        done = [n for n, known in before.items() if known.state == queue.COMPLETED]
        makes_all = [
            *(n for n in live if len(live) == 1 and all(marks[file] == n for file in missing)),
            *(n for n in done if set(marks.values()) == {n} and not missing),
        ]
        if makes_all:
            self._take_over(job, makes_all[0])
            return True
        return self._must_wait(job, {n: before[n] for n in live})

    def _must_wait(self, job: JobExecutorInterface, twins: dict[str, queue.Job]) -> bool:
        """Cancel the twins that wait; hold the job back where one runs."""
        running = [n for n, known in twins.items() if not known.waits or n in self._inherited]
        for number in set(twins) - set(running):
            self.logger.info(f"SLURM job {number} of an earlier call is cancelled: replaced.")
            queue.cancel(number)
            self._asked = -_MOMENT_SECONDS
        if running:
            said = (
                f"Job {job.jobid} waits for SLURM job {running[0]}, which makes some of its files."
            )
            if said not in self._told:
                self.logger.info(said)
                self._told.add(said)
            self._hold(job)
        return bool(running)

    def _take_over(self, job: JobExecutorInterface, number: str) -> None:
        self.logger.info(f"Job {job.jobid} is SLURM job {number}, submitted before.")
        self._inherited.add(number)
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=number, aux={}))

    def _mark(self, file: str) -> str | None:
        """Return the number of the SLURM job that Snakemake has noted for an unfinished file."""
        noted = self.workflow.persistence.external_jobids(SimpleNamespace(output=[file]))
        return noted[0] if noted else None

    def _slipped(self, job: JobExecutorInterface) -> str | None:
        """Return the number of a job that SLURM took although sbatch was told nothing of it."""
        if job not in self._refused:
            return None
        for number, known in self._queued().items():
            same = known.name == self.run_uuid and known.comment == f"rule_{job.name}"
            if same and not known.ended and number not in self._ours:
                return number
        return None

    def _queued(self) -> dict[str, queue.Job]:
        """Return the user's jobs as they were a moment ago: many jobs ask at the same time."""
        with self._guard:
            if time.monotonic() - self._asked > _MOMENT_SECONDS:
                self._answer = queue.queued()
                self._asked = time.monotonic()
            return self._answer

    def _is_here(self, job: queue.Job) -> bool:
        return Path(job.folder).resolve() == Path(self.workflow.workdir_init).resolve()


def _made(files: Iterable[str]) -> bool:
    return all(Path(file).exists() for file in files)


def _clusters(infos: Iterable[SubmittedJobInfo]) -> list[str]:
    """Return the clusters that jobs were sent to by name."""
    keys = ("cluster", "clusters", "slurm_cluster")
    return sorted({str(i.job.resources.get(key)) for i in infos for key in keys} - {"None", ""})
