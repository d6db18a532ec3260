"""Online subclass distillation: who teaches whom, and what the term is."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from rivals import method, network

from baselines.oskd import neighbours_mean


def test_the_teachers_by_hand() -> None:
    outputs = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0], [9.0, 9.0], [0.1, 0.0], [5.0, 5.0]])
    labels = torch.tensor([0, 0, 0, 0, 1, 2])
    # Of image 0: 1 and 2, never itself, nor 4, which is nearer but of another class.
    expected = torch.tensor(
        [[0.5, 1.5], [0.0, 1.5], [0.5, 0.0], [0.5, 1.5], [0.1, 0.0], [5.0, 5.0]]
    )
    torch.testing.assert_close(neighbours_mean(outputs, labels, 2), expected)
    # More than there are: all of the class.
    mean = neighbours_mean(outputs, labels, 9)
    torch.testing.assert_close(mean[3], outputs[:3].mean(0))
    assert torch.equal(mean[4:], outputs[4:])


@given(
    batch=st.integers(1, 9), classes=st.integers(2, 4), count=st.integers(1, 4), seed=st.integers(0)
)
@settings(deadline=None, max_examples=50)
def test_the_teachers_one_image_at_a_time(batch: int, classes: int, count: int, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed % 2**31)
    outputs = torch.randn(batch, classes, generator=draws, dtype=torch.float64)
    labels = torch.randint(classes, (batch,), generator=draws)
    found = neighbours_mean(outputs, labels, count)
    for image in range(batch):
        others = [j for j in range(batch) if j != image and labels[j] == labels[image]]
        others.sort(key=lambda j: float((outputs[j] - outputs[image]).norm()))
        nearest = outputs[others[:count]].mean(0) if others else outputs[image]
        torch.testing.assert_close(found[image], nearest)


def test_the_loss_is_the_sum_of_its_terms() -> None:
    chosen = method("oskd", neighbours=1, distillation=0.5, temperature=2)
    made = network("oskd").eval().double()
    images, labels = torch.randn(5, 3, 16, 16).double(), torch.tensor([0, 0, 1, 1, 2])
    loss, logits = chosen.loss(made, images, labels)
    z = logits[:, 0].detach()
    teachers = torch.stack([z[1], z[0], z[3], z[2], z[4]])
    kl = F.kl_div((z / 2).log_softmax(1), (teachers / 2).softmax(1), reduction="batchmean")
    expected = F.cross_entropy(z, labels) + 0.5 * 4 * kl
    assert loss.item() == pytest.approx(expected.item())
    assert kl > 1e-6


def test_an_image_alone_in_its_class_is_taught_by_its_label_only() -> None:
    made = network("oskd").eval().double()
    images, labels = torch.randn(3, 3, 16, 16).double(), torch.tensor([0, 1, 2])
    gradients = []
    for distillation in (0.0, 4.0):
        loss, _ = method("oskd", distillation=distillation).loss(made, images, labels)
        gradients.append(torch.autograd.grad(loss, list(made.parameters())))
    for plain, taught in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, taught)
