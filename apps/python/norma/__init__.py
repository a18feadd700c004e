"""norma trains batch-normalised networks; every run gives the same bits.

>>> data = norma.datasets.digits()
>>> trainer = norma.Trainer(net, input=(1, 28, 28), optimizer=norma.Adam(lr=1e-3))
>>> trainer.fit(data.train, epochs=3, test=data.test)
"""

from . import datasets, init, nn, recipes
from ._core import (
    Builder,
    EpochMetrics,
    Evaluation,
    Progress,
    StepResult,
    Value,
    best_device,
    cpu_isa_levels,
    usable_cores,
)
from ._core import version as __version__
from .datasets import Dataset, DatasetPair
from .errors import DataError, DeviceError, DivergedError, Error, FailureError, UsageError, VerificationError
from .optim import SGD, Adam, AdamW, CrossEntropyLoss, CustomLoss, MSELoss, ParameterGroup, RMSprop, Schedule, Transform
from .predictor import Predictor
from .recipes import Recipe, recipe
from .trainer import Trainer, plan

__all__ = [
    "SGD", "Adam", "AdamW", "Builder", "CrossEntropyLoss", "CustomLoss", "DataError", "Dataset", "DatasetPair", "DeviceError", "DivergedError",
    "EpochMetrics", "Error", "Evaluation", "FailureError", "MSELoss", "ParameterGroup", "Predictor", "Progress", "RMSprop", "Recipe",
    "Schedule", "StepResult", "Trainer", "Transform", "UsageError", "Value", "VerificationError", "__version__", "best_device",
    "cpu_isa_levels", "datasets", "init", "nn", "plan", "recipe", "recipes", "usable_cores",
]
