"""Tensors of torch in and out: run by an interpreter that has torch, of the same version as the one that norma was built for."""

import json

import numpy as np
import torch

import norma
from norma import nn

torch.set_num_threads(1)
net = nn.Sequential(nn.Linear(16), nn.BatchNorm(), nn.ReLU(), nn.Linear(3))
rng = np.random.default_rng(0)
x, y = rng.normal(size=(128, 4)).astype(np.float32), rng.integers(0, 3, 128)


def trainer(**options):
    return norma.Trainer(net, input=4, batch_size=32, optimizer=norma.SGD(lr=0.1), **options)


of_numpy, of_torch = trainer(), trainer()
of_numpy.fit(x, y, epochs=3, test=(x, y))
of_torch.fit(torch.from_numpy(x.copy()), torch.from_numpy(y.copy()), epochs=3, test=(torch.from_numpy(x), torch.from_numpy(y)))
assert of_numpy.parameters_hash == of_torch.parameters_hash

# Outputs become tensors without a copy.
out = of_torch.predict(torch.from_numpy(x))
tensor = torch.from_dlpack(out)
assert tensor.data_ptr() == out.ctypes.data and tuple(tensor.shape) == (128, 3)

# A loss of torch outside of the net.
tensor = torch.from_numpy(of_torch.forward(torch.from_numpy(x))).requires_grad_()
loss = torch.nn.functional.cross_entropy(tensor, torch.from_numpy(y))
loss.backward()
of_torch.backward(tensor.grad)
of_torch.update()

# state_dicts, both ways.
model = torch.nn.Sequential()
model.fc1, model.bn1, model.relu1, model.fc2 = torch.nn.Linear(4, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Linear(16, 3)
model.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in of_torch.state_dict().items()})
model.eval()
with torch.no_grad():
    np.testing.assert_allclose(model(torch.from_numpy(x)).numpy(), of_torch.predict(x), rtol=1e-4, atol=1e-5)
other = trainer(seed=9)
other.load_state_dict(model.state_dict())
assert other.parameters_hash == of_torch.parameters_hash


def refused(text, call, *arguments):
    try:
        call(*arguments)
    except TypeError as e:
        assert text in str(e), e
    else:
        raise AssertionError(text)


# One that requires a gradient is read as any other.
assert (of_torch.predict(torch.zeros(4, 4, requires_grad=True)) == of_torch.predict(torch.zeros(4, 4))).all()
refused("x is float64, and the net takes float32: call x.float()", of_torch.predict, torch.zeros(4, 4, dtype=torch.float64))
refused("call x.contiguous()", of_torch.predict, torch.zeros(4, 8)[:, ::2])
refused("x is bfloat16", of_torch.predict, torch.zeros(4, 4, dtype=torch.bfloat16))
refused("call y.long()", of_torch.fit, torch.zeros(4, 4), torch.zeros(4, dtype=torch.int16))
print(json.dumps("all is well"))
