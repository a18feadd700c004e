"""PyTorch's side of tests/scripts/pytorch.sh: the net of the recipe mnist-lenet-bn, its files and its outputs.

    lenet.py save FOLDER                        trains a few steps; writes *.pt, images.bin, and the outputs of each file: *.expected
    lenet.py compare A B LIMIT                  the largest difference of two files of floats; fails beyond LIMIT
    lenet.py back MODEL IMAGES OUT.pt OUTPUTS   norma's model.safetensors in PyTorch, strictly; saved again, and its outputs
"""
import json
import struct
import sys
from collections import OrderedDict

if sys.argv[1] != "compare":  # which takes a moment without
    import torch
    from torch import nn

IMAGES = 100  # of 10 outputs each


def layers():
    return OrderedDict(conv1=nn.Conv2d(1, 6, 5), bn1=nn.BatchNorm2d(6), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2), conv2=nn.Conv2d(6, 16, 5),
                       bn2=nn.BatchNorm2d(16), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2), flatten=nn.Flatten(), fc1=nn.Linear(256, 120),
                       bn3=nn.BatchNorm1d(120), relu3=nn.ReLU(), fc2=nn.Linear(120, 84), bn4=nn.BatchNorm1d(84), relu4=nn.ReLU(),
                       fc3=nn.Linear(84, 10))


def inputs(images):
    return (images.float() / 255 - 0.5) / 0.5


def outputs(net, images, file):
    net = net.float().eval()
    with torch.no_grad():
        values = net(inputs(images)).flatten().tolist()
    with open(file, "wb") as f:
        f.write(struct.pack(f"<{len(values)}f", *values))


def save(folder):
    torch.manual_seed(1)
    images = torch.randint(0, 256, (IMAGES, 1, 28, 28), dtype=torch.uint8)
    with open(f"{folder}/images.bin", "wb") as f:
        f.write(bytes(images.flatten().tolist()))
    net = nn.Sequential(layers())
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for step in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs(images)), torch.arange(IMAGES) % 10).backward()
        optimizer.step()
    with torch.no_grad():
        net.fc3.weight.mul_(50)  # outputs as large as a trained net's

    def write(name, state, of=net):
        torch.save(state, f"{folder}/{name}.pt")
        outputs(of, images, f"{folder}/{name}.expected")

    def cast(dtype):
        state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in net.state_dict().items()}
        other = nn.Sequential(layers())
        other.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
        return state, other

    numbered = nn.Sequential(*net.children())
    write("named", net.state_dict())
    write("sequential", numbered.state_dict())
    write("half", *cast(torch.float16))
    write("bfloat16", *cast(torch.bfloat16))
    write("double", *cast(torch.float64))
    write("module", nn.DataParallel(net).state_dict())
    write("orig_mod", {"_orig_mod." + k: v for k, v in net.state_dict().items()})
    write("checkpoint", {"epoch": 1, "state_dict": numbered.state_dict(), "optimizer": optimizer.state_dict()})
    write("uncounted", {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")})
    write("features", {("features." if int(k.split(".")[0]) < 9 else "classifier.") + k: v for k, v in numbered.state_dict().items()})

    class Evil:
        def __reduce__(self):
            import os
            return os.system, (f"touch {folder}/made",)

    torch.save({"state_dict": net.state_dict(), "x": Evil()}, f"{folder}/evil.pt")


def read_safetensors(path):
    """name -> tensor, and the metadata: safetensors need not be installed."""
    data = open(path, "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    head = json.loads(data[8:8 + n])
    types = {"F32": torch.float32, "I64": torch.int64}
    metadata = head.pop("__metadata__", {})
    state = OrderedDict()
    for name, t in head.items():
        begin, end = t["data_offsets"]
        state[name] = torch.frombuffer(bytearray(data[8 + n + begin:8 + n + end]), dtype=types[t["dtype"]]).reshape(t["shape"])
    return state, metadata


def back(model, images, out, values):
    state, metadata = read_safetensors(model)
    assert metadata["format"] == "pt", metadata
    net = nn.Sequential(layers())
    net.load_state_dict(state, strict=True)
    torch.save(net.state_dict(), out)
    outputs(net, torch.frombuffer(bytearray(open(images, "rb").read()), dtype=torch.uint8).reshape(-1, 1, 28, 28), values)


def compare(a, b, limit):
    x, y = (struct.unpack(f"<{10 * IMAGES}f", open(file, "rb").read()) for file in (a, b))
    worst = max(abs(p - q) for p, q in zip(x, y))
    print(f"{len(x)} outputs up to {max(map(abs, y)):.2f} differ by {worst:.1e} at most")
    sys.exit(not worst <= float(limit))


if __name__ == "__main__":
    {"save": save, "compare": compare, "back": back}[sys.argv[1]](*sys.argv[2:])
