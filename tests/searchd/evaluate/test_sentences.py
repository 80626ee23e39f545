"""How an evaluation's figures are put into words."""

from __future__ import annotations

from searchd.evaluate.evaluation import DifferenceFigures
from searchd.evaluate.sentences import said_difference


def test_a_difference_has_its_sign_and_its_interval() -> None:
    gain = DifferenceFigures(mean=0.0412, low=0.018, high=0.0659, real=True)
    assert said_difference(gain) == "+0.041 [0.018, 0.066]"
    loss = DifferenceFigures(mean=-0.02, low=-0.031, high=-0.009, real=True)
    assert said_difference(loss) == "-0.020 [-0.031, -0.009]"
