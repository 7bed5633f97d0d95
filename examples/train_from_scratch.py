"""Train a network in a plain PyTorch loop, with a passport beside it, and verify what ships.

python examples/train_from_scratch.py [folder]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader, TensorDataset

import modeldeed
from modeldeed.data import Dataset, augment_images, load
from modeldeed.models import resnet_small
from modeldeed.training import accuracy

EPOCHS, BATCH, RATE = 12, 64, 0.05


def dataset() -> Dataset:
    """CIFAR-10 if there is a folder with it, else scikit-learn's digits."""
    if root := os.environ.get("MODELDEED_DATA"):
        return load("cifar10", Path(root)).subset(10_000, 2_000).normalized()
    return load("digits").normalized()


def main(folder: Path) -> None:
    """Train, ship, verify."""
    torch.manual_seed(0)
    data = dataset()
    model = resnet_small(data.num_classes, data.input_shape[0])
    loader = DataLoader(
        TensorDataset(data.x_train, data.y_train), BATCH, shuffle=True, drop_last=True
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * len(loader))
    draws = torch.Generator().manual_seed(0)

    # Before training: a key, and a passport that is fixed to the untrained weights.
    owner = modeldeed.Owner.generate("Acme Vision")
    passport = modeldeed.Passport.issue(model, owner, example=data.x_train[:2], label="classifier")

    # The loop is your own. One call takes the place of the loss.
    for epoch in range(EPOCHS):
        model.train()
        for pictures, y in loader:
            x = augment_images(pictures, draws) if data.name == "cifar10" else pictures
            optimizer.zero_grad()
            loss = passport.joint_loss(x, y)
            loss.backward()
            optimizer.step()
            cycle.step()
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {loss.item():.3f}")
    model.eval()
    print(f"accuracy: {accuracy(model, data.x_test, data.y_test):.3f}")

    # What ships is the plain state dict: nothing in it tells that there is a passport.
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    passport.save(folder / "passport")

    # Whoever has the file and the owner's claim verifies it.
    claimants = {"the owner": owner, "somebody else": modeldeed.Owner.generate()}
    for name, claimant in claimants.items():
        report = modeldeed.verify(
            folder / "model.safetensors", passport=folder / "passport", owner=claimant
        )
        read = report.require_signature()
        print(f"{name}: {report.verdict.value}; {read.matches} of {read.bits} bits match")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example-from-scratch"))
