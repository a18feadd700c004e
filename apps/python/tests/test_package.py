"""Nets, options and their defaults, data sets, recipes; and the code of README.md."""

import importlib.metadata
import inspect
import io
import os
import re
import subprocess
import sys
import tomllib
import unittest
from contextlib import redirect_stdout
from dataclasses import MISSING, fields

import numpy as np
from common import SOURCE, Test, lenet, mlp, trainer_of

import norma
from norma import _core, init, nn

LAYERS = {
    "conv2d": nn.Conv2d, "conv_transpose2d": nn.ConvTranspose2d, "linear": nn.Linear, "batch_norm": nn.BatchNorm,
    "layer_norm": nn.LayerNorm, "instance_norm": nn.InstanceNorm2d, "group_norm": nn.GroupNorm, "max_pool2d": nn.MaxPool2d,
    "avg_pool2d": nn.AvgPool2d, "global_avg_pool2d": nn.GlobalAvgPool2d, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh,
    "gelu": nn.GELU, "silu": nn.SiLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "dropout": nn.Dropout, "flatten": nn.Flatten,
}  # fmt: skip
ELSEWHERE = {"norm", "activation", "sequential", "residual"}  # layers of recipes that are no class of their own
RENAMED = {"out_channels": "out", "out_features": "out", "kernel_size": "kernel", "num_groups": "groups"}
REQUIRED = {"out": "3", "kernel": "2", "groups": "1"}


def value_of(text):
    """Of a value in TOML."""
    return tomllib.loads("v = " + text)["v"]


class Defaults(unittest.TestCase):
    """Every option of Python stands in the table of recipes, with the same default, and the other way round."""

    def table(self, layer):
        recipe = _core.parse_recipe(f'[data]\nname = "digits"\n[model]\nlayers = [{{ {layer} }}]\n')
        prefix = "model.layers.0."
        return {k.removeprefix(prefix): value_of(v) for k, v in recipe.flatten().items() if k.startswith(prefix)}

    def choices(self, model, rest=""):
        """What the table says there is in place of "?"."""
        with self.assertRaises(norma.UsageError) as refused:
            _core.parse_recipe(f'[data]\nname = "digits"\n[model]\n{model}\n{rest}')
        return set(re.search("must be one of (.*), got", str(refused.exception)).group(1).split(", "))

    def test_of_layers(self):
        self.assertEqual(set(LAYERS) | ELSEWHERE, self.choices('layers = [{ type = "?" }]'))
        for type_, class_ in LAYERS.items():
            with self.subTest(type_):
                options = {RENAMED.get(n, n): p.default for n, p in inspect.signature(class_.__init__).parameters.items() if n != "self"}
                given = {k: v for k, v in REQUIRED.items() if options.get(k) is inspect.Parameter.empty}
                self.assertEqual(set(given), {k for k, v in options.items() if v is inspect.Parameter.empty})
                table = self.table(", ".join([f'type = "{type_}"', *(f"{k} = {v}" for k, v in given.items())]))
                self.assertEqual(table.pop("type"), type_)
                for name, default in options.items():
                    if name in given:
                        self.assertEqual(table.pop(name), value_of(given[name]))
                    elif name.endswith("_init"):
                        self.assertEqual(table.pop(name), {"kind": "standard"})
                    elif default is None:
                        self.assertNotIn(name, table)  # stride
                    else:
                        self.assertEqual(table.pop(name), default, name)
                self.assertEqual(table, {})

    def test_of_sections(self):
        def table(section, kind):
            text = f'[data]\nname = "circles"\n[model]\nlayers = [{{ type = "flatten" }}]\n' + (f"[{section}]\nkind = {kind!r}\n" if kind else "")
            prefix = section + "."
            found = _core.parse_recipe(text.replace("'", '"')).flatten()
            return {k.removeprefix(prefix): value_of(v) for k, v in found.items() if k.startswith(prefix)}

        for class_ in (norma.SGD, norma.Adam, norma.AdamW, norma.RMSprop, norma.CrossEntropyLoss, norma.MSELoss):
            with self.subTest(class_):
                made = class_()
                self.assertEqual(made.options(), table(class_._section, class_._kind))
        flatten = 'layers = [{ type = "flatten" }]'
        for section, classes in (("optimizer", (norma.SGD, norma.Adam, norma.AdamW, norma.RMSprop)),
                                 ("loss", (norma.CrossEntropyLoss, norma.MSELoss))):  # fmt: skip
            self.assertEqual({c._kind for c in classes}, self.choices(flatten, f'[{section}]\nkind = "?"'))
        for kind in self.choices(flatten, '[schedule]\nkind = "?"'):
            known = {f.name for f in fields(norma.Schedule)}
            of_kind = table("schedule", kind)
            self.assertLessEqual(set(of_kind), known)
            self.assertEqual(norma.Schedule(kind, **{k: v for k, v in of_kind.items() if k != "kind"}).options(), of_kind)
        data = table("data", "")
        self.assertEqual(data["to_unit"], norma.Transform().to_unit)
        train = table("train", "")
        for name, p in inspect.signature(norma.Trainer.__init__).parameters.items():
            if name in train:
                self.assertEqual(p.default, None if train[name] == "none" else train[name], name)
        self.assertTrue(all(f.default is not MISSING for f in fields(norma.SGD)))


class Nets(Test):
    def test_paths_and_shapes(self):
        lines = lenet().graph(4, 1, 28, 28)
        for text in ("conv1", "bn4", "fc3", "(4, 16, 4, 4)", "(4, 10)"):
            self.assertIn(text, lines)
        named = nn.Sequential({"body": nn.Sequential(nn.Linear(3)), "head": nn.Linear(2)}, nn.Tanh())
        trainer = trainer_of(named, input=5)
        self.assertEqual(list(trainer.state_dict()), ["body.fc1.weight", "body.fc1.bias", "head.weight", "head.bias"])
        self.assertIn("Linear(out_features=2", repr(named))

    def test_one_of_ones_own(self):
        def block(b, x):
            channels = b.shape(x)[1]
            with b.scope("inner"):
                y = nn.Sequential(nn.BatchNorm2d(), nn.ReLU(), nn.Conv2d(channels, 3, padding=1))(b, x)
            return b.add(x, b.activation("leaky_relu", y, 0.1))

        net = nn.Sequential(nn.Conv2d(4, 3), block, nn.Residual(nn.Conv2d(4, 1)), nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(10))
        trainer = trainer_of(net, input=(1, 28, 28), batch_size=100)
        self.assertIn("function1.inner.conv1.weight", trainer.state_dict())
        trainer.fit(self.digits.train, epochs=1)  # a last batch of 12: the function is called anew
        trainer.save(self.folder / "model.safetensors")
        loaded = norma.Predictor.load(self.folder / "model.safetensors", fold=False)
        np.testing.assert_array_equal(loaded.predict(self.digits.test.x), trainer.predict(self.digits.test.x))

    def test_misuse(self):
        kept = []

        def keep(b, x):
            kept.extend([b, x])
            return x

        trainer_of(nn.Sequential(keep, nn.Linear(2)), input=2)
        with self.assertRaisesRegex(norma.UsageError, "within the call of its net alone"):
            kept[0].shape(kept[1])
        with self.assertRaisesRegex(norma.UsageError, "another|other"):
            trainer_of(lambda b, x: nn.Linear(2)(b, kept[1]), input=2)
        with self.assertRaisesRegex(TypeError, "must return a Value"):
            trainer_of(lambda b, x: None, input=2)
        with self.assertRaisesRegex(ZeroDivisionError, "division"):
            trainer_of(lambda b, x: 1 / 0, input=2)
        with self.assertRaisesRegex(norma.UsageError, "relu"):
            trainer_of(lambda b, x: b.activation("rulu", x), input=2)
        with self.assertRaisesRegex(TypeError, "call it, ReLU"):
            nn.Sequential(nn.ReLU)
        with self.assertRaisesRegex(TypeError, "a net is a Module"):
            norma.Trainer("net", input=2)
        with self.assertRaises(TypeError):
            nn.Conv2d(1, 6, 5)
        with self.assertRaisesRegex(norma.UsageError, "Conv2d: out_channels: must be an integer of at least 1, got 0"):
            nn.Conv2d(0, 3)
        with self.assertRaisesRegex(norma.UsageError, "Conv2d: kernel_size: must be an integer or"):
            nn.Conv2d(1, "a")
        with self.assertRaisesRegex(norma.UsageError, "weight_init"):
            nn.Linear(1, weight_init=init.normal(std=-1))
        with self.assertRaisesRegex(norma.UsageError, r"\[conv1\]"):
            trainer_of(nn.Sequential(nn.Conv2d(1, 5)), input=(1, 3, 3))
        with self.assertRaisesRegex(norma.UsageError, "itself|200"):
            trainer_of(recursive, input=2)

    def test_initial_values(self):
        net = nn.Linear(3, weight_init=init.constant(0.25), bias_init=init.uniform(2, 3))
        trainer = trainer_of(net, input=4)
        state = trainer.state_dict()
        weight, bias = state.values()
        self.assertTrue((weight == 0.25).all())
        self.assertTrue(((bias >= 2) & (bias <= 3)).all())


def recursive(b, x):
    return nn.Sequential(recursive)(b, x)


class Sets(Test):
    def test_made_by_code(self):
        again = norma.datasets.digits(train=512, test=200, seed=3)
        np.testing.assert_array_equal(again.train.x, self.digits.train.x)
        self.assertEqual((self.digits.train.x.dtype, self.digits.train.x.shape), (np.uint8, (512, 1, 28, 28)))
        self.assertEqual(self.digits.train.classes, [str(i) for i in range(10)])
        self.assertEqual(self.circles.train.x.shape, (320, 2))
        self.assertEqual(self.circles.source, "built in")

    def test_mnist(self):
        try:
            mnist = norma.datasets.mnist()
        except norma.DataError as e:
            self.assertIn("mnist", str(e))
            raise unittest.SkipTest("MNIST is not on this machine") from None
        self.assertEqual((mnist.train.x.shape, mnist.test.x.shape), ((60000, 1, 28, 28), (10000, 1, 28, 28)))
        self.assertAlmostEqual(mnist.train.x.mean(), 33.318, places=3)
        self.assertEqual(mnist.train.y[:5].tolist(), [5, 0, 4, 1, 9])

    def test_idx(self):
        images, labels = self.folder / "images", self.folder / "labels"
        images.write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, *range(6)]))
        labels.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 1, 0]))
        d = norma.datasets.idx(images, labels)
        self.assertEqual((d.x.tolist(), d.y.tolist()), ([[[[0, 1, 2]]], [[[3, 4, 5]]]], [1, 0]))
        with self.assertRaises(norma.DataError):
            norma.datasets.idx(labels, images)


class Recipes(Test):
    def test_shipped(self):
        self.assertIn("mnist-lenet-bn", norma.recipes.names())
        recipe = norma.recipe("circles-bn", {"train.epochs": 20, "model.norm": "layer", "data.samples": 400, "train.batch_size": 280, "device.threads": 1})
        self.assertEqual((recipe.name, recipe.epochs), ("circles-bn", 20))
        self.assertEqual(recipe.data().train.x.shape, (280, 2))
        seen = []
        trainer = recipe.train(on_epoch=seen.append)
        self.assertEqual(len(seen), 20)
        self.assertIn("ln1.weight", trainer.state_dict())
        self.assertIn("epochs = 20", recipe.toml())

    def test_plans(self):
        text = norma.plan(mlp(), input=2, batch_size=64, device="cuda")
        self.assertIn("batch_norm", text)
        self.assertEqual(trainer_of(mlp(), input=2, batch_size=64).plan(), norma.plan(mlp(), input=2, batch_size=64))


class Page(unittest.TestCase):
    def test_code_of_the_readme(self):
        """Every python block of README.md, one after the other, in one folder."""
        text = (SOURCE / "apps/python/README.md").read_text()
        blocks = re.findall(r"```python\n(.*?)```", text, re.S)
        self.assertGreater(len(blocks), 8)
        names = {}
        os.chdir(os.environ.get("NORMA_WORK", "."))
        for i, block in enumerate(blocks):
            with self.subTest(i), redirect_stdout(io.StringIO()):
                exec(compile(block, f"README.md block {i + 1}", "exec"), names)


class Typed(Test):
    def test_the_typed_program_runs(self):
        """python.sh also has mypy check it."""
        os.chdir(self.folder)
        self.addCleanup(os.chdir, SOURCE)
        with redirect_stdout(io.StringIO()):
            import typed

            self.assertEqual(typed.train().shape, (400, 2))


class Package(unittest.TestCase):
    def test_versions_agree(self):
        self.assertEqual(importlib.metadata.version("norma"), norma.__version__)

    def test_nothing_but_numpy_is_needed(self):
        needed = [r for r in importlib.metadata.requires("norma") or [] if "extra ==" not in r]
        self.assertEqual([re.match("[a-z]+", r).group() for r in needed], ["numpy"])

    def test_importing_is_quick(self):
        code = "import time, numpy; start = time.monotonic(); import norma; print(time.monotonic() - start)"
        seconds = min(float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout) for _ in range(3))
        self.assertLess(seconds, 0.3)


if __name__ == "__main__":
    unittest.main()
