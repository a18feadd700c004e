"""A program that mypy --strict accepts; the test runs mypy on it. Each line marked below must be an error."""

from typing import Optional

import numpy as np
from numpy.typing import NDArray

import norma
from norma import init, nn


def block(b: norma.Builder, x: norma.Value) -> norma.Value:
    with b.scope("inner"):
        return b.add(x, nn.Linear(b.shape(x)[1], weight_init=init.he_normal())(b, x))


def on_step(progress: norma.Progress) -> Optional[bool]:
    return progress.loss < 100


def train() -> NDArray[np.float32]:
    data = norma.datasets.circles()
    net = nn.Sequential(nn.Linear(32), nn.BatchNorm1d(), nn.ReLU(), block, {"head": nn.Linear(2)})
    trainer = norma.Trainer(net, input=2, batch_size=64, optimizer=norma.AdamW(lr=1e-2), schedule=norma.Schedule("cosine"))
    finished: bool = trainer.fit(data.train, epochs=2, test=(data.test.x, data.test.y), on_step=on_step, on_epoch=print)
    accuracy: Optional[float] = trainer.history[-1].test_accuracy
    result: norma.StepResult = trainer.step(data.train.x, data.train.y, rate=0.01)
    print(finished, accuracy, result.loss, trainer.parameters_hash.upper())
    trainer.save("model.safetensors")
    predictor = norma.Predictor.load("model.safetensors")
    return predictor.predict(data.test.x)


def wrong() -> None:
    nn.Conv2d("6", 5)  # type: ignore[arg-type]
    norma.SGD(rate=0.1)  # type: ignore[call-arg]
    norma.Trainer(nn.Linear(2), input=2).predict([[1.0, 2.0]])  # type: ignore[arg-type]
    norma.Trainer(nn.Linear(2), input=2, dtype="float64")  # type: ignore[arg-type]


if __name__ == "__main__":
    print(train().shape)
