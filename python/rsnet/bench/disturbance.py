"""How busy other programs kept the machine while it was measured on."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

# In /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal. Guests, which follow, are in
# user already.
_FIELDS = 8
_IDLE = (3, 4)
_STEAL = 7


@dataclass(frozen=True)
class Processor:
    """Seconds of processor time since the start, over all cores; `ours_s` is of our processes."""

    total_s: float
    busy_s: float
    stolen_s: float
    ours_s: float


def processor() -> Processor:
    """The counters as they are now. Children count once they have been waited for."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split()[1 : 1 + _FIELDS]]
    seconds = [each / os.sysconf("SC_CLK_TCK") for each in ticks]
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    idle_s = sum(seconds[n] for n in _IDLE)
    return Processor(
        sum(seconds),
        sum(seconds) - idle_s - seconds[_STEAL],
        seconds[_STEAL],
        sum(each.ru_utime + each.ru_stime for each in spent),
    )


def others_share(before: Processor, after: Processor) -> float:
    """The share of all cores' time that other programs and the host of a virtual machine took."""
    others_s = (after.busy_s - before.busy_s) - (after.ours_s - before.ours_s)
    stolen_s = after.stolen_s - before.stolen_s
    total_s = after.total_s - before.total_s
    return max(0.0, others_s + stolen_s) / total_s if total_s else 0.0
