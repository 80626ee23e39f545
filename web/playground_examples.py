"""Ready-made questions for the playground, each with the passage that answers it marked, so that a miss is seen too.

Passages that look much like the question stand before the one that answers it. Chosen so that the packaged model moves
the answer up, to the first place in three of four.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """A question and passages; `right` is the place of the one that answers, from 0."""

    name: str
    label: str
    query: str
    passages: tuple[str, ...]
    right: int


EXAMPLES = (
    Example(
        "film",
        "A film, by what happens in it",
        "movie in which a man is watched by everybody without knowing",
        (
            "The Day After Tomorrow (2004). A sudden ice age strikes the north, and a man walks to New York to find his son.",
            "Memento (2000). Somebody who cannot form new memories hunts a murderer with notes and tattoos.",
            "Groundhog Day (1993). A weatherman is caught in a time loop: each morning begins like the last one, until he "
            "has become a better person.",
            "Alien (1979). The crew of a freighter answers a distress call and brings a deadly creature on board.",
            "The Matrix (1999). A hacker learns that the world is a simulation, and that humanity sleeps in pods.",
            "Titanic (1997). A young aristocrat and a penniless artist fall in love aboard an ocean liner.",
            "Finding Nemo (2003). A clownfish crosses the ocean to look for his son, who was caught by a diver.",
            "The Truman Show (1998). An insurance salesman finds out that his whole life is a television programme.",
            "Cast Away (2000). A courier's plane crashes in the Pacific, and he lives alone on an island for four years.",
        ),
        7,
    ),
    Example(
        "charges",
        "A disputed charge among billing pages",
        "There is a payment that I do not recognize",
        (
            "When we charge you. Your card is charged on the first day of the month; a failed charge is tried again.",
            "Understanding your statement. It lists each charge of the month, the card it was made with, and taxes.",
            "Change your card. Open Billing, choose Payment methods, and enter the number of the new card.",
            "Add credit. Put money on your account in advance, and purchases are taken from it.",
            "Download invoices. For every charge there is an invoice, under Billing, History.",
            "Change your plan. A larger plan is charged at once for the rest of the month.",
            "Disputing a transaction. Tell us within 60 days of a payment that you did not authorize; the amount is credited "
            "while we investigate the fraud.",
            "Taxes and fees. Which taxes are added depends on the country of your billing address.",
        ),
        6,
    ),
    Example(
        "coffee",
        "A question of health, asked in other words",
        "is it safe to drink coffee while I am pregnant?",
        (
            "How to brew safe drinking water with a coffee filter.",
            "Coffee shops near the clinic serve drinks until six.",
            "Which coffee should I drink? A guide to roasts.",
            "Caffeine during pregnancy: up to 200 mg a day, about two cups, has not been shown to harm the baby.",
            "While I am away: how to set an answer for your mail.",
        ),
        3,
    ),
    Example(
        "git",
        "An instruction among its neighbours",
        "how do I take back my last commit without losing my work?",
        (
            "git commit: record changes to the repository.",
            "git log: show the commit logs, the last one first.",
            "git worktree: manage several working trees of one repository.",
            "git push: update remote refs along with associated objects.",
            "git reset --soft HEAD~1: undo a commit and keep its changes in the index and the working tree.",
            "git clean: remove untracked files from the working tree.",
            "git stash: put changes aside in a dirty working directory.",
        ),
        4,
    ),
)
"""In the order in which they are offered."""
