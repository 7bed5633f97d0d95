"""A judge, two claimants, and a model that both say is theirs; everything is a file in a folder.

Acme trained a model and registered it. Beta took it, marked it again, registered the copy and sells
it. Both marks are in what is sold: whose model is it?

python examples/settle_a_dispute.py [folder]
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

import modeldeed
from modeldeed import Passport, resolve
from modeldeed.data import Dataset, load
from modeldeed.models import resnet_small
from modeldeed.resolving import draw_nonce, suspect_digest
from modeldeed.training import Recipe, train


def claimed(
    name: str, model: nn.Module, data: Dataset, epochs: int, folder: Path
) -> tuple[modeldeed.Owner, modeldeed.Deed]:
    """What a claimant does: anchor, train with the passport, register; all in one folder."""
    claim = folder / name
    claim.mkdir(parents=True)
    owner = modeldeed.Owner.generate(name)
    save_file(model.state_dict(), claim / "unmarked.safetensors")  # what the anchor commits to
    passport = Passport.issue(model, owner, example=data.x_train[:2], label="classifier")
    for _ in train(model, data, Recipe(epochs=epochs), passport=passport):
        pass
    save_file(model.state_dict(), claim / "reference.safetensors")
    passport.save(claim / "passport")
    deed = modeldeed.Deed.create(
        claim / "reference.safetensors", owner=owner, marks=[claim / "passport"]
    )
    # Have it dated by two timestamp authorities before the model leaves the house. These are not,
    # and the report will say what that costs.
    deed.save(folder / f"{name}.deed")
    shutil.copytree(folder / f"{name}.deed", claim, dirs_exist_ok=True)
    return owner, deed


def main(folder: Path) -> None:
    """Two claims, one suspect, one report."""
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(0)
    data = load("digits").normalized()
    model = resnet_small(data.num_classes)
    parties = {"acme": claimed("acme", model, data, 12, folder)}

    parties["beta"] = claimed("beta", model, data, 4, folder)
    for _ in train(model, data, Recipe(epochs=1, learning_rate=0.01)):
        pass  # what Beta sells it went on training without any mark
    suspect = folder / "suspect.safetensors"
    save_file(model.state_dict(), suspect)

    # The judge fixes the suspect and draws a number; each claimant opens his deed for just these.
    nonce = draw_nonce()
    for name, (owner, deed) in parties.items():
        opening = deed.open(owner, suspect_digest(suspect), nonce)
        (folder / name / "opening.json").write_bytes(opening.to_json())

    resolution = resolve([folder / "acme", folder / "beta"], suspect, nonce=nonce)
    for claim in resolution.claims:
        print(f"{claim.name}: {claim.verdict.value}. {claim.reason}")
    for relation in resolution.relations:
        print(f"{relation.words}: {relation.reason}")
    (folder / "report.json").write_text(resolution.model_dump_json(indent=1))
    print(f"the whole report: {folder / 'report.json'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example-dispute"))
