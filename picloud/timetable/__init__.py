"""Due times: what a schedule's rule means, as pure functions of the rule, its anchor and the moments asked for.

Owns: the libraries `schedule` and `cronsim`, which say what is a rule; and the one way to due times, `slots`. Knows
nothing of schedules, their tables, and what time it is.

    rules   a rule: how it is written, and what is wrong with it
    times   the times of a day, and the days of a rule
    zones   time zones: which there are, and when their clocks are set
    slots   the due times of a rule
"""

from picloud.timetable.rules import BadRule, Rule, parse
from picloud.timetable.slots import count, following, latest, slots

__all__ = ["BadRule", "Rule", "count", "following", "latest", "parse", "slots"]
