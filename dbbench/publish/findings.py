"""What was found, in a few sentences and a tally: the first thing that the report, the terminal and README show."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dbbench.cards import CARDS
from dbbench.config import Plan
from dbbench.files import read_text
from dbbench.judgement.judge import Verdict
from dbbench.judgement.words import ELSEWHERE
from dbbench.publish.verdicts import (
    SOURCES,
    Judged,
    as_text,
    check_verdicts,
    judgements,
    read_verdicts,
    seeds_text,
    shown,
    verdicts_of,
)
from dbbench.runs.places import HERE, REFERENCE, scale_folder, table_file, verdicts_file

#: words in the order in which they are counted
WORDS = (*("REPRODUCED", "HOLDS", "NO DIFFERENCE", "FAILS", "NOT REPRODUCED", "UNDECIDED", "NOT TESTABLE", "NOT RUN"),)
#: words of what was tested
TESTED = WORDS[:6]
#: columns of a terminal
WIDTH = 110
#: a claim judged on another's numbers
COPY = "SEE"
#: the findings of the reference results, in their folder
FINDINGS = "findings.md"


@dataclass(frozen=True)
class Findings:
    """The findings of a scale.

    Attributes:
        tally: word -> distinct claims, of the paper and of ours.
        told: one claim per subject: its first that was measured, the paper's before ours.
        first: so of each theme, for the report's first screen.
        files: what to open next, relative to the project; those that are there.
    """

    scale: str
    tally: dict[str, dict[str, int]]
    told: tuple[Verdict, ...]
    first: tuple[Verdict, ...]
    claims: tuple[Verdict, ...]
    files: tuple[Path, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is told, in words."""
        return tuple(map(sentence, self.told))


def order_of(name: str) -> tuple[int, int, str]:
    """The paper's order of experiments: tables by number, figures, then ours by name; memory beside the time of Table 12."""
    if name.startswith("memory"):
        return 0, 12, name
    kind = re.match(r"(table|figure)(\d+)", name)
    return (("table", "figure").index(kind[1]), int(kind[2]), name) if kind else (2, 0, name)


def in_order(plan: Plan) -> list[str]:
    """The experiments of a plan in the paper's order."""
    return sorted(plan.experiments, key=order_of)


def subject(plan: Plan, experiment: str) -> str:
    """What an experiment is about: memory and time where nothing is trained, else its architecture."""
    arms = plan.arms[experiment].values()
    profiles = {c.profile.kind for c in arms if c.profile is not None}
    return min(profiles) if profiles else plan.experiments[experiment].architecture or experiment


def theme(plan: Plan, experiment: str) -> str:
    """What an experiment is about in a word: classes, images or text that a network gives, memory or time."""
    about = subject(plan, experiment)
    trained = [c for c in plan.arms[experiment].values() if c.profile is None]
    if not trained:
        return about
    if CARDS[trained[0].data.name].kind in ("text", "sequences"):
        return "text"
    return "images" if trained[0].model.denoises else "classes"


def tallies(verdicts: Iterable[Verdict]) -> dict[str, dict[str, int]]:
    """Source of the claim -> word -> number of distinct claims; null controls are none."""
    counts = {"paper": Counter[str](), "ours": Counter[str]()}
    for v in verdicts:
        if v.word != COPY and v.claim.kind != "null":
            counts[v.claim.source][v.word] += 1
    return {source: {word: found[word] for word in WORDS if found[word]} for source, found in counts.items()}


def tally_text(tally: dict[str, int]) -> str:
    """'3 HOLDS, 1 FAILS'."""
    return ", ".join(f"{count} {word}" for word, count in tally.items()) or "none"


def sentence(verdict: Verdict) -> str:
    """A claim, its word and its numbers, to be read alone."""
    numbers = "; ".join(filter(None, (shown(verdict), seeds_text(verdict))))
    return _worded(as_text(verdict) | {"shown": numbers})


def _worded(told: Mapping[str, str]) -> str:
    """A claim in a sentence, from the columns claim, statement, verdict, reason and shown of `as_text` or a verdicts file."""
    why = f" because {told['reason']}" if told["verdict"] in ("NOT TESTABLE", "NOT RUN") else ""
    elsewhere = [part for part in told["reason"].split("; ") if part.startswith(ELSEWHERE)]  # its own numbers may say otherwise
    why = f" because it {elsewhere[0]}" if elsewhere else why
    numbers = f" ({told['shown']})" if told["shown"] else ""
    return f"{told['statement']} ({told['claim']}): **{told['verdict']}**{why}{numbers}."


def _telling(verdicts: list[Verdict]) -> Verdict | None:
    """Of a subject's verdicts the one to tell: the first of the paper's claims with a number, else of ours."""
    measured = [v for v in verdicts if v.claim.kind != "null" and v.word not in (COPY, "NOT RUN")]
    decided = [v for v in measured if v.word != "NOT TESTABLE"]
    for candidates in (decided, measured):
        for source in ("paper", "ours"):
            found = [v for v in candidates if v.claim.source == source]
            if found:
                return found[0]
    return None


def _told(plan: Plan, made: dict[str, Judged], about: Callable[[Plan, str], str]) -> Iterator[Verdict]:
    """The verdict to tell of each subject or theme."""
    gathered: dict[str, list[Verdict]] = {}
    for name in in_order(plan):
        if name in made:
            gathered.setdefault(about(plan, name), []).extend(verdicts_of(plan, name, made[name]))
    for verdicts in gathered.values():
        told = _telling(verdicts)
        if told is not None:
            yield told


def find(plan: Plan, root: Path = HERE) -> Findings:
    """What was found, from the files of a scale alone; experiments without cells of this plan are not run.

    Raises:
        DamagedError: cells, or the verdicts that a reader is sent to, are there, but not what was written.
    """
    made = judgements(plan, root)
    check_verdicts(plan, made, root)
    verdicts = [v for name in in_order(plan) if name in made for v in verdicts_of(plan, name, made[name])]
    tables = [table_file(plan.scale, name, "md") for name in in_order(plan) if plan.experiments[name].cells]
    files = [scale_folder(plan.scale) / "report.html", verdicts_file(plan.scale, "md"), *tables]
    there = tuple(path for path in files if (root / path).exists())
    told, first = (tuple(_told(plan, made, about)) for about in (subject, theme))
    return Findings(plan.scale, tallies(verdicts), told, first, tuple(verdicts), there)


def render(findings: Findings, experiment: str | None = None) -> str:
    """The findings for a terminal; with an experiment, its claims one by one in the place of the sentences."""
    lines = [f"dbbench, scale {findings.scale}", ""]
    if not findings.files:
        what = "Nothing has" if experiment is None else f"{experiment} has not"
        return "\n".join([*lines, f"{what} been run here yet."])
    if experiment is None:
        lines += [textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in map(_plain, findings.sentences)]
    else:
        own = [v for v in findings.claims if v.experiment == experiment]
        lines += [textwrap.fill(_plain(sentence(v)), WIDTH, subsequent_indent="  ") for v in own] or ["no claims"]
    counted = {SOURCES[source]: tally_text(tally) for source, tally in findings.tally.items()}
    lines += ["", *(f"{title}: {text}" for title, text in counted.items()), ""]
    return "\n".join([*lines, *map(str, findings.files)]).rstrip()


def kept_findings(scale: str, experiment: str | None = None, root: Path = HERE) -> str:
    """What the reference results of a scale say, of an experiment claim by claim; empty without any.

    For a terminal, where nothing was run.
    """
    folder = REFERENCE / scale
    if not (root / folder / FINDINGS).exists():
        return ""
    told = [line for line in read_text(root / folder / FINDINGS).splitlines() if line and line[0] not in "!["]
    page = folder / "report.html"
    if experiment is not None:
        told, page = list(_kept_claims(root / folder, experiment)), folder / "tables" / f"{experiment}.md"
        if not told:
            return ""
    lines = [textwrap.fill(_plain(line).rstrip(), WIDTH, subsequent_indent="  ") for line in told]
    return "\n".join(["The reference results, which come with the repository:", "", *lines, "", str(page)])


def _kept_claims(folder: Path, experiment: str) -> Iterator[str]:
    """A sentence for each claim of an experiment that the reference results in `folder` have judged."""
    for row in read_verdicts(folder / "verdicts.csv").to_dict("records"):
        if row["experiment"] == experiment:
            yield _worded({str(column): value for column, value in row.items()})


def as_json(findings: Findings) -> str:
    """The findings as JSON: every claim with its word and numbers."""
    told = {"scale": findings.scale, "tally": findings.tally, "sentences": [_plain(s) for s in findings.sentences]}
    claims = [as_text(v) | {"source": v.claim.source} for v in findings.claims]
    return json.dumps(told | {"claims": claims, "files": [str(f) for f in findings.files]})


def _plain(text: str) -> str:
    return text.replace("**", "")
