"""Arrays in and out: no copies, and errors that say what to call."""

import array
import gc
import json
import os
import resource
import subprocess
import sys
import textwrap
import unittest

import numpy as np
from common import Test, lenet, mlp, trainer_of

import norma


def peak_megabytes(body: str) -> float:
    """How much the largest memory of a process of its own grows over `work()`."""
    code = "import resource\nimport numpy as np\nimport norma\nfrom norma import nn\n" + textwrap.dedent(body) + textwrap.dedent("""
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        before = peak()
        work()
        print(peak() - before)
    """)
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


class NoCopies(Test):
    SET = """
        x = np.zeros((200_000, 1, 28, 28), np.uint8)  # 157 MB
        x[:, 0, ::3] = 200
        y = np.arange(200_000, dtype=np.int32) % 10
        net = nn.Sequential(nn.MaxPool2d(14), nn.Flatten(), nn.Linear(10))
        trainer = norma.Trainer(net, input=(1, 28, 28), batch_size=512, threads=1, optimizer=norma.SGD(lr=1e-3))
        trainer.fit(x[:2048], y[:2048], epochs=1, test=(x[:512], y[:512]))
    """

    def test_of_a_large_set_in_fit_and_evaluation(self):
        grown = peak_megabytes(self.SET + """
        def work():
            trainer.fit(x, y, epochs=2, test=(x, y))
            trainer.evaluate(x, y)
        """)
        self.assertLess(grown, 30)

    def test_of_a_large_set_in_a_predictor(self):
        grown = peak_megabytes(self.SET + """
        predictor = norma.Predictor(net, trainer.state_dict(), input=(1, 28, 28))
        predictor.predict(x[:2048])
        def work():
            predictor.predict(x)  # 8 MB of outputs
        """)
        self.assertLess(grown, 30)

    def test_a_second_copy_would_be_seen(self):
        self.assertGreater(peak_megabytes(self.SET + """
        def work():
            trainer.fit(x.copy(), y, epochs=1)
        """), 120)

    def test_outputs_are_the_librarys_memory(self):
        trainer = trainer_of(mlp(), input=2)
        out = trainer.predict(self.circles.test.x)
        self.assertFalse(out.flags.owndata)
        self.assertTrue(out.flags.writeable)
        kept = out.copy()
        view = np.from_dlpack(out)
        self.assertEqual(view.ctypes.data, out.ctypes.data)
        del out, trainer
        gc.collect()
        np.testing.assert_array_equal(view, kept)

    def test_outputs_go_where_they_are_asked_to(self):
        trainer = trainer_of(mlp(), input=2)
        predictor = norma.Predictor(mlp(), trainer.state_dict(), input=2)
        x = self.circles.test.x
        out = np.full((len(x) + 2, 2), 7, np.float32)
        self.assertIs(predictor.predict(x, out=out[1:-1]).base, out)
        np.testing.assert_array_equal(out[1:-1], predictor.predict(x))
        np.testing.assert_array_equal(out[[0, -1]], 7)

    def test_whatever_has_a_buffer_is_an_array(self):
        trainer = trainer_of(mlp(), input=2)
        x = self.circles.test.x
        expected = trainer.predict(x)
        np.testing.assert_array_equal(trainer.predict(memoryview(x)), expected)
        flat = array.array("f", x.ravel())
        np.testing.assert_array_equal(trainer.predict(memoryview(flat).cast("B").cast("f", x.shape)), expected)
        read_only = x.copy()
        read_only.flags.writeable = False
        np.testing.assert_array_equal(trainer.predict(read_only), expected)
        images = trainer_of(lenet(), input=(1, 28, 28))
        raw = memoryview(self.digits.test.x.tobytes()).cast("B", self.digits.test.x.shape)
        np.testing.assert_array_equal(images.predict(raw), images.predict(self.digits.test.x))

    def test_parts_of_an_array_stay_where_they_are(self):
        trainer = trainer_of(mlp(), input=2)
        x = self.circles.test.x
        np.testing.assert_array_equal(trainer.predict(x[10:20]), trainer.predict(x)[10:20])

    def test_images_of_floats(self):
        x = self.digits.train.x.astype(np.float32) / 255
        trainer = trainer_of(lenet(), input=(1, 28, 28), dtype="float32", batch_size=64)
        trainer.fit(x, self.digits.train.y, epochs=1)
        bytes_ = trainer_of(lenet(), input=(1, 28, 28), batch_size=64)
        bytes_.fit(self.digits.train, epochs=1)
        self.assertAlmostEqual(trainer.history[0].train_loss, bytes_.history[0].train_loss, places=4)


class Misuse(Test):
    def setUp(self):
        super().setUp()
        self.points = trainer_of(mlp(), input=2)
        self.images = trainer_of(lenet(), input=(1, 28, 28))
        self.x, self.y = self.circles.train.x, self.circles.train.y

    def refused(self, error, text, call, *arguments, **options):
        with self.assertRaises(error) as raised:
            call(*arguments, **options)
        self.assertIn(text, str(raised.exception))

    def test_arrays_that_are_none(self):
        for x in ([[1.0, 2.0]], 3, None, "text", object()):
            self.refused(TypeError, "x must be an array", self.points.predict, x)
        self.refused(TypeError, "got list: call numpy.asarray(x, dtype='float32')", self.points.predict, [[1.0, 2.0]])
        self.refused(TypeError, "y must be an array", self.points.fit, self.x, [0, 1])
        self.refused(TypeError, "gradient must be an array", self.points.backward, 1.0)

    def test_other_types(self):
        self.refused(TypeError, "x is float64, and the net takes float32: call x.astype('float32')", self.points.predict,
                     self.x.astype(np.float64))
        self.refused(TypeError, "x is uint8", self.points.predict, np.zeros((4, 2), np.uint8))
        self.refused(TypeError, "make it with dtype='float32', or give bytes", self.images.predict, np.zeros((4, 1, 28, 28), np.float32))
        self.refused(TypeError, "y is float64: labels are int32, int64 or uint8", self.points.fit, self.x, self.y.astype(float))
        self.refused(TypeError, "x is bool", self.points.predict, np.zeros((4, 2), bool))
        self.refused(TypeError, "x is complex64", self.points.predict, np.zeros((4, 2), np.complex64))
        self.refused(TypeError, "x must be an array", self.points.predict, self.x.astype(">f4"))
        self.refused(norma.DataError, "the label 4294967296, which is no int32", self.points.evaluate, self.x[:1], np.array([2**32]))
        self.refused(norma.UsageError, "dtype: must be 'uint8' or 'float32', got 'float64'", norma.Trainer, mlp(), input=2, dtype="float64")

    def test_other_layouts(self):
        self.refused(TypeError, "x is not contiguous: call numpy.ascontiguousarray(x)", self.points.predict, self.x[::2])
        self.refused(TypeError, "x is not contiguous", self.points.predict, np.asfortranarray(self.x))
        self.refused(TypeError, "y is not contiguous", self.points.fit, self.x[:100], self.y[:200:2])
        out = np.zeros((len(self.x), 4), np.float32)[:, ::2]
        predictor = norma.Predictor(mlp(), self.points.state_dict(), input=2)
        self.refused(TypeError, "out must be a writable, contiguous array", predictor.predict, self.x, out)
        out = np.zeros((len(self.x), 2), np.float32)
        out.flags.writeable = False
        self.refused(TypeError, "out must be", predictor.predict, self.x, out)
        self.refused(norma.UsageError, "out has another shape", predictor.predict, self.x, np.zeros((1, 2), np.float32))

    def test_other_shapes(self):
        self.refused(norma.UsageError, "x has shape (200, 28, 28), and samples are (1, 28, 28): call x.reshape(-1, 1, 28, 28)",
                     self.images.predict, self.digits.test.x[:, 0])
        self.refused(norma.UsageError, "x has shape (2,)", self.points.predict, self.x[0])
        self.refused(norma.UsageError, "y has shape (3,), 320 samples need a label each: (320,)", self.points.fit, self.x, self.y[:3])
        self.refused(norma.UsageError, "y has shape (320, 1)", self.points.fit, self.x, self.y[:, None])
        self.refused(ValueError, "targets hold", trainer_of(mlp(), input=2, loss=norma.MSELoss()).fit, self.x,
                     np.zeros((320, 3), np.float32))
        self.refused(norma.UsageError, "input: must be a sample's shape", norma.Trainer, mlp(), input=(2, 3))
        self.refused(norma.UsageError, "input: must be whole numbers", norma.Trainer, mlp(), input=(2.0,))
        trainer = trainer_of(mlp(), input=2)
        y = trainer.forward(self.x[:8])
        self.refused(norma.UsageError, "gradient has shape (2, 8), it must have (8, 2)", trainer.backward, np.zeros((2, 8), np.float32))
        trainer.backward(np.zeros_like(y))
        weight = trainer.read("fc1.weight")
        self.refused(norma.UsageError, "values has shape", trainer.set_gradient, "fc1.weight", np.zeros(weight.T.shape, np.float32))
        transposed = norma.CustomLoss(lambda outputs, targets: (1.0, np.zeros(outputs.T.shape, np.float32)))
        self.refused(norma.UsageError, "gradient", trainer_of(mlp(), input=2, loss=transposed).fit, self.x, np.zeros((320, 2), np.float32))

    def test_no_samples(self):
        predictor = norma.Predictor(mlp(), self.points.state_dict(), input=2)
        self.assertEqual(predictor.predict(np.zeros((0, 2), np.float32)).shape, (0, 2))
        images = norma.Predictor(lenet(), self.images.state_dict(), input=(1, 28, 28))
        self.assertEqual(images.predict(np.zeros((0, 1, 28, 28), np.uint8)).shape, (0, 10))

    def test_outputs_lie_apart(self):
        predictor = norma.Predictor(mlp(), self.points.state_dict(), input=2)
        both = np.zeros((9, 2), np.float32)
        self.refused(norma.UsageError, "out shares memory with x", predictor.predict, both[:-1], both[1:])

    def test_other_values(self):
        self.refused(norma.DataError, "of sample 0 is outside 0..1", self.points.fit, self.x, self.y + 2)
        bad = self.x.copy()
        bad[7, 1] = np.nan
        self.refused(norma.DataError, "sample 7", self.points.fit, bad, self.y)
        self.refused(norma.DataError, "no labels", self.points.fit, self.x)
        state = self.points.state_dict()
        self.refused(norma.DataError, "fc1.weight", self.points.load_state_dict, {k: v for k, v in state.items() if k != "fc1.weight"})
        self.refused(norma.DataError, "fc1.weight", self.points.load_state_dict, {**state, "fc1.weight": state["fc1.weight"].T.copy()})
        self.refused(TypeError, "fc1.weight is float64", self.points.load_state_dict, 
                     {**state, "fc1.weight": state["fc1.weight"].astype(float)})
        self.refused(norma.UsageError, "nothing", self.points.read, "nothing")
        self.refused(TypeError, "names must be strings", self.points.observe, [1], self.x, self.y)

    def test_options(self):
        self.refused(norma.UsageError, "batch_size: must be an integer from 1", norma.Trainer, mlp(), input=2, batch_size=0)
        self.refused(norma.UsageError, "SGD: lr: must be a number of at least 0, got -1", norma.SGD, lr=-1)
        self.refused(norma.UsageError, "nesterov", norma.SGD, nesterov=True)
        self.refused(norma.UsageError, "beta1", norma.Adam, betas=(1.0, 0.9))
        self.refused(norma.UsageError, "gamma", norma.Schedule, "cosine", gamma=0.1)
        self.refused(norma.UsageError, "label_smoothing", norma.CrossEntropyLoss, label_smoothing=2)
        self.refused(TypeError, "optimizer must be an object of norma", norma.Trainer, mlp(), input=2, optimizer="adam")
        self.refused(norma.UsageError, "cuda", norma.Trainer, mlp(), input=2, device="tpu")
        self.refused(norma.UsageError, "mean", norma.Transform, mean="a")
        self.refused(norma.UsageError, "unknown recipe \"mnist-lenet\"", norma.recipe, "mnist-lenet")
        self.refused(norma.UsageError, "overrides: optimizer.lr: must be a number of at least 0, got -1", norma.recipe, "circles",
                     {"optimizer.lr": -1})

    def test_numbers_of_numpy_are_options(self):
        self.assertEqual(norma.SGD(lr=np.float32(0.5), momentum=np.int64(1)), norma.SGD(lr=0.5, momentum=1))
        self.refused(norma.UsageError, "SGD: lr: must be a number", norma.SGD, lr=np.array([1.0, 2.0]))
        norma.Transform(mean=np.array([0.5]), std=(0.5,))
        self.refused(TypeError, "the keys of a state_dict are names", self.points.load_state_dict, {3: self.x})

    def test_calls_in_another_order(self):
        self.refused(norma.UsageError, "backward comes after forward", self.points.backward, np.zeros((4, 2), np.float32))
        self.refused(norma.UsageError, "update comes after backward", self.points.update)
        self.points.forward(self.x[:4])
        self.refused(norma.UsageError, "", self.points.backward, np.zeros((3, 2), np.float32))

    def test_files(self):
        self.refused(norma.DataError, "missing.safetensors", self.points.load, self.folder / "missing.safetensors")
        (self.folder / "text").write_text("no tensors")
        self.refused(norma.DataError, "text", norma.Predictor.load, self.folder / "text")
        self.refused(norma.Error, "nowhere", self.points.save, self.folder / "nowhere" / "model.safetensors")

    def test_divergence(self):
        trainer = trainer_of(mlp(), input=2, batch_size=32, optimizer=norma.SGD(lr=1e30))
        self.refused(ArithmeticError, "diverged", trainer.fit, self.x, self.y, epochs=20)
        for value in trainer.state_dict().values():
            self.assertTrue(np.isfinite(value).all())

    def test_errors_have_their_kind(self):
        with self.assertRaises(norma.Error) as raised:
            norma.SGD(lr=-1)
        self.assertEqual((raised.exception.kind, raised.exception.exit_code), ("usage", 2))
        self.assertIsInstance(raised.exception, ValueError)


class Memory(Test):
    def test_calls_leave_nothing_behind(self):
        trainer = trainer_of(mlp(), input=2)
        x, y = self.circles.train.x, self.circles.train.y
        predictor = norma.Predictor(mlp(), trainer.state_dict(), input=2)

        def calls(count):
            for _ in range(count):
                trainer.step(x, y)
                trainer.predict(x), predictor.predict(x), trainer.state_dict(), trainer.read("fc1.weight")
                trainer.fit(x, y, epochs=trainer.epochs_done + 1, on_step=lambda p: True, on_epoch=lambda m: None)

        calls(50)
        references = sys.getrefcount(x)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        calls(500)
        self.assertLess(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, 4096)  # KB
        self.assertEqual(sys.getrefcount(x), references)


@unittest.skipUnless(os.environ.get("NORMA_PYTHON"), "NORMA_PYTHON names no interpreter with torch")
class Torch(unittest.TestCase):
    def test_tensors(self):
        """tensors.py, by an interpreter with torch."""
        done = subprocess.run([os.environ["NORMA_PYTHON"], os.path.join(os.path.dirname(__file__), "tensors.py")], capture_output=True,
                              text=True, env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(norma.__file__))})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout.splitlines()[-1]), "all is well")


if __name__ == "__main__":
    unittest.main()
