# SPDX-License-Identifier: Apache-2.0
"""Does our mixed-effects Poisson fit agree with lme4, and are its intervals honest?

`agreement`: simulated audits of several shapes, and lme4's own `grouseticks` (ticks on grouse
chicks, with broods in the place of speakers), are fitted here and by `glmer` with 25 and with 1
(Laplace) quadrature nodes. Coefficients, standard errors, sigma and log-likelihood are compared.

`coverage`: how often 95 % intervals hold the planted ratio, for the model's covariance and for the
sandwich over speakers, when utterances scatter as Poisson and when errors come in bursts.

`scale`: seconds to fit 10 thousand to a million utterances, here and (up to 100 thousand) by glmer.

Needs R with lme4 (Debian: apt-get install r-cran-lme4).
Run: python benchmarks/mixed_poisson.py [--trials 400]
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from evenear.audit.statistics.poisson import MixedPoisson, fit_mixed_poisson
from evenear.seeding import rng_for

GLMER = """
suppressMessages(library(lme4))
args <- commandArgs(trailingOnly = TRUE)
data <- read.csv(args[1])
columns <- grep("^x", names(data), value = TRUE)
model <- as.formula(paste("errors ~", paste(columns, collapse = " + "),
                          "+ offset(log(words)) + (1 | speaker)"))
start <- proc.time()[["elapsed"]]
fit <- glmer(model, data = data, family = poisson, nAGQ = as.integer(args[2]),
             control = glmerControl(optimizer = "bobyqa", optCtrl = list(maxfun = 200000)))
seconds <- proc.time()[["elapsed"]] - start
numbers <- function(x) paste(sprintf("%.12g", x), collapse = ",")
cat("coefficients", numbers(fixef(fit)), "\\n")
cat("errors", numbers(sqrt(diag(as.matrix(vcov(fit, use.hessian = TRUE))))), "\\n")
cat("sigma", numbers(getME(fit, "theta")), "\\n")
cat("deviance", numbers(deviance(fit)), "\\n")
cat("log_likelihood", numbers(as.numeric(logLik(fit))), "\\n")
cat("seconds", numbers(seconds), "\\n")
"""

GROUSE = """
suppressMessages(library(lme4))
data(grouseticks)
data <- grouseticks
write.csv(data.frame(errors = data$TICKS, words = 1, speaker = as.integer(data$BROOD),
                     xyear96 = as.integer(data$YEAR == "96"),
                     xyear97 = as.integer(data$YEAR == "97"),
                     xheight = (data$HEIGHT - mean(data$HEIGHT)) / sd(data$HEIGHT)),
          commandArgs(trailingOnly = TRUE)[1], row.names = FALSE)
"""

SHAPES = {
    "small": {"speakers": 40, "utterances": 8, "sigma": 0.5},
    "audit": {"speakers": 300, "utterances": 15, "sigma": 0.5},
    "few errors": {"speakers": 200, "utterances": 4, "sigma": 0.8, "wer": 0.02},
    "strong speakers": {"speakers": 100, "utterances": 30, "sigma": 1.2},
    "weak speakers": {"speakers": 300, "utterances": 10, "sigma": 0.15},
}
TRUTH = {"group": 0.25, "noise": 0.4, "length": -0.1}


def simulate(
    rng: np.random.Generator,
    *,
    speakers: int,
    utterances: int,
    sigma: float,
    wer: float = 0.12,
    bursts: bool = False,
) -> pl.DataFrame:
    """Utterances with an attribute of speakers, a noise that it goes with, and their length."""
    counts = rng.poisson(utterances - 1, speakers) + 1
    who = np.repeat(np.arange(speakers), counts)
    group = rng.integers(0, 2, speakers)[who]
    noise = rng.random(len(who)) < np.where(group == 1, 0.6, 0.3)
    words = rng.poisson(9, len(who)) + 1
    length = (np.log(words) - np.log(10.0)) / 0.3
    linear = math.log(wer) + TRUTH["group"] * group + TRUTH["noise"] * noise
    linear += TRUTH["length"] * length + sigma * rng.normal(size=speakers)[who]
    mean = words * np.exp(linear)
    if bursts:
        mean = mean * rng.gamma(0.5, 2.0, len(who))
    return pl.DataFrame(
        {
            "errors": rng.poisson(mean), "words": words, "speaker": who,
            "xgroup": group, "xnoise": noise.astype(int), "xlength": length,
        }
    )  # fmt: skip


def ours(data: pl.DataFrame) -> tuple[MixedPoisson, float]:
    """Our fit, and the seconds it took."""
    names = [name for name in data.columns if name.startswith("x")]
    columns = np.column_stack([np.ones(data.height), data.select(names).to_numpy()])
    speakers = data["speaker"].rank("dense").to_numpy().astype(np.int64) - 1
    start = time.perf_counter()
    fit = fit_mixed_poisson(data["errors"].to_numpy(), data["words"].to_numpy(), columns, speakers)
    return fit, time.perf_counter() - start


def theirs(data: pl.DataFrame, nodes: int) -> dict[str, Any]:
    """The fit of lme4."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        data.write_csv(path)
        lines = run_r(GLMER, str(path), str(nodes)).splitlines()
    found = dict(line.split(" ", 1) for line in lines if " " in line)
    return {name: [float(part) for part in text.split(",")] for name, text in found.items()}


def run_r(code: str, *arguments: str) -> str:
    """Run R code."""
    with tempfile.NamedTemporaryFile("w", suffix=".R") as script:
        script.write(code)
        script.flush()
        command = ["Rscript", "--vanilla", script.name, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def agreement(seed: int) -> dict[str, Any]:
    """Differences from lme4, in units that matter."""
    data = {name: simulate(rng_for(seed, "agree", name), **shape) for name, shape in SHAPES.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grouse.csv"
        run_r(GROUSE, str(path))
        data["grouseticks of lme4"] = pl.read_csv(path)
    found = {}
    for name, frame in data.items():
        fit, _ = ours(frame)
        exact, laplace = theirs(frame, 25), theirs(frame, 1)
        errors = np.sqrt(np.diag(fit.covariance))[: len(fit.coefficients_P)]
        found[name] = {
            "utterances": frame.height,
            "speakers": fit.num_speakers,
            "coefficients": [round(float(value), 6) for value in fit.coefficients_P],
            "glmer_25_coefficients": [round(value, 6) for value in exact["coefficients"]],
            "sigma": round(fit.sigma, 6),
            "glmer_25_sigma": round(exact["sigma"][0], 6),
            "largest_difference_in_standard_errors": {
                "glmer, 25 nodes": largest(fit.coefficients_P, exact["coefficients"], errors),
                "glmer, Laplace": largest(fit.coefficients_P, laplace["coefficients"], errors),
            },
            "largest_relative_difference_of_standard_errors": largest(
                errors, exact["errors"], errors
            ),
            "sigma_difference": {
                "glmer, 25 nodes": round(fit.sigma - exact["sigma"][0], 7),
                "glmer, Laplace": round(fit.sigma - laplace["sigma"][0], 7),
            },
            "log_likelihood_less_that_of_glmer_laplace": round(
                fit.log_likelihood - laplace["log_likelihood"][0], 6
            ),
        }
    return found


def largest(ours: Any, theirs: Any, scale: np.ndarray) -> float:
    """The largest difference, in units of `scale`."""
    return float(f"{np.max(np.abs(np.asarray(ours) - np.asarray(theirs)) / scale):.3g}")


def coverage(seed: int, trials: int) -> dict[str, Any]:
    """How often intervals hold the planted ratio of the group."""
    found: dict[str, Any] = {"trials": trials}
    for bursts in (False, True):
        held = {"model": 0, "sandwich": 0}
        for trial in range(trials):
            rng = rng_for(seed, f"coverage {bursts}", trial)
            fit, _ = ours(simulate(rng, **SHAPES["audit"], bursts=bursts))
            contrast = np.array([0.0, 1.0, 0.0, 0.0])
            for name, robust in (("model", False), ("sandwich", True)):
                _, low, high = fit.ratio(contrast, robust=robust)
                held[name] += low <= math.exp(TRUTH["group"]) <= high
            noise = np.array([0.0, 0.0, 1.0, 0.0])
            for name, robust in (("model", False), ("sandwich", True)):
                _, low, high = fit.ratio(noise, robust=robust)
                key = f"{name}, column within speakers"
                held[key] = held.get(key, 0) + (low <= math.exp(TRUTH["noise"]) <= high)
        title = "errors in bursts" if bursts else "errors as Poisson"
        found[title] = {name: round(count / trials, 4) for name, count in held.items()}
    return found


def scale(seed: int) -> list[dict[str, Any]]:
    """Seconds by size."""
    rows = []
    for utterances in (10_000, 100_000, 1_000_000):
        shape = {"speakers": utterances // 100, "utterances": 100, "sigma": 0.5}
        data = simulate(rng_for(seed, "scale", utterances), **shape)
        fit, seconds = ours(data)
        row = {"utterances": data.height, "seconds": round(seconds, 2)}
        if utterances <= 100_000:
            row["glmer_laplace_seconds"] = round(theirs(data, 1)["seconds"][0], 2)
        row["group"] = round(float(fit.coefficients_P[1]), 4)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write the results as JSON")
    arguments = parser.parse_args()
    version = run_r('cat(as.character(packageVersion("lme4")))')
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    results = {
        "command": "python benchmarks/mixed_poisson.py " + " ".join(sys.argv[1:]),
        "commit": subprocess.run(
            command, capture_output=True, text=True, check=False
        ).stdout.strip(),
        "lme4": version,
        "seed": arguments.seed,
        "planted": TRUTH,
        "agreement": agreement(arguments.seed),
        "coverage": coverage(arguments.seed, arguments.trials),
        "scale": scale(arguments.seed),
    }
    out = arguments.out or Path(__file__).parent / "results" / "mixed_poisson.json"
    out.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2), file=sys.stderr)


if __name__ == "__main__":
    main()
