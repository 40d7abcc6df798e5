import torch
from explained import subject_of
from torch import nn

from chiron.explanation import subject as subject_module
from chiron.explanation.explainers.occlusion import explain


class Patch(nn.Module):
    """Class k scores the sum of one 8 x 8 square; in the nonlinear way of a real network, by its root."""

    def forward(self, x):
        squares = [x[:, :, 8:16, 40:48], x[:, :, 32:40, 8:16], x[:, :, 50:58, 50:58]]
        return torch.stack([it.abs().sum(dim=(1, 2, 3)).sqrt() for it in squares], dim=1)


def by_loops(subject, window, stride):
    """The mean fall over the windows that cover each pixel."""
    total, count = torch.zeros(3, 64, 64), torch.zeros(64, 64)
    before = subject.score(subject.outputs())
    for top in range(0, 64 - window + 1, stride):
        for left in range(0, 64 - window + 1, stride):
            covered = subject.image.clone()
            covered[:, :, top : top + window, left : left + window] = 0
            fall = before - subject.score(subject.showing(covered).outputs())
            total[:, top : top + window, left : left + window] += fall[:, None, None]
            count[top : top + window, left : left + window] += 1
    return (total / count).relu()


def test_equals_loops_and_finds_the_patch():
    subject = subject_of(Patch())
    maps = explain(subject)
    torch.testing.assert_close(maps, by_loops(subject, 8, 4), atol=1e-5, rtol=1e-4)
    for image, (top, left) in enumerate([(8, 40), (32, 8), (50, 50)]):
        row, column = divmod(int(maps[image].argmax()), 64)
        assert top <= row < top + 8
        assert left <= column < left + 8


def test_windows_in_parts_give_the_same(monkeypatch):
    subject = subject_of(Patch())
    whole = explain(subject)
    monkeypatch.setattr(subject_module, "PIXELS_AT_ONCE", 10 * 64 * 64)
    torch.testing.assert_close(explain(subject), whole)


def test_windows_follow_the_shape_of_the_image():
    class Corner(nn.Module):
        def forward(self, x):
            return x[:, :, :2, :3].abs().sum(dim=(2, 3))

    maps = explain(subject_of(Corner(), torch.randn(1, 3, 16, 24), (0,)))
    assert maps.shape == (1, 16, 24)
    assert (maps[0, :3, :5] > 0).all()  # windows of 2 x 3 that begin within the corner reach so far
    assert not maps[0, 3:].any()
    assert not maps[0, :, 5:].any()


def test_a_mask_stays_as_it_is():
    subject = subject_of("chiron_hybrid_lung_vit_nano")
    seen = []
    handle = subject.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    explain(subject)
    handle.remove()
    masks = torch.cat(seen)
    assert torch.equal(masks, subject.inputs[1].repeat(len(masks) // 3, 1, 1, 1))
