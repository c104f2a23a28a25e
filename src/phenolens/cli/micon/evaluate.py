"""``phenolens micon evaluate``: what a file of profiles is good for, beside chance."""

from pathlib import Path
from typing import Annotated

import typer

from phenolens.cli.console import reporting
from phenolens.cli.options import AsJson, Overwrite

EXAMPLE = "phenolens micon evaluate wells.parquet --out evaluation"


def evaluate(
    profiles: Annotated[
        Path, typer.Argument(help="Profiles with Metadata_ columns, of cells, fields or wells.", metavar="FILE.parquet")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the report.", metavar="DIR")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of permutations and bootstraps.", metavar="S")] = 0,
    permutations: Annotated[
        int, typer.Option(min=1, help="Permutations for each p-value; 1/(N+1) is the smallest.", metavar="N")
    ] = 10_000,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Measure matching of replicates and mechanisms, batch effects, activity, consistency and unseen compounds.

    Each stands beside its chance or null. Writes report.html to read, report.json for machines, and provenance.json.
    What the file does not allow, such as mechanisms without a column that names them, is reported as not measured.
    """
    with reporting("micon evaluate", as_json) as console:
        from phenolens.evaluation.profiles.evaluation import evaluate_profiles
        from phenolens.evaluation.profiles.report import write_report
        from phenolens.profiling.tables.profile_files import read_profiles
        from phenolens.runtime.locks import holding_place
        from phenolens.runtime.output_kinds import PROFILE_EVALUATION
        from phenolens.runtime.outputs import check_output, writing_output
        from phenolens.runtime.provenance import sha256_of, write_provenance

        check_output(out, PROFILE_EVALUATION, overwrite)
        with holding_place(out):
            read = read_profiles(profiles)
            source = {"input": str(profiles.resolve()), "input_sha256": sha256_of(profiles)}
            result = console.follow(evaluate_profiles(read, seed=seed, permutations=permutations))
            with writing_output(out, PROFILE_EVALUATION, overwrite) as folder:
                write_report(result, folder, name=profiles.name)
                write_provenance(
                    folder, command="micon evaluate", **source, seed=seed, permutations=permutations, card=read.card
                )
        console.done(
            "\n".join([*(part.verdict for part in result.parts), f"Report: {out / 'report.html'}"]),
            out=str(out.resolve()),
            report=str((out / "report.html").resolve()),
            verdicts={part.key: part.verdict for part in result.parts},
            good={part.key: part.good for part in result.parts},
        )


command = evaluate
