"""A small network, data, and the network marked in either form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modeldeed import Owner, Passport
from modeldeed.attacks.forgery import PublishedClaim
from modeldeed.data import Dataset

OWNER = Owner(bytes(range(32)), "Acme Vision")
CLASSES = 3


def network(seed: int) -> nn.Module:
    """A plain chain of three layers with 160 norm channels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 32, 5, padding=2, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 4, CLASSES),
        )


def small_data() -> Dataset:
    """Bars in three places, with noise."""
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(300) % CLASSES
    x = 0.5 * torch.rand(300, 1, 8, 8, generator=generator)
    for label in range(CLASSES):
        x[y == label, :, 2 * label + 1] += 0.5
    names = tuple("abc")
    return Dataset(
        name="bars",
        x_train=x[:240],
        y_train=y[:240],
        x_test=x[240:],
        y_test=y[240:],
        classes=names,
    )


class Victim:
    """A marked network."""

    def __init__(self, dataset: Dataset, **form: str) -> None:
        self.model = network(0)
        self.passport = Passport.issue(
            self.model, OWNER, example=dataset.x_train[:4], classes=dataset.classes, **form
        )
        parameters = [*self.model.parameters(), *self.passport.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=3e-3)
        generator = torch.Generator().manual_seed(0)
        for _ in range(60):
            chosen = torch.randint(240, (48,), generator=generator)
            outputs, private = self.passport.joint(dataset.x_train[chosen])
            labels = dataset.y_train[chosen]
            loss = nn.functional.cross_entropy(outputs, labels)
            loss = loss + nn.functional.cross_entropy(private, labels[: len(private)])
            loss = loss + 4 * self.passport.signature_loss()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.model.eval()

    def published(self) -> PublishedClaim:
        """The owner's own claim under the published rule."""
        branch = self.passport.branch
        heads = branch.heads

        def made(readings: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
            return [head(r) for head, r in zip(heads, readings, strict=True)]

        return PublishedClaim(
            tuple(s.passports[:, 0].reshape(2, -1).float() for s in branch.secrets),
            tuple(s.bits.float() for s in branch.secrets),
            made,
            {name: (s.mean, s.var) for name, s in branch.statistics.items()},
        )
