"""Train with a passport under DistributedDataParallel: one process for each device.

torchrun --nproc-per-node 2 examples/train_on_several_devices.py [folder]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import modeldeed
from modeldeed.data import load
from modeldeed.models import resnet_small
from modeldeed.training import accuracy

EPOCHS, BATCH, RATE = 8, 32, 0.05


def main(folder: Path) -> None:
    """Train in every process; the first one saves and verifies."""
    on_gpu = torch.cuda.is_available()
    dist.init_process_group("nccl" if on_gpu else "gloo")
    first = dist.get_rank() == 0
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
    data = load("digits").normalized()

    # All processes start from the same weights and from the same secret: an encrypted file.
    torch.manual_seed(0)
    model = resnet_small(data.num_classes).to(device)
    passphrase = "only for an example"  # yours comes from a vault
    if first and not (folder / "owner.key").exists():
        folder.mkdir(parents=True, exist_ok=True)
        modeldeed.Owner.generate("Acme Vision").save(folder / "owner.key", passphrase)
    dist.barrier()
    owner = modeldeed.Owner.load(folder / "owner.key", passphrase)
    passport = modeldeed.Passport.issue(
        model, owner, example=data.x_train[:2].to(device), label="classifier"
    )

    # The whole step is one module, so that its gradients are averaged.
    step = DistributedDataParallel(passport.as_module(loss=nn.functional.cross_entropy))
    optimizer = torch.optim.SGD(step.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4)
    samples = TensorDataset(data.x_train, data.y_train)
    sampler: DistributedSampler[object] = DistributedSampler(samples, drop_last=True)
    loader = DataLoader(samples, BATCH, sampler=sampler, drop_last=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * len(loader))
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        step.train()
        for x, y in loader:
            optimizer.zero_grad()
            step(x.to(device), y.to(device)).backward()
            optimizer.step()
            cycle.step()
    if first:
        model.cpu().eval()
        save_file(model.state_dict(), folder / "model.safetensors")
        passport.save(folder / "passport")
        found = modeldeed.verify(
            folder / "model.safetensors", passport=folder / "passport", owner=owner
        )
        read = found.require_signature()
        print(f"{dist.get_world_size()} processes, accuracy "
              f"{accuracy(model, data.x_test, data.y_test):.3f}: {found.verdict.value}, "
              f"{read.matches} of {read.bits} bits match")  # fmt: skip
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example-devices"))
