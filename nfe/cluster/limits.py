"""What the accounting limits: how many jobs a user may have at once, and how long each may take.

Associations, qualities of service and partitions' own ones can each set a limit; the least holds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nfe.cluster.finding import Finding, ask
from nfe.cluster.site import FILE, Site

# Columns of sacctmgr that limit the jobs in the queue, and the time of each.
_OF_ASSOCIATION = ("maxsubmitjobs", "grpsubmitjobs", "maxwall")
_OF_QOS = ("maxsubmitjobsperuser", "maxsubmitjobsperaccount", "grpsubmitjobs", "maxwall")


@dataclass(frozen=True)
class Limit:
    """A limit that somebody has set.

    Attributes:
        where: what has it, in words.
        jobs: jobs that may be queued or running; None where it is about time.
        minutes: minutes that a job may take; None where it is about jobs.
    """

    where: str
    jobs: int | None = None
    minutes: float | None = None


def findings(
    chosen: Site, user: str, cluster: str, shown: Mapping[str, Mapping[str, str]]
) -> Iterator[Finding]:
    """Yield which of the site's numbers are above what the accounting lets the user have.

    Args:
        chosen: the site's settings.
        user: the user's name.
        cluster: the cluster to ask about; empty for the default one.
        shown: of each partition, what scontrol shows of it.
    """
    found = list(_limits(chosen, user, cluster, shown))
    submits = [limit for limit in found if limit.jobs is not None]
    walls = [limit for limit in found if limit.minutes is not None]
    if submits:
        least = min(submits, key=lambda limit: limit.jobs or 0)
        if (least.jobs or 0) < chosen.max_jobs:
            said = f"max_jobs is {chosen.max_jobs}, {least.where} allows {least.jobs}"
            yield Finding(False, "limit", f"{said}: set it so in {FILE}")
    if walls:
        shortest = min(walls, key=lambda limit: limit.minutes or 0)
        if (shortest.minutes or 0) < chosen.max_minutes:
            said = f"max_minutes is {chosen.max_minutes}, {shortest.where} allows"
            yield Finding(False, "limit", f"{said} {shortest.minutes:g}: set it so in {FILE}")


def minutes(limit: str) -> float:
    """Return the minutes of a limit as SLURM prints it: days-hours:minutes:seconds."""
    if limit.casefold() in ("infinite", "unlimited", "n/a"):
        return float("inf")
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes, _seconds = [0, 0, 0, *parts][-3:]
    return int(days or 0) * 1440 + hours * 60 + minutes


def _limits(
    chosen: Site, user: str, cluster: str, shown: Mapping[str, Mapping[str, str]]
) -> Iterator[Limit]:
    where = [f"user={user}", *([f"cluster={cluster}"] if cluster else [])]
    rows = list(
        _rows("associations", where, ("account", "partition", "defaultqos", *_OF_ASSOCIATION))
    )
    own = [row for row in rows if chosen.account in ("", row["account"])]
    for row in (r for r in own if r["partition"] in ("", *shown)):
        yield from _of(row, f"your association with account {row['account']}", _OF_ASSOCIATION)
    qos = {chosen.qos} if chosen.qos else {row["defaultqos"] for row in own}
    # A partition's own quality of service is called QoS.
    names = (qos | {settings.get("QoS", "N/A") for settings in shown.values()}) - {"", "N/A"}
    if names:
        for row in _rows("qos", [f"names={','.join(sorted(names))}"], ("name", *_OF_QOS)):
            yield from _of(row, f"quality of service {row['name']}", _OF_QOS)


def _of(row: Mapping[str, str], where: str, columns: Sequence[str]) -> Iterator[Limit]:
    for column in columns:
        value = row[column]
        if column == "maxwall" and value:
            yield Limit(f"{where} (MaxWall)", minutes=minutes(value))
        elif value.isdecimal():
            yield Limit(f"{where} ({column})", jobs=int(value))


def _rows(what: str, where: Sequence[str], columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield what sacctmgr lists, by column; nothing where it does not answer."""
    told = ask("sacctmgr", "-n", "-P", "list", what, *where, f"format={','.join(columns)}")
    for line in (told or "").splitlines():
        values = line.split("|")
        if len(values) == len(columns):
            yield dict(zip(columns, values, strict=True))
