"""The example of safety filters: the policy violates, and none of the filters does."""

from examples.filtered_policy import Options, main


def test_only_the_unfiltered_policy_passes_the_wall(capsys):
    comparison = main(Options(starts=2))
    worst = {name: float(runs.margins.max()) for name, runs in comparison.runs.items()}
    assert worst.pop("policy") > 0
    assert set(worst) == {"shield", "barrier", "predictive"}
    assert max(worst.values()) <= 0
    assert "keeps the hard constraints ('wall')" in capsys.readouterr().out
