import torch

from legalqa.engine.sampling import Sampler

LOGITS = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))


def test_temperature_zero_takes_the_likeliest() -> None:
    assert {Sampler(0.0, 1.0, None).choose(LOGITS) for _ in range(20)} == {0}


def test_a_seed_repeats_its_tokens() -> None:
    one, other = Sampler(1.0, 1.0, 7), Sampler(1.0, 1.0, 7)
    assert [one.choose(LOGITS) for _ in range(50)] == [other.choose(LOGITS) for _ in range(50)]


def test_top_p_keeps_the_smallest_set_that_holds_it() -> None:
    sampler = Sampler(1.0, 0.8, 1)
    assert {sampler.choose(LOGITS) for _ in range(200)} == {0, 1}
    sampler = Sampler(1.0, 0.81, 1)
    assert {sampler.choose(LOGITS) for _ in range(400)} == {0, 1, 2}


def test_frequencies_follow_the_probabilities() -> None:
    sampler = Sampler(1.0, 1.0, 3)
    counts = torch.bincount(torch.tensor([sampler.choose(LOGITS) for _ in range(4000)]), minlength=4) / 4000
    assert torch.allclose(counts, LOGITS.exp(), atol=0.03)


def test_the_smallest_wishes_leave_the_likeliest() -> None:
    for temperature, top_p in ((1e-40, 1.0), (1e-8, 1.0), (1.0, 1e-46), (1e-40, 1e-46)):
        assert {Sampler(temperature, top_p, 1).choose(100 * LOGITS) for _ in range(20)} == {0}
