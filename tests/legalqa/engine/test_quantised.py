import torch

from legalqa.engine.quantised import Int8Linear, quantise


def _layer(bias: bool = True) -> tuple[Int8Linear, torch.nn.Linear]:
    torch.manual_seed(0)
    plain = torch.nn.Linear(96, 40, bias=bias)
    return Int8Linear(plain.weight, plain.bias), plain


def test_close_to_the_full_product() -> None:
    layer, plain = _layer()
    x = torch.randn(2, 5, 96)
    assert layer(x).shape == (2, 5, 40)
    assert (layer(x) - plain(x)).abs().max() < 0.02 * plain(x).abs().max()


def test_a_row_does_not_see_its_neighbours() -> None:
    layer, _ = _layer(bias=False)
    x = torch.randn(37, 96)  # more rows than FEW, and no multiple of it
    x[3] *= 1000  # an outlier that would ruin a scale shared by the batch
    together = layer(x)
    assert together.shape == (37, 40)
    for row in range(37):
        assert torch.equal(layer(x[row : row + 1])[0], together[row])


def test_a_row_of_zeros_is_the_bias() -> None:
    layer, plain = _layer()
    assert torch.allclose(layer(torch.zeros(1, 96))[0], plain.bias)


def test_joined_layers_give_what_each_gives_alone() -> None:
    torch.manual_seed(1)
    parent = torch.nn.Module()
    for name, width in (("q_proj", 32), ("k_proj", 16), ("v_proj", 16)):
        setattr(parent, name, torch.nn.Linear(96, width, bias=name != "v_proj"))
    alone = {name: Int8Linear(layer.weight, layer.bias) for name, layer in parent.named_children()}
    quantise(parent)
    for x in (torch.randn(2, 5, 96), torch.randn(1, 3, 96)):
        for name, layer in alone.items():
            assert torch.equal(getattr(parent, name)(x), layer(x))
