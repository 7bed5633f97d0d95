"""``modeldeed query``: a claim against a suspect that can only be asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress as Bar
from torch import Tensor, nn

from modeldeed.cli.options import Json, KeyFile, PassphraseFile, built_model, errors, open_owner
from modeldeed.cli.preparing import Mean, Std, preparation
from modeldeed.cli.reports import TRANSCRIPTS, shown
from modeldeed.errors import OptionError
from modeldeed.plugin.carriers import canonical_carriers
from modeldeed.plugin.files import load_fusion
from modeldeed.querying.asking import Progress
from modeldeed.querying.query import query as examine
from modeldeed.querying.query import rejudge
from modeldeed.reporting.eprocess_plot import require_plot
from modeldeed.results import Report
from modeldeed.suspects import open_weights
from modeldeed.suspects.loading import load_weights
from modeldeed.trust import Trust

__all__ = ["query"]


def query(
    key: KeyFile,
    triggers: Annotated[
        Path | None,
        typer.Option(help="Folder of the claimant's trigger set, or passport with one."),
    ] = None,
    plugin: Annotated[
        Path | None,
        typer.Option(help="Instead: the claimant's plug-in, its folder or a file of a fusion."),
    ] = None,
    carriers: Annotated[
        str | None,
        typer.Option(help="With --plugin: benign data of your own, a data set's name or path."),
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(envvar="MODELDEED_DATA", help="Folder of the data sets.")
    ] = None,
    suspect: Annotated[
        Path | None,
        typer.Option(
            help="What is asked: an endpoint's configuration (.yaml, .json), an ONNX file, or "
            "with --model a safetensors file."
        ),
    ] = None,
    passphrase_file: PassphraseFile = None,
    trust: Annotated[
        Path | None, typer.Option(help="Your trust file: authorities whose timestamps count.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="module:function that returns the architecture, for weights."),
    ] = None,
    null: Annotated[
        list[Path] | None,
        typer.Option(help="Another model to be asked the same, for comparison; may be repeated."),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(min=0, help="Batch of questions to use; may be repeated; 0 when left out."),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(min=1, help="Ask exactly so many instead of stopping when decided."),
    ] = None,
    transcripts: Annotated[
        Path, typer.Option(help="Folder of transcripts: what stands there is not asked again.")
    ] = TRANSCRIPTS,
    transcript: Annotated[
        list[Path] | None,
        typer.Option(help="Judge this transcript again and ask nobody; may be repeated."),
    ] = None,
    mean: Mean = None,
    std: Std = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the course of the evidence into a .png or .svg.")
    ] = None,
    json_: Json = False,
) -> None:
    """Verify a claim by answers alone: ask keyed questions until the evidence decides.

    Exit codes: 0 verified, 1 not verified, 2 usage, 3 inconclusive, 4 evidence invalid,
    5 suspect unreachable; what it answered before is kept, and the same command goes on there.
    """
    if (suspect is None) == (not transcript):
        raise OptionError("give --suspect to ask somebody, or --transcript to judge anew")
    if (triggers is None) == (plugin is None):
        raise OptionError("give one claim: --triggers, or --plugin with --carriers")
    if (plugin is None) != (carriers is None):
        raise OptionError("--plugin and --carriers go together")
    if plot is not None:
        require_plot(plot)  # before anybody is asked anything
    owner = open_owner(key, passphrase_file)
    samples = _carriers(carriers, plugin, data_root)
    believed = None if trust is None else Trust.load(trust)
    claim: dict[str, Any] = {
        "triggers": triggers,
        "plugin": plugin,
        "carriers": samples,
        "owner": owner,
        "trust": believed,
    }
    if transcript:
        report = rejudge(transcript, **claim)
    else:
        prepare = preparation(mean, std)
        with _Live() as live:
            report = examine(
                _built(suspect, model),
                **claim,
                batches=tuple(batch or (0,)),
                count=count,
                transcripts=transcripts,
                nulls={str(path): _built(path, model) for path in null or ()},
                prepare=prepare,
                progress=live,
            )
    code = shown(report, json_=json_)
    if plot is not None:
        _draw(report, plot)
    raise typer.Exit(code)


def _built(path: Path | None, model: str | None) -> Any:
    """What is asked: a path as it is, or with an architecture the model of its weights."""
    if path is None or model is None or path.suffix != ".safetensors":
        return path
    host: nn.Module = built_model(model, "--model")
    load_weights(host, open_weights(path))
    return host


def _carriers(name: str | None, plugin: Path | None, root: Path | None) -> Tensor | None:
    """Benign samples for a plug-in's backgrounds: the test part of the judge's data."""
    if name is None or plugin is None:
        return None
    from modeldeed.data import load  # noqa: PLC0415 - trigger sets need no data readers

    form = load_fusion(plugin).anchor.plugin_rule.backgrounds.input
    return canonical_carriers(load(name, root).x_test, form)


class _Live:
    """A bar of queries, on a terminal only; it says nothing of what was answered."""

    def __init__(self) -> None:
        self._bar = Bar(console=errors(), transient=True, disable=not sys.stderr.isatty())

    def __enter__(self) -> Progress:
        self._bar.start()
        task = self._bar.add_task("queries")

        def tell(done: int, planned: int) -> None:
            self._bar.update(task, completed=done, total=planned)

        return tell

    def __exit__(self, *failure: object) -> None:
        self._bar.stop()


def _draw(report: Report, path: Path) -> None:
    from modeldeed.reporting.eprocess_plot import (  # noqa: PLC0415 - needs the extra "report"
        write_eprocess_plot,
    )

    answers = report.answers
    if answers is None or not answers.queries:
        raise OptionError("--plot: there are no answers to draw")
    last = answers.batches[-1]
    # Comparison models were asked all batches in turn; the last batch is what is drawn.
    nulls = [_compared(null.outcomes[-len(last.outcomes) :]) for null in answers.nulls]
    write_eprocess_plot(
        path, _compared(last.outcomes), answers.classes, null_models=[row for row in nulls if row]
    )


def _compared(outcomes: tuple[bool | None, ...]) -> list[bool]:
    return [outcome for outcome in outcomes if outcome is not None]
