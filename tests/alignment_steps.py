"""The commands of the alignment one after the other, as the pipeline calls them."""

from pathlib import Path

from click.testing import CliRunner

import align
import align_pairs
import align_plan


def align_slices(inputs, output, *options, reference=None, pairs="auto"):
    """Plan, pairs and frames of files; gives the first result that is an error, or the last.

    options: of align_pairs. The plan and the pairs are written beside `output`.
    """
    inputs = [f"--input={path}" for path in inputs]
    of = [f"--reference={reference}"] * (reference is not None)
    plan, found = (Path(output).parent / name for name in ("plan.csv", "all.pairs.npz"))
    steps = (
        (align_plan, [*inputs, *of, f"--output={plan}", f"--pairs={pairs}"]),
        (align_pairs, [*inputs, f"--plan={plan}", f"--output={found}", *map(str, options)]),
        (align, [*inputs, *of, f"--pairs={found}", f"--output={output}"]),
    )
    for step, arguments in steps:
        result = CliRunner().invoke(step.main, arguments)
        if result.exit_code:
            break
    return result
