"""The black-box proof: a model that can only be asked, behind a web server in another process.

python examples/ask_an_api.py [folder]
"""

from __future__ import annotations

import multiprocessing
import socket
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

import modeldeed
from modeldeed.data import load
from modeldeed.models import resnet_small
from modeldeed.training import Recipe, accuracy, train

ENDPOINT = """\
format: modeldeed-endpoint/v1
url: http://127.0.0.1:{port}/classify
request: {{format: json, template: {{pictures: $inputs}}}}
response: {{path: classes, kind: labels}}
samples_per_request: 4
"""


def serve(weights: Path, listener: socket.socket) -> None:
    """Somebody's service: it gives the class and nothing else."""
    import uvicorn  # noqa: PLC0415
    from fastapi import FastAPI  # noqa: PLC0415

    torch.set_num_threads(1)
    model = resnet_small(10)
    model.load_state_dict(load_file(weights))
    model.eval()
    app = FastAPI()

    @app.post("/classify")
    def classify(body: dict[str, Any]) -> dict[str, list[int]]:
        with torch.inference_mode():
            return {"classes": model(torch.tensor(body["pictures"])).argmax(1).tolist()}

    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


def main(folder: Path) -> None:
    """Mark, serve, ask."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    data = load("digits")
    model = resnet_small(data.num_classes)

    # A passport whose model also learns 128 keyed inputs and their answers.
    owner = modeldeed.Owner.generate("Acme Vision")
    passport = modeldeed.Passport.issue(
        model, owner, example=data.x_train[:2], classes=data.classes, triggers=True
    )
    for _ in train(model, data, Recipe(epochs=20), passport=passport):
        pass
    print(f"accuracy: {accuracy(model.eval(), data.x_test, data.y_test):.3f}")
    save_file(model.state_dict(), folder / "model.safetensors")
    passport.save(folder / "passport")

    listener = socket.create_server(("127.0.0.1", 0))
    context = multiprocessing.get_context("spawn")
    server = context.Process(target=serve, args=(folder / "model.safetensors", listener))
    server.start()
    port = listener.getsockname()[1]
    (folder / "endpoint.yaml").write_text(ENDPOINT.format(port=port))
    try:
        wait_for(port, server)
        for name, claimant in {"the owner": owner, "another": modeldeed.Owner.generate()}.items():
            report = modeldeed.query(
                folder / "endpoint.yaml",
                triggers=folder / "passport",
                owner=claimant,
                # Every answer stands there before the next question; a broken run goes on from it.
                transcripts=folder / "transcripts" / name.replace(" ", "-"),
            )
            answers = report.answers
            assert answers is not None
            print(f"{name}: {report.verdict.value} after {answers.queries} questions, "
                  f"{answers.matches} answered by the key")  # fmt: skip
    finally:
        server.terminate()
        server.join()


def wait_for(port: int, server: Any) -> None:
    """Until the service answers, or has ended."""
    while server.is_alive():
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(b"GET /docs HTTP/1.0\r\n\r\n")
                if connection.recv(1):
                    return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the server ended before it answered")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example-api"))
