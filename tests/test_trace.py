# SPDX-License-Identifier: MIT
"""What a reader meets who steps into a training step of `optical.distil`: functions and lines of ours.

    python tests/test_trace.py

The teacher's vectors are there already; everything else of a distillation of one step counts, the student's
copy, its batch and the transport included. A comprehension belongs to the function that it stands in.
"""
import sys
import tempfile
from collections import Counter

from transformers import AutoTokenizer

from conftest import ROOT

import optical
from study import students
from test_optical import PAIRS, tiny

OURS = {str(path): str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.py"), *ROOT.glob("study/*.py")]}
FUNCTIONS, LINES = 45, 350         # at most


def traced(call):
    """Runs call(); returns {(file, function, its first line)} and {(file, line)} of what ran of ours."""
    functions, lines, before = set(), set(), sys.gettrace()

    def trace(frame, event, _):
        code = frame.f_code
        path = OURS.get(code.co_filename)
        if path:
            if code.co_name == "<lambda>" or code.co_name[0] != "<":
                functions.add((path, code.co_name, code.co_firstlineno))
            lines.add((path, frame.f_lineno))
            return trace

    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return functions, lines


def step():
    """What one step of objective "optical" enters and runs, as `traced` returns it."""
    with tempfile.TemporaryDirectory() as folder:
        students.train_tokenizer([text for pair in PAIRS for text in pair], 200, folder)
        teacher = tiny(AutoTokenizer.from_pretrained(folder))
    bitext = optical.Bitext(PAIRS, teacher)
    bitext.vectors("query")
    return traced(lambda: optical.distil(teacher, bitext, steps=1, batch=8))


def report(functions, lines):
    counts = [f"{n} in {path}" for path, n in sorted(Counter(path for path, _ in lines).items())]
    return f"one training step: {len(functions)} functions, {len(lines)} lines ({', '.join(counts)})"


def test_a_training_step_enters_few_functions_and_runs_few_lines():
    functions, lines = step()
    print(report(functions, lines))
    entered = {name for _, name, _ in functions}
    assert {"distil", "fit", "batch", "project", "optical_loss", "cosine_cost", "sinkhorn"} <= entered
    assert len(functions) <= FUNCTIONS and len(lines) <= LINES, report(functions, lines)


if __name__ == "__main__":
    found = step()
    print("\n".join(f"{path}:{line} {name}" for path, name, line in sorted(found[0])))
    print(report(*found))
