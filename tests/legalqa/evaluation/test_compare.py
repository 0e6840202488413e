import numpy as np
import pytest

from legalqa.evaluation.compare import Bootstrap, Counted


def _parts(values: "list[float] | np.ndarray[tuple[int], np.dtype[np.float64]]") -> list[Counted]:
    return [Counted(float(value)) for value in values]


def test_value_is_the_mean_and_the_interval_holds_it() -> None:
    values = np.random.default_rng(0).normal(10, 3, 200)
    found = Bootstrap(200, 2000, 0.95, seed=1).score(_parts(values))
    assert found is not None
    assert found.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / np.sqrt(200)
    assert found.low == pytest.approx(values.mean() - half, abs=0.1)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1)


def test_pairs_make_a_small_but_steady_difference_clear() -> None:
    noise = np.random.default_rng(0).normal(0, 20, 50)
    bootstrap = Bootstrap(50, 1000, 0.95, seed=1)
    gain = bootstrap.difference(_parts(noise + 1), _parts(noise))
    assert gain is not None
    assert gain.clear
    assert gain.value == pytest.approx(1)
    shuffled = bootstrap.difference(_parts(noise + 1), _parts(noise[::-1]))
    assert shuffled is not None
    assert not shuffled.clear


def test_a_ratio_is_summed_before_it_is_divided() -> None:
    found = Bootstrap(3, 500, 0.95, seed=1).score([Counted(1, 1), Counted(0, 3), Counted(0, 0)])
    assert found is not None
    assert found.value == 0.25
    assert found.questions == 2


def test_what_no_question_speaks_of_has_no_score() -> None:
    bootstrap = Bootstrap(2, 100, 0.95, seed=1)
    silent = [Counted(0, 0), Counted(0, 0)]
    assert bootstrap.score(silent) is None
    assert bootstrap.difference(silent, _parts([1, 2])) is None


def test_questions_that_speak_for_both_are_counted() -> None:
    bootstrap = Bootstrap(3, 100, 0.95, seed=1)
    gain = bootstrap.difference([Counted(1, 1), Counted(0, 0), Counted(1, 1)], _parts([0, 0, 0]))
    assert gain is not None
    assert gain.questions == 2


def test_same_seed_same_interval() -> None:
    parts = _parts(list(range(30)))
    assert Bootstrap(30, 300, 0.9, seed=5).score(parts) == Bootstrap(30, 300, 0.9, seed=5).score(parts)
