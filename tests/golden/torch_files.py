#!/usr/bin/env python3
"""Files of torch.save for tests/files/pt_file_test.cpp: small state_dicts of every kind that norma reads or refuses.

    python tests/golden/torch_files.py      writes torch/*.pt

Values are counted, so the tests know them: element i of a tensor is i, or i/8 where it is a float.
"""
import pathlib
from collections import OrderedDict

import torch
from torch import nn

HERE = pathlib.Path(__file__).parent / "torch"


def counted(*shape, dtype=torch.float32):
    n = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return (n / 8 if dtype.is_floating_point else n).to(dtype).reshape(shape)


class Counted(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x):
        return self.fc(x)


def sequential():
    """A net of nn.Sequential, an input and what it gives in evaluation mode."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 4), nn.BatchNorm1d(4), nn.ReLU(),
                        nn.Linear(4, 3))
    for _ in range(3):
        net(torch.randn(8, 1, 6, 6) + 1)  # running statistics
    net.eval()
    x = counted(2, 1, 6, 6) / 8
    with torch.no_grad():
        return net, x, net(x)


def main():
    save = lambda name, what, **how: torch.save(what, HERE / name, **how)
    net, x, y = sequential()
    save("sequential.pt", {"model": net.state_dict(), "input": x, "output": y})
    fc = nn.Linear(3, 2)
    with torch.no_grad():
        fc.weight.copy_(counted(2, 3))
        fc.bias.copy_(counted(2))
    optimizer = torch.optim.Adam(fc.parameters())
    fc(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    with torch.no_grad():
        fc.weight.copy_(counted(2, 3))
        fc.bias.copy_(counted(2))
    save("checkpoint.pt", {"epoch": 3, "model": fc.state_dict(), "optimizer": optimizer.state_dict(), "loss": 0.5, "name": "run", "done": False,
                           "none": None, "seed": 1 << 70, "classes": ["a", "b"]})
    save("two.pt", {"model": fc.state_dict(), "ema": fc.state_dict()})
    save("nested.pt", {"checkpoint": {"model": fc.state_dict(), "step": 7}})
    types = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8]
    save("types.pt", OrderedDict([(str(t).split(".")[1], counted(2, 3, dtype=t)) for t in types] +
                                 [("bn.num_batches_tracked", torch.tensor(5, dtype=torch.int16))]))
    shared = counted(4, 6)
    save("views.pt", OrderedDict(whole=shared, transposed=shared.t(), row=shared[2], column=shared[:, 1], block=shared[1:3, 2:5],
                                 permuted=counted(2, 3, 4).permute(2, 0, 1), every_other=shared[::2, ::3], expanded=counted(3, 1).expand(3, 4),
                                 scalar=torch.tensor(0.5), empty=torch.zeros(0, 3), parameter=nn.Parameter(counted(3)),
                                 channels_last=counted(1, 2, 3, 2).contiguous(memory_format=torch.channels_last)))
    save("bool.pt", OrderedDict(mask=torch.tensor([True, False])))
    save("complex.pt", OrderedDict(w=torch.zeros(2, dtype=torch.complex64)))
    save("windows.pt", OrderedDict(w=torch.arange(6.).as_strided((3, 3), (1, 1))))
    save("module.pt", Counted())  # a whole object: its class is code
    save("tensor.pt", counted(3))
    save("numbers.pt", {"epoch": 3})
    save("protocol4.pt", fc.state_dict(), pickle_protocol=4)
    save("legacy.pt", fc.state_dict(), _use_new_zipfile_serialization=False)
    torch.jit.trace(Counted(), torch.zeros(1, 2)).save(HERE / "script.pt")


if __name__ == "__main__":
    main()
