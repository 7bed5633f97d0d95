"""A protected model behind front ends that other people put before theirs.

Run as ``python -m tests.querying.protected_server WEIGHTS PORT_FILE``; writes its port.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import random
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, HTTPException
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from modeldeed.models import resnet_small

app = FastAPI()
model = resnet_small(10, 1).eval()
chance = random.Random(11)
calls = itertools.count(1)


def images(body: dict[str, Any]) -> Tensor:
    return torch.tensor(body["instances"], dtype=torch.float32)


def labels(batch: Tensor) -> dict[str, Any]:
    with torch.no_grad():
        return {"labels": model(batch).argmax(1).tolist()}


@app.post("/clean")
def clean(body: dict[str, Any]) -> dict[str, Any]:
    return labels(images(body))


@app.post("/rough")
async def rough(body: dict[str, Any]) -> dict[str, Any]:
    """Slow; one request in twenty fails, every fifth is too many, one answer in ten is wrong."""
    number = next(calls)
    await asyncio.sleep(0.005)
    if number % 5 == 0:
        raise HTTPException(429, "slow down", headers={"Retry-After": "0"})
    if chance.random() < 0.05:
        raise HTTPException(500, "out of memory")
    found = labels(images(body))["labels"]
    return {
        "labels": [
            (label + chance.randrange(1, 10)) % 10 if chance.random() < 0.1 else label
            for label in found
        ]
    }


@app.post("/recompressed")
def recompressed(body: dict[str, Any]) -> dict[str, Any]:
    changed = []
    for image in images(body):
        pixels = (image[0] * 255).round().to(torch.uint8).numpy()
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=75)
        changed.append(torch.from_numpy(np.array(Image.open(buffer)))[None].float() / 255)
    return labels(torch.stack(changed))


@app.post("/resized")
def resized(body: dict[str, Any]) -> dict[str, Any]:
    """Down to three quarters and back."""
    small = torch.nn.functional.interpolate(
        images(body), size=(6, 6), mode="bilinear", antialias=True, align_corners=False
    )
    back = torch.nn.functional.interpolate(small, size=(8, 8), mode="bilinear", align_corners=False)
    return labels(back)


@app.post("/stop")
def stop() -> None:
    os._exit(1)


def main() -> None:
    torch.set_num_threads(1)
    model.load_state_dict(load_file(sys.argv[1]))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    part = Path(sys.argv[2]).with_suffix(".part")
    part.write_text(str(listener.getsockname()[1]))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    part.rename(sys.argv[2])
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
