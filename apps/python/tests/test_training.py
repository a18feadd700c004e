"""Training: the bits of the program and of the library's other ways, resuming, steps of one's own."""

import json
import unittest

import numpy as np
from common import PROGRAM, Test, lenet, mlp, program, trainer_of

import norma
from norma import nn

RECIPE = """
[data]
name = "digits"
train_samples = 512
test_samples = 200
seed = 3
mean = 0.5
std = 0.5
[model]
layers = [
  { type = "conv2d", out = 6, kernel = 5 }, { type = "norm" }, { type = "activation" }, { type = "max_pool2d", kernel = 2 },
  { type = "conv2d", out = 16, kernel = 5 }, { type = "norm" }, { type = "activation" }, { type = "max_pool2d", kernel = 2 },
  { type = "flatten" },
  { type = "linear", out = 120 }, { type = "norm" }, { type = "activation" },
  { type = "linear", out = 84 }, { type = "norm" }, { type = "activation" },
  { type = "linear", out = 10 },
]
[optimizer]
kind = "sgd"
lr = 0.02
momentum = 0.9
[schedule]
kind = "cosine"
[train]
epochs = 2
batch_size = 100
seed = 7
"""


class Bits(Test):
    def trainer(self, **options):
        return trainer_of(lenet(), **{
            "input": (1, 28, 28), "batch_size": 100, "optimizer": norma.SGD(lr=0.02, momentum=0.9), "seed": 7,
            "schedule": norma.Schedule("cosine"), "transform": norma.Transform(mean=0.5, std=0.5), **options})

    @unittest.skipUnless(PROGRAM, "NORMA_PROGRAM is not set")
    def test_are_those_of_the_program(self):
        (self.folder / "lenet.toml").write_text(RECIPE)
        lines = program("train", str(self.folder / "lenet.toml"), "--quiet", "--json", "--threads", "1", "--out", str(self.folder / "run")).splitlines()
        expected = json.loads(lines[-1])["parameters_hash"]
        trainer = self.trainer()
        self.assertTrue(trainer.fit(self.digits.train, epochs=2, test=self.digits.test))
        self.assertEqual(trainer.parameters_hash, expected)
        of_recipe = norma.recipe(self.folder / "lenet.toml", {"device.threads": 1}).train()
        self.assertEqual(of_recipe.parameters_hash, expected)
        other = norma.recipe(self.folder / "lenet.toml", {"train.seed": 8, "train.epochs": 1, "device.threads": 1}).train()
        self.assertNotEqual(other.parameters_hash, expected)
        predictor = norma.Predictor.load(self.folder / "run")
        self.assertEqual(predictor.classes, [str(i) for i in range(10)])

    def test_do_not_depend_on_threads(self):
        hashes = set()
        for threads in (1, 2, 3):
            trainer = self.trainer(threads=threads)
            trainer.fit(self.digits.train, epochs=2)
            hashes.add(trainer.parameters_hash)
        self.assertEqual(len(hashes), 1)

    def test_of_arrays_are_those_of_a_dataset(self):
        trainer, other = self.trainer(), self.trainer()
        trainer.fit(self.digits.train, epochs=2)
        other.fit(np.array(self.digits.train.x), self.digits.train.y.astype(np.int64), epochs=2)
        self.assertEqual(trainer.parameters_hash, other.parameters_hash)

    def test_of_steps_are_those_of_fit(self):
        trainer, other = self.trainer(shuffle=False, schedule=None), self.trainer(shuffle=False, schedule=None)
        trainer.fit(self.digits.train, epochs=1)
        x, y = self.digits.train.x, self.digits.train.y
        for first in range(0, 512, 100):
            result = other.step(x[first : first + 100], y[first : first + 100])
        self.assertEqual((result.samples, result.counted, result.rate), (12, 12, 0.02))
        self.assertEqual(trainer.state_dict().keys(), other.state_dict().keys())
        self.assertEqual(trainer.parameters_hash, other.parameters_hash)

    def test_survive_a_stop_and_a_new_process_of_training(self):
        whole = self.trainer()
        whole.fit(self.digits.train, epochs=3)
        begun = self.trainer()
        begun.fit(self.digits.train, epochs=3, on_step=lambda p: p.epoch < 2 or p.batch < 2)
        self.assertEqual(begun.epochs_done, 1)
        begun.save(self.folder / "model.safetensors")
        begun.save_training(self.folder / "training.safetensors")
        resumed = self.trainer()
        self.assertEqual(resumed.load(self.folder / "model.safetensors"), [])
        resumed.load_training(self.folder / "training.safetensors")
        self.assertTrue(resumed.fit(self.digits.train, epochs=3))
        self.assertEqual(resumed.parameters_hash, whole.parameters_hash)


class Learning(Test):
    def test_a_false_of_numpy_ends_a_fit(self):
        trainer = trainer_of(mlp(), input=2, batch_size=32)
        self.assertFalse(trainer.fit(self.circles.train, epochs=1, on_step=lambda p: np.float64(p.batch) < 2))
        self.assertLess(trainer.steps_done, 4)

    def test_history_evaluation_and_prediction_agree(self):
        seen = []
        trainer = trainer_of(lenet(), input=(1, 28, 28), batch_size=64, optimizer=norma.Adam(lr=3e-3))
        trainer.fit(self.digits.train, epochs=7, test=self.digits.test, on_epoch=seen.append)
        self.assertEqual([m.epoch for m in seen], list(range(1, 8)))
        self.assertEqual(seen[-1].parameters_hash, trainer.parameters_hash)
        self.assertEqual([m.test_loss for m in trainer.history], [m.test_loss for m in seen])
        self.assertGreater(seen[-1].test_accuracy, 0.8)
        evaluation = trainer.evaluate(self.digits.test)
        self.assertEqual(evaluation.loss, seen[-1].test_loss)
        outputs = trainer.predict(self.digits.test.x)
        self.assertEqual(outputs.shape, (200, 10))
        self.assertEqual(np.mean(outputs.argmax(1) == self.digits.test.y), evaluation.accuracy)

    def test_a_loss_outside_of_the_net(self):
        x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
        wanted = np.array([[0], [1], [1], [0]], np.float32)
        net = nn.Sequential(nn.Linear(8), nn.Tanh(), nn.Linear(1))
        trainer = trainer_of(net, input=2, optimizer=norma.Adam(lr=0.05))
        for _ in range(300):
            error = trainer.forward(x) - wanted
            trainer.backward(2 * error)
            self.assertEqual(trainer.update(), 0.05)
        self.assertLess(np.abs(trainer.predict(x) - wanted).max(), 0.1)
        self.assertEqual(trainer.steps_done, 300)
        # In one call, as a regression: the same net from the same seed learns the same function.
        other = trainer_of(net, input=2, batch_size=4, optimizer=norma.Adam(lr=0.05), loss=norma.MSELoss("sum"), shuffle=False)
        other.fit(x, wanted, epochs=300)
        self.assertLess(np.abs(other.predict(x) - trainer.predict(x)).max(), 1e-2)

    def test_a_loss_of_ones_own(self):
        def cross_entropy(outputs, labels):
            shares = np.exp(outputs - outputs.max(1, keepdims=True))
            shares /= shares.sum(1, keepdims=True)
            wanted = np.eye(outputs.shape[1], dtype=np.float32)[labels]
            return -np.log((shares * wanted).sum(1)).mean(), (shares - wanted) / len(outputs)

        own = trainer_of(mlp(), input=2, batch_size=32, loss=norma.CustomLoss(cross_entropy, against="labels"))
        built_in = trainer_of(mlp(), input=2, batch_size=32)
        for trainer in (own, built_in):
            trainer.fit(self.circles.train, epochs=3, test=self.circles.test)
        self.assertAlmostEqual(own.history[-1].train_loss, built_in.history[-1].train_loss, places=4)
        self.assertAlmostEqual(own.history[-1].test_loss, built_in.history[-1].test_loss, places=4)
        self.assertEqual(own.history[-1].test_accuracy, built_in.history[-1].test_accuracy)

        net = nn.Sequential(nn.Linear(2))
        x = self.circles.train.x

        def squares(outputs, targets):
            return float(((outputs - targets) ** 2).sum()), 2 * (outputs - targets)

        own = trainer_of(net, input=2, batch_size=40, loss=norma.CustomLoss(squares))
        built_in = trainer_of(net, input=2, batch_size=40, loss=norma.MSELoss("sum"))
        for trainer in (own, built_in):
            trainer.fit(x, x, epochs=2)
        np.testing.assert_allclose(own.read("fc1.weight"), built_in.read("fc1.weight"), rtol=1e-5)
        for function, error, text in ((lambda o, t: 1.0, TypeError, "must return"), (lambda o, t: (1.0, o[:3]), norma.UsageError, "gradient"),
                                      (lambda o, t: ("a", o), TypeError, "real number"), (lambda o, t: 1 / 0, ZeroDivisionError, "")):
            trainer = trainer_of(net, input=2, loss=norma.CustomLoss(function))
            before = trainer.parameters_hash
            with self.assertRaisesRegex(error, text):
                trainer.fit(x, x, epochs=1)
            self.assertEqual((trainer.parameters_hash, trainer.steps_done), (before, 0))
        with self.assertRaises(TypeError):
            norma.CustomLoss("mse")

    def test_gradients_of_several_batches_add_up(self):
        x, y = self.circles.train.x, self.circles.train.y
        net = nn.Sequential(nn.Linear(8), nn.Tanh(), nn.Linear(2))
        trainer = trainer_of(net, input=2)
        ones = np.ones((100, 2), np.float32)
        trainer.forward(x[:100])
        trainer.backward(ones)
        first = trainer.read("fc1.weight.grad")
        trainer.forward(x[100:200])
        trainer.backward(ones, accumulate=True)
        both = trainer.read("fc1.weight.grad")
        trainer.forward(x[100:200])
        trainer.backward(ones)
        np.testing.assert_allclose(first + trainer.read("fc1.weight.grad"), both, rtol=1e-5)
        before = trainer.read("fc1.weight")
        trainer.set_gradient("fc1.weight", np.zeros_like(before))
        trainer.update(rate=0.5)
        np.testing.assert_array_equal(trainer.read("fc1.weight"), before)
        self.assertEqual(y.dtype, np.int32)

    def test_state_dicts_travel(self):
        trainer = trainer_of(mlp(), input=2, seed=1)
        trainer.fit(self.circles.train, epochs=2)
        state = trainer.state_dict()
        self.assertEqual(state["fc1.weight"].shape, (16, 2))
        self.assertEqual(state["bn1.num_batches_tracked"].dtype, np.int64)
        self.assertEqual(state["bn1.num_batches_tracked"].shape, ())
        np.testing.assert_array_equal(state["fc1.weight"], trainer.read("fc1.weight"))
        other = trainer_of(mlp(), input=2, seed=2)
        self.assertEqual(other.load_state_dict(state), [])
        self.assertEqual(other.parameters_hash, trainer.parameters_hash)
        wrapped = {"module." + k: v for k, v in state.items()}
        self.assertEqual(len(trainer_of(mlp(), input=2).load_state_dict(wrapped)), 1)
        predictor = norma.Predictor(mlp(), state, input=2, fold=False)
        np.testing.assert_array_equal(predictor.predict(self.circles.test.x), trainer.predict(self.circles.test.x))

    def test_observing_and_recalibrating(self):
        trainer = trainer_of(mlp(), input=2)
        trainer.fit(self.circles.train, epochs=2)
        x, y = self.circles.train.x[:32], self.circles.train.y[:32]
        seen = trainer.observe(["fc1", "fc1.weight.grad", "bn1.mean"], x, y)
        np.testing.assert_allclose(seen["fc1"].mean(0), seen["bn1.mean"], atol=1e-6)
        self.assertEqual(seen["fc1.weight.grad"].shape, (16, 2))
        ((layer, _, _),) = trainer.recalibrate(self.circles.train)
        self.assertEqual(layer, "bn1")
        inputs = trainer.observe(["fc1"], self.circles.train.x, self.circles.train.y, mode="eval")["fc1"]
        np.testing.assert_allclose(trainer.read("bn1.running_mean"), inputs.mean(0), atol=1e-5)

    def test_frozen_layers_stay(self):
        trainer = trainer_of(mlp(), input=2, groups=[norma.ParameterGroup("fc1.*", rate=0)], clip_norm=1.0)
        before, last = trainer.read("fc1.weight"), trainer.read("fc2.weight")
        trainer.fit(self.circles.train, epochs=1)
        np.testing.assert_array_equal(trainer.read("fc1.weight"), before)
        self.assertGreater(np.abs(trainer.read("fc2.weight") - last).max(), 0)


if __name__ == "__main__":
    unittest.main()
