# SPDX-License-Identifier: Apache-2.0
"""`evenear average`: one model from the weights of several."""

from pathlib import Path
from typing import Annotated

import typer

from evenear.cli.console import expect_folder_to_write, need, note

__all__ = ["average"]


def average(
    models: Annotated[
        list[str], typer.Argument(help="Two models or more, stages of one training.")
    ],
    out: Annotated[Path, typer.Option(help="Where the new model's folder goes.")],
) -> None:
    """Write the mean of the weights of several models of one training.

    The rest is of the first: its card, its language model, its words, the decoder that judges
    them, how to search. A dial for computation belongs to one encoder and is left out.
    """
    need("torch", extra="asr", purpose="Averaging models")
    from evenear.checkpoint import load_model, save_model
    from evenear.checkpoint.averaging import average_models

    expect_folder_to_write(out)
    bundles = [load_model(model) for model in models]
    first = bundles[0]
    save_model(
        out,
        model=average_models(bundles),
        features=first.features,
        tokenizer=first.tokenizer,
        card=first.card,
        language_model=first.language_model,
        search=first.search,
        words=first.words,
        word_search=first.word_search,
        rescorer=first.rescorer,
    )
    note(f"The mean of {len(bundles)} models is in {out}. Try: evenear evaluate {out} DATA")
