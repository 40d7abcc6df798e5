import numpy as np
import torch
from explained import subject_of

from chiron.explanation.attention import attention_layers
from chiron.explanation.explainers.attention_rollout import explain, roll_out


def random_layers(*, num_layers=3, queries=(5, 5, 5), heads=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randn(2, heads, queries[i], 5, generator=generator, dtype=torch.float64) for i in range(num_layers)]
    return [it.softmax(dim=-1) for it in made]


def by_loops(layers, image):
    """Every path through the layers, a product of matrices written out."""
    rolled = np.eye(5)
    for layer in layers:
        heads, queries, tokens = layer.shape[1:]
        step = np.zeros((queries, tokens))
        for i in range(queries):
            for j in range(tokens):
                mean = sum(float(layer[image, h, i, j]) for h in range(heads)) / heads
                step[i, j] = 0.5 * mean + 0.5 * (i == j) if queries == tokens else mean
        product = np.zeros((queries, tokens))
        for i in range(queries):
            for j in range(tokens):
                product[i, j] = sum(step[i, k] * rolled[k, j] for k in range(tokens))
        rolled = product
    return rolled


def test_equals_loops():
    layers = random_layers()
    for image in range(2):
        np.testing.assert_allclose(roll_out(layers)[image], by_loops(layers, image), rtol=1e-12)


def test_a_pooling_query_has_no_residual():
    layers = random_layers(queries=(5, 5, 1))
    np.testing.assert_allclose(roll_out(layers)[1], by_loops(layers, 1), rtol=1e-12)


def test_rows_sum_to_one():
    torch.testing.assert_close(roll_out(random_layers()).sum(dim=2), torch.ones(2, 5, dtype=torch.float64))


def test_the_map_is_the_class_token_s_row():
    subject = subject_of("test_vit")
    rolled = roll_out(attention_layers(subject).weights)
    torch.testing.assert_close(explain(subject).flatten(1), rolled[:, 0, 1:])


def test_what_was_dropped_late_counts_less_than_what_was_kept():
    subject = subject_of("chiron_gft_nano")
    maps = explain(subject).flatten(1)
    kept = torch.zeros_like(maps).scatter(1, subject.network.forward_named(subject.image).kept_tokens[-2], 1).bool()
    assert all(float(row[ours].mean()) > float(row[~ours].mean()) for row, ours in zip(maps, kept, strict=True))
