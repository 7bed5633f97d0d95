"""A minute-long proof on a small model: mark it, ship it, verify it, try to spoil the proof.

Everything runs offline on the handwritten digits of scikit-learn. Beside the marked model a twin
is trained without a mark, so every figure has something to be compared with::

    result = run_demo(Path("demo"), progress=print)
    result.verdict, result.signature_matches, result.signature_bits
"""

from modeldeed.demo.result import DemoResult, DemoSize
from modeldeed.demo.run import run_demo

__all__ = ["DemoResult", "DemoSize", "run_demo"]
