"""The apparent Big Five: names, order, poles and ranges, in one place."""

from typing import Final

TRAITS: Final = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")
"""The five traits in the order every array, table and file of thinslice uses."""

INTERVIEW: Final = "interview"
"""The sixth variable of First Impressions V2: would you invite this person to a job interview?"""

TARGETS: Final = (*TRAITS, INTERVIEW)
"""The traits with the interview variable after them."""

SCORE_RANGE: Final = (0.0, 1.0)
"""Lowest and highest possible score of every target."""

POLES: Final = {
    "openness": ("practical", "imaginative"),
    "conscientiousness": ("sloppy", "organized"),
    "extraversion": ("reserved", "friendly"),
    "agreeableness": ("self-interested", "authentic"),
    "neuroticism": ("uneasy", "comfortable"),
    "interview": ("would not invite", "would invite"),
}
"""What a score of 0 and a score of 1 mean, as the annotators read it.

First Impressions scores the column ``neuroticism`` the other way round: 1 is comfortable, 0 is uneasy.
Data keeps the column's name; whatever a person reads shows the poles.
"""
