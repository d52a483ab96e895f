# SPDX-License-Identifier: Apache-2.0
"""Nine real recognizers on the Artie Bias Corpus: who do they fail, and are our numbers right?

Each system is audited by age, gender and accent, and two are compared. Then everything that can be
counted is counted once more without any code of this package: files by the csv module, texts by a
few lines of plain Python, errors by jiwer, sums in dictionaries. Speakers, utterances, words,
errors, WER, gaps and changes must agree to the last digit, or the script fails.

The corpus is a part of Common Voice with self-reported labels (J. Meyer et al., "Artie bias corpus:
an open dataset for detecting demographic bias in speech applications", LREC 2020); its repository
holds the predictions of the nine systems. They are of 2019 and 2020 and say nothing of today's.

Run: python benchmarks/artie.py --data artie-bias-corpus [--reports FOLDER]
"""

import argparse
import csv
import importlib.metadata
import json
import re
import subprocess
import sys
import unicodedata
from collections import defaultdict
from pathlib import Path
from typing import Any

import jiwer

from evenear.audit import Cohorts, Table, cohorts_by, read_table
from evenear.audit.report import AuditSettings, Report, audit, write_report

CORPUS = "artie-bias-corpus.tsv"
SYSTEMS = {
    "amazon-en-GB": "amazon/en-GB/dec-9-2019",
    "amazon-en-IN": "amazon/en-IN/dec-9-2019",
    "amazon-en-US": "amazon/en-US/dec-9-2019",
    "deepspeech-0.5.1": "deepspeech/v0-5-1",
    "deepspeech-0.6.0": "deepspeech/v0-6-0",
    "deepspeech-0.7.3": "deepspeech/v0-7-3",
    "google-en-GB": "google/en-GB/dec-5-2019",
    "google-en-IN": "google/en-IN/dec-5-2019",
    "google-en-US": "google/en-US/dec-4-2019",
}
COMPARED = ("amazon-en-US", "amazon-en-IN")
ATTRIBUTES = ("age", "gender", "accent")

Row = dict[str, Any]


def read(data: Path, system: str) -> Table:
    """Results of one system, by this package."""
    path = data / "predictions" / f"{SYSTEMS[system]}.tsv"
    return read_table(path, reference=data / CORPUS, name=system)


def plain_rows(data: Path, system: str) -> list[Row]:
    """The same, without this package: one row per utterance with its errors and words."""
    heard = {Path(row[0]).stem: row[1] for row in plain_file(data, SYSTEMS[system])}
    rows = []
    with (data / CORPUS).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            said = plain_words(row["sentence"])
            got = plain_words(heard[Path(row["path"]).stem])
            out = jiwer.process_words(" ".join(said), " ".join(got)) if got else None
            errors = (
                len(said) if out is None else out.substitutions + out.deletions + out.insertions
            )
            rows.append({**row, "errors": errors, "words": len(said)})
    return rows


def plain_file(data: Path, name: str) -> list[list[str]]:
    with (data / "predictions" / f"{name}.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]


def plain_words(text: str) -> list[str]:
    """Upper case without punctuation; apostrophes stay inside words."""
    for mark in "‘’‛ʼ′＇`´":
        text = text.replace(mark, "'")
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).upper())
    kept = "".join(one if one.isalnum() or one == "'" else " " for one in text)
    return [word.strip("'") for word in kept.split() if word.strip("'")]


def plain_cohorts(rows: list[Row]) -> dict[tuple[str, str], Row]:
    """Counts, rates and gaps of each cohort, from dictionaries."""
    found: dict[tuple[str, str], Row] = {}
    for attribute in ATTRIBUTES:
        known = [row for row in rows if row[attribute] not in ("NA", "")]
        groups = defaultdict(list)
        for row in known:
            groups[row[attribute]].append(row)
        for value, own in groups.items():
            errors, words = (sum(row[name] for row in own) for name in ("errors", "words"))
            all_errors, all_words = (
                sum(row[name] for row in known) for name in ("errors", "words")
            )
            base_wer = (all_errors - errors) / (all_words - words)
            found[attribute, value] = {
                "speakers": len({row["client_id"] for row in own}),
                "utterances": len(own),
                "words": words,
                "errors": errors,
                "wer": errors / words,
                "base_wer": base_wer,
                "gap": errors / words / base_wer - 1.0,
            }
    return found


def totals(rows: list[Row]) -> tuple[int, int]:
    return sum(row["errors"] for row in rows), sum(row["words"] for row in rows)


def disagreements(report: Report, rows: list[Row]) -> tuple[int, list[str]]:
    """How many numbers were checked, and which are not equal to the last digit."""
    plain = plain_cohorts(rows)
    whole = report.gaps.overall
    errors, words = totals(rows)
    pairs = [
        ("overall errors", whole.errors, errors),
        ("overall words", whole.words, words),
        ("overall wer", whole.wer, errors / words),
        ("cohorts", sorted((row.attribute, row.value) for row in report.gaps.rows), sorted(plain)),
    ]
    for row in report.gaps.rows:
        expected = plain[row.attribute, row.value]
        names = ("speakers", "utterances") if row.suppressed else tuple(expected)
        pairs += [(f"{row.value} {name}", getattr(row, name), expected[name]) for name in names]
    return len(pairs), different(pairs)


def changed(report: Report, before: list[Row], after: list[Row]) -> tuple[int, list[str]]:
    """The same for a comparison."""
    assert report.changes is not None
    old, new = plain_cohorts(before), plain_cohorts(after)
    pairs = []
    for row in report.changes.rows:
        if not row.suppressed:
            key = row.attribute, row.value
            change = new[key]["errors"] / old[key]["errors"] - 1.0
            pairs += [
                (f"{row.value} before", row.wer_before, old[key]["wer"]),
                (f"{row.value} after", row.wer_after, new[key]["wer"]),
                (f"{row.value} change", row.change, change),
                (f"{row.value} gap before", row.gap_before, old[key]["gap"]),
                (f"{row.value} gap after", row.gap_after, new[key]["gap"]),
            ]
    return len(pairs), different(pairs)


def different(pairs: list[tuple[str, Any, Any]]) -> list[str]:
    return [f"{name}: {ours} against {theirs}" for name, ours, theirs in pairs if ours != theirs]


def short(report: Report) -> dict[str, Any]:
    """The lines worth keeping."""
    names = ("attribute", "value", "speakers", "words", "errors", "wer", "low", "high",
             "gap", "gap_low", "gap_high", "p_adjusted", "confirmed")  # fmt: skip
    whole = report.gaps.overall
    return {
        "headline": report.headline.title,
        "overall": {name: getattr(whole, name) for name in ("errors", "wer", "low", "high")},
        "cohorts": [
            {name: getattr(row, name) for name in names}
            for row in report.gaps.rows
            if not row.suppressed
        ],
        "too_small": sum(row.suppressed for row in report.gaps.rows),
    }


def short_changes(report: Report) -> dict[str, Any]:
    assert report.changes is not None
    names = ("attribute", "value", "wer_before", "wer_after", "change", "change_low", "change_high",
             "gap_before", "gap_after", "p_adjusted", "confirmed")  # fmt: skip
    rows = [report.changes.overall, *report.changes.rows]
    return {
        "before": report.changes.before,
        "after": report.changes.after,
        "cohorts": [
            {name: getattr(row, name) for name in names} for row in rows if not row.suppressed
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpus")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--reports", type=Path, help="also write the pages to this folder")
    parser.add_argument("--out", type=Path, help="where to write the results as JSON")
    arguments = parser.parse_args()
    settings = AuditSettings(seed=arguments.seed, num_resamples=arguments.resamples)
    tables = {system: read(arguments.data, system) for system in SYSTEMS}
    plain = {system: plain_rows(arguments.data, system) for system in SYSTEMS}
    cohorts: Cohorts = cohorts_by(next(iter(tables.values())), ATTRIBUTES)
    reports = {system: audit(table, cohorts, settings) for system, table in tables.items()}
    before, after = COMPARED
    comparison = audit(tables[before], cohorts, settings, other=tables[after])
    checked, wrong = changed(comparison, plain[before], plain[after])
    for system, report in reports.items():
        number, found = disagreements(report, plain[system])
        checked += number
        wrong += [f"{system} {line}" for line in found]
    results = {
        "command": "python benchmarks/artie.py --data artie-bias-corpus",
        "commit": commit(),
        "seed": arguments.seed,
        "resamples": arguments.resamples,
        "jiwer": importlib.metadata.version("jiwer"),
        "speakers": reports[before].gaps.overall.speakers,
        "utterances": reports[before].gaps.overall.utterances,
        "words": reports[before].gaps.overall.words,
        "formula": reports[before].gaps.formula,
        "recomputed": {"numbers": checked, "different": len(wrong)},
        "systems": {system: short(report) for system, report in reports.items()},
        "comparison": short_changes(comparison),
    }
    write(results, arguments.out or Path(__file__).parent / "results" / "artie.json")
    if arguments.reports:
        arguments.reports.mkdir(parents=True, exist_ok=True)
        for name, report in {**reports, f"{before}-{after}": comparison}.items():
            write_report(report, arguments.reports / f"{name}.html")
    for system, report in reports.items():
        print(f"{system}: {report.headline.title}")
    print(f"{checked} numbers recomputed, {len(wrong)} different", *wrong, sep="\n")
    sys.exit(1 if wrong else 0)


def write(results: dict[str, Any], out: Path) -> None:
    """One line for each cohort, so that a difference is a readable difference."""
    text = json.dumps(results, indent=1, ensure_ascii=False)
    text = re.sub(r"\{[^{}\[\]]*\}", lambda found: " ".join(found.group().split()), text)
    out.parent.mkdir(exist_ok=True)
    out.write_text(text + "\n", encoding="utf-8")


def commit() -> str:
    """The commit that was measured."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
