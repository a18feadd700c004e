#!/usr/bin/env python3
"""The five tutorials in PyTorch, each over seeds: what apps/recipes/README.md puts beside norma's figures.

    python pytorch_tutorials.py --data-dir ../../../shared/data --seeds 5 circles-bn circles        needs torch, scikit-learn for the circles

Written as a user of PyTorch would, with PyTorch's own initial weights and order of samples: it shares nothing with norma but the recipe.
Prints one JSON object a run.
"""
import argparse
import json
import pathlib
import sys
import time

import lenet
import torch
from torch import nn


def lenet_bn(activation):
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), activation(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), activation(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(256, 120), nn.BatchNorm1d(120), activation(),
        nn.Linear(120, 84), nn.BatchNorm1d(84), activation(), nn.Linear(84, 10))


def cnn_bn(norm):
    """Every weight, gamma and beta from N(0, 0.01^2), biases 0, the running variance from 0."""
    def block(inputs, outputs, kernel):
        return [nn.Conv2d(inputs, outputs, kernel)] + ([nn.BatchNorm2d(outputs)] if norm else []) + [nn.ReLU(), nn.MaxPool2d(2)]

    net = nn.Sequential(*block(1, 20, 5), *block(20, 50, 3), nn.Flatten(), nn.Linear(1250, 128), nn.ReLU(), nn.Linear(128, 10))
    for module in net:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(module.weight, 0, 0.01)
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 0, 0.01)
            nn.init.normal_(module.bias, 0, 0.01)
            module.running_var.zero_()
    return net


def circles_net(norm):
    def block(inputs, outputs):
        return [nn.Linear(inputs, outputs)] + ([nn.BatchNorm1d(outputs)] if norm else []) + [nn.ReLU()]

    return nn.Sequential(*block(2, 64), *block(64, 32), nn.Linear(32, 2))


def images(name, mean=0.0, std=1.0):
    def load(data_dir):
        recipe = dict(data=name, mean=mean, std=std)
        return [torch.from_numpy(a) for split in ("train", "t10k") for a in lenet.load_split(data_dir, recipe, split)]
    return load


def circles(_):
    from sklearn.datasets import make_circles
    from sklearn.model_selection import train_test_split
    x, y = make_circles(2000, noise=0.1, factor=0.4, random_state=42)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.3, random_state=42)
    return [torch.tensor(x_train, dtype=torch.float32), torch.tensor(y_train), torch.tensor(x_test, dtype=torch.float32), torch.tensor(y_test)]


def sgd(lr):
    return lambda parameters: torch.optim.SGD(parameters, lr=lr)


RECIPES = {
    "mnist-lenet-bn": dict(data=images("mnist", 0.5, 0.5), net=lambda: lenet_bn(nn.ReLU), optimizer=sgd(0.02), batch=256, epochs=10),
    "fashion-lenet-bn-sigmoid": dict(data=images("fashion-mnist"), net=lambda: lenet_bn(nn.Sigmoid),
                                     optimizer=lambda p: torch.optim.Adam(p, lr=0.001), batch=256, epochs=5),
    "fashion-cnn-bn": dict(data=images("fashion-mnist"), net=lambda: cnn_bn(True), optimizer=sgd(0.2), batch=256, epochs=5),
    "circles-bn": dict(data=circles, net=lambda: circles_net(True), optimizer=sgd(0.1), batch=1400, epochs=500),
    "circles": dict(data=circles, net=lambda: circles_net(False), optimizer=sgd(0.1), batch=1400, epochs=500),
}


def evaluate(net, x, t):
    net.eval()
    with torch.no_grad():
        y = torch.cat([net(part) for part in x.split(1000)])
    return nn.functional.cross_entropy(y, t).item(), (y.argmax(1) == t).double().mean().item()


def run(name, data, seed):
    recipe = RECIPES[name]
    torch.manual_seed(seed)
    net = recipe["net"]()
    x, t, x_test, t_test = data
    optimizer = recipe["optimizer"](net.parameters())
    criterion = nn.CrossEntropyLoss()
    full_batch, losses, start = recipe["batch"] == len(t), {}, time.perf_counter()
    for epoch in range(1, recipe["epochs"] + 1):
        net.train()
        loss_sum, correct = 0.0, 0
        order = torch.arange(len(t)) if full_batch else torch.randperm(len(t))
        for index in order.split(recipe["batch"]):
            optimizer.zero_grad()
            y = net(x[index])
            loss = criterion(y, t[index])
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(index)
            correct += (y.argmax(1) == t[index]).sum().item()
        losses[epoch] = loss_sum / len(t)
    test_loss, test_accuracy = evaluate(net, x_test, t_test)
    return dict(recipe=name, seed=seed, train_loss=losses[recipe["epochs"]], train_accuracy=correct / len(t), test_loss=test_loss,
                test_accuracy=test_accuracy, loss_at_100=losses.get(100), seconds=round(time.perf_counter() - start, 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="recipe", help=f"{', '.join(RECIPES)}; default: all")
    parser.add_argument("--data-dir", type=pathlib.Path, help="folder with mnist/ and fashion-mnist/")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's default")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    for name in args.recipes or RECIPES:
        if name not in RECIPES:
            sys.exit(f"{name}: not one of {', '.join(RECIPES)}")
        if args.data_dir is None and not name.startswith("circles"):
            sys.exit(f"{name} needs --data-dir")
        data = RECIPES[name]["data"](args.data_dir)
        for seed in range(args.seeds):
            print(json.dumps(run(name, data, seed)), flush=True)


if __name__ == "__main__":
    main()
