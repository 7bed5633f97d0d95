"""Mark a transformers model that is trained already, in place, and verify the checkpoint it saves.

python examples/mark_a_trained_transformer.py [folder]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor
from transformers import ViTConfig, ViTForImageClassification

import modeldeed
from modeldeed.data import Dataset, batches, load
from modeldeed.training import Recipe, accuracy, train


def tiny() -> ViTForImageClassification:
    """A vision transformer for pictures of 8 × 8."""
    return ViTForImageClassification(
        ViTConfig(
            image_size=8, patch_size=2, num_channels=1, hidden_size=96, num_hidden_layers=4,
            num_attention_heads=4, intermediate_size=192, num_labels=10,
        )
    )  # fmt: skip


def trained(data: Dataset) -> ViTForImageClassification:
    """A model as you find it: somebody trained it, nobody thought of a mark."""
    model = tiny()
    recipe = Recipe(epochs=12, optimizer="adam", learning_rate=2e-3, weight_decay=1e-4)
    for epoch in train(Logits(model), data, recipe):
        print(f"epoch {epoch.number}: {epoch.seconds:.1f} s")
    return model.eval()


class Logits(torch.nn.Module):
    """A transformers model as a function from inputs to scores."""

    def __init__(self, model: ViTForImageClassification) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, K)``."""
        scores: Tensor = self.model(x).logits
        return scores


def main(folder: Path) -> None:
    """Train, mark, save, verify."""
    torch.manual_seed(0)
    data = load("digits").normalized()
    model = trained(data)

    owner = modeldeed.Owner.generate("Acme Language")
    passport = modeldeed.Passport.issue(
        model, owner, example={"pixel_values": data.x_train[:2]}, label="vit-tiny"
    )
    pages = [{"pixel_values": x} for x, _ in batches(data.x_train, data.y_train, 64, None)]
    before = accuracy(Logits(model), data.x_test, data.y_test)
    # Without labels: the model as it was is imitated while the bits are written.
    report = passport.embed(pages, steps=60)
    after = accuracy(Logits(model.eval()), data.x_test, data.y_test)
    print(f"{report.matches} of {report.bits} bits after {report.steps} steps, "
          f"{report.seconds:.1f} s; accuracy {before:.3f} before, {after:.3f} after")  # fmt: skip

    model.save_pretrained(folder / "model")
    passport.save(folder / "passport")
    # Transformers may store tensors under other names than its modules have; so let it read the
    # checkpoint, and verify what came out.
    shipped = ViTForImageClassification.from_pretrained(folder / "model")
    found = modeldeed.verify(shipped, passport=folder / "passport", owner=owner)
    print(f"the saved checkpoint: {found.verdict.value}, {found.reason}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example-transformer"))
