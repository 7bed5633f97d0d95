"""A model server as others run them: three forms of requests, and many ways to misbehave.

Run as ``python -m tests.suspects.answering.server PORT_FILE``; writes the port it listens on.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import uvicorn
from fastapi import Body, FastAPI, Form, HTTPException, Request, Response, UploadFile
from PIL import Image

from tests.suspects.answering.models import CLASSES, tiny_model

TOKEN = "s3cret-token-of-the-tests"

app = FastAPI()
model = tiny_model().eval()
requests: Counter[str] = Counter()
chance = random.Random(7)


def scores(batch: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(batch)


def picture(data: bytes) -> torch.Tensor:
    """A file of an image as the model's input (1, 3, 8, 8)."""
    array = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    return torch.from_numpy(array).permute(2, 0, 1)[None].float() / 255


@app.middleware("http")
async def counted(request: Request, call_next: Any) -> Any:
    requests[request.url.path] += 1
    return await call_next(request)


@app.get("/requests")
def counts() -> dict[str, int]:
    return dict(requests)


@app.post("/stop")
def stop() -> None:
    os._exit(1)


def infer(body: dict[str, Any]) -> dict[str, Any]:
    (tensor,) = body["inputs"]
    if tensor["name"] != "x" or tensor["datatype"] not in ("FP32", "UINT8"):
        raise HTTPException(400, "unknown input")
    values = torch.tensor(tensor["data"], dtype=torch.float32).reshape(tensor["shape"])
    found = scores(values if tensor["datatype"] == "FP32" else values / 255)
    data = found.flatten().tolist()
    output = {"name": "y", "datatype": "FP32", "shape": list(found.shape), "data": data}
    return {"model_name": "m", "outputs": [output]}


@app.post("/v2/models/m/infer")
def kserve(body: dict[str, Any]) -> dict[str, Any]:
    return infer(body)


@app.post("/flaky/infer")
def flaky(body: dict[str, Any]) -> dict[str, Any]:
    """One request in twenty fails."""
    if chance.random() < 0.05:
        raise HTTPException(500, "out of memory")
    return infer(body)


@app.post("/busy/infer")
def busy(body: dict[str, Any], response: Response) -> dict[str, Any]:
    """Every third request is one too many."""
    if requests["/busy/infer"] % 3 == 0:
        raise HTTPException(429, "slow down", headers={"Retry-After": "0"})
    return infer(body)


@app.post("/slow/infer")
async def slow(body: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(0.02)
    return infer(body)


@app.post("/guarded/infer")
def guarded(body: dict[str, Any], request: Request) -> dict[str, Any]:
    sent = request.headers.get("Authorization", "")
    if sent != f"Bearer {TOKEN}":
        raise HTTPException(401, f"not a good token: {sent}")
    return infer(body)


@app.post("/choosy/infer")
def choosy(body: dict[str, Any], request: Request) -> dict[str, Any]:
    """Refuses a request with a dark image in it, and quotes the credentials."""
    (tensor,) = body["inputs"]
    values = torch.tensor(tensor["data"]).reshape(tensor["shape"])
    if (values.flatten(1).mean(1) < 0.45).any():
        raise HTTPException(422, f"too dark; asked by {request.headers.get('Authorization')}")
    return infer(body)


@app.post("/noisy/infer")
def noisy(body: dict[str, Any]) -> dict[str, Any]:
    """Top one only; one answer in ten is another class."""
    (tensor,) = body["inputs"]
    values = torch.tensor(tensor["data"], dtype=torch.float32).reshape(tensor["shape"])
    labels = scores(values).argmax(1).tolist()
    return {
        "labels": [
            (label + chance.randrange(1, 5)) % 5 if chance.random() < 0.1 else label
            for label in labels
        ]
    }


@app.post("/plain/names")
def names(body: dict[str, Any]) -> dict[str, Any]:
    found = scores(torch.tensor(body["instances"], dtype=torch.float32))
    labels = found.argmax(1).tolist()
    return {"predictions": [{"label": CLASSES[label], "rank": 1} for label in labels]}


@app.post("/plain/base64")
def encoded(image: Annotated[str, Body(embed=True)]) -> list[float]:
    import base64

    return scores(picture(base64.b64decode(image)))[0].tolist()


@app.post("/form/predict")
def form(file: UploadFile, version: Annotated[str, Form()]) -> dict[str, Any]:
    if version != "2" or file.content_type != "image/png":
        raise HTTPException(400, "unknown form")
    return {"class": int(scores(picture(file.file.read())).argmax())}


@app.post("/form/jpeg")
def recompressed(file: UploadFile) -> dict[str, Any]:
    """A front end that stores uploads as JPEG, and brings them to another size and back."""
    image = Image.open(file.file).convert("RGB")
    stored = io.BytesIO()
    image.resize((12, 12), Image.Resampling.BILINEAR).save(stored, "JPEG", quality=75)
    small = Image.open(stored).resize((8, 8), Image.Resampling.BILINEAR)
    array = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255
    return {"scores": scores(array)[0].tolist()}


def main(port_file: Path) -> None:
    torch.set_num_threads(1)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error")
    listener.listen()
    part = port_file.with_suffix(".part")
    part.write_text(str(listener.getsockname()[1]), "utf-8")
    part.replace(port_file)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
