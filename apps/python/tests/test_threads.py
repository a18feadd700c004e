"""Threads, callbacks and Ctrl-C."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import unittest

import numpy as np
from common import Test, lenet, mlp, trainer_of

import norma


class Threads(Test):
    def test_of_python_run_while_norma_trains(self):
        trainer = trainer_of(lenet(), input=(1, 28, 28), batch_size=64, threads=1)
        counted = 0
        done = threading.Event()

        def count():
            nonlocal counted
            while not done.is_set():
                counted += 1
                time.sleep(0.001)

        counter = threading.Thread(target=count)
        counter.start()
        start = time.monotonic()
        trainer.fit(self.digits.train, epochs=5)
        took = time.monotonic() - start
        done.set()
        counter.join()
        self.assertGreater(counted, 0.1 * took / 0.001 * 0.2)

    def test_ask_one_predictor_at_once(self):
        trainer = trainer_of(lenet(), input=(1, 28, 28))
        trainer.save(self.folder / "model.safetensors")
        predictor = norma.Predictor.load(self.folder / "model.safetensors")
        x = self.digits.test.x
        expected = predictor.predict(x)
        wrong = []

        def ask(number):
            for i in range(20):
                first = (7 * number + i) % 150
                if not np.array_equal(predictor.predict(x[first : first + 1 + i % 20]), expected[first : first + 1 + i % 20]):
                    wrong.append((number, i))

        clients = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
        for t in clients:
            t.start()
        for t in clients:
            t.join()
        self.assertEqual(wrong, [])

    def test_a_trainer_serves_one_at_a_time(self):
        trainer = trainer_of(mlp(), input=2, batch_size=32)
        raised = []

        def intrude():
            try:
                trainer.predict(self.circles.test.x)
            except norma.UsageError as e:
                raised.append(str(e))

        def on_step(progress):
            other = threading.Thread(target=intrude)
            other.start()
            other.join()
            return False

        self.assertFalse(trainer.fit(self.circles.train, epochs=1, on_step=on_step))
        self.assertEqual(len(raised), 1)
        self.assertIn("in use by another thread", raised[0])
        self.assertEqual(trainer.predict(self.circles.test.x).shape, (80, 2))

    def test_a_trainer_each(self):
        hashes = {}

        def train(seed):
            trainer = trainer_of(mlp(), input=2, seed=seed, threads=1, batch_size=32)
            trainer.fit(self.circles.train, epochs=3)
            hashes.setdefault(seed % 2, set()).add(trainer.parameters_hash)

        threads = [threading.Thread(target=train, args=(n % 2,)) for n in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual([len(h) for h in hashes.values()], [1, 1])


class Callbacks(Test):
    def trainer(self):
        return trainer_of(mlp(), input=2, batch_size=32, seed=4)

    def test_what_they_raise_arrives_as_itself(self):
        class Mine(Exception):
            pass

        whole = self.trainer()
        whole.fit(self.circles.train, epochs=3)
        for where in ("on_step", "on_epoch"):
            trainer, error, calls = self.trainer(), Mine(where), []

            def fail(_):
                calls.append(1)
                if len(calls) == 2:
                    raise error

            with self.assertRaises(Mine) as raised:
                trainer.fit(self.circles.train, epochs=3, test=self.circles.test, **{where: fail})
            self.assertIs(raised.exception, error)
            self.assertEqual(len(calls), 2)
            # The state is sound: going on gives the bits of a run that was never disturbed.
            self.assertTrue(trainer.fit(self.circles.train, epochs=3))
            self.assertEqual(trainer.parameters_hash, whole.parameters_hash)

    def test_at_the_last_step_of_an_epoch(self):
        whole, trainer = self.trainer(), self.trainer()
        whole.fit(self.circles.train, epochs=2)

        def fail(progress):
            if progress.batch == progress.batches:
                raise KeyError("end")

        with self.assertRaises(KeyError):
            trainer.fit(self.circles.train, epochs=2, on_step=fail)
        trainer.fit(self.circles.train, epochs=2)
        self.assertEqual(trainer.parameters_hash, whole.parameters_hash)

    def test_may_call_their_trainer(self):
        trainer = self.trainer()
        seen = []

        def on_step(progress):
            seen.append(trainer.evaluate(self.circles.test).accuracy)
            trainer.set_rate(0.01 / progress.batch)
            with self.assertRaises(norma.UsageError):
                trainer.fit(self.circles.train, epochs=1)

        trainer.fit(self.circles.train, epochs=1, on_step=on_step)
        self.assertEqual(len(seen), 10)

    def test_that_cannot_be_called(self):
        with self.assertRaises(TypeError):
            self.trainer().fit(self.circles.train, epochs=1, on_step=3)


class CtrlC(Test):
    # A process whose main thread trains for minutes; %s: what else it gives to fit.
    PROGRAM = """
        import sys, time
        import norma
        from norma import nn
        data = norma.datasets.circles(samples=4000)
        def trainer():
            return norma.Trainer(nn.Sequential(nn.Linear(32), nn.BatchNorm(), nn.ReLU(), nn.Linear(2)), input=2, batch_size=16, threads=1)
        first = trainer()
        def tell(_):
            print("trains", flush=True)
        try:
            first.fit(data.train, epochs=100000, on_epoch=tell%s)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            assert first.steps_done > 0
            epochs = first.epochs_done + 1
            first.fit(data.train, epochs=epochs)
            whole = trainer()
            whole.fit(data.train, epochs=epochs)
            print(first.parameters_hash == whole.parameters_hash, flush=True)
    """

    def test_ends_a_fit(self):
        for extra in ("", ", on_step=lambda p: None", ", test=data.train"):
            with self.subTest(extra=extra):
                child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(self.PROGRAM % extra)], stdout=subprocess.PIPE, text=True)
                self.addCleanup(child.kill)
                self.assertEqual(child.stdout.readline(), "trains\n")
                sent = time.monotonic()
                os.kill(child.pid, signal.SIGINT)
                lines = iter(child.stdout.readline, "")
                while (line := next(lines)) == "trains\n":
                    pass
                self.assertEqual(line, "interrupted\n")
                self.assertLess(time.monotonic() - sent, 1)
                while (line := next(lines)) == "trains\n":
                    pass
                self.assertEqual(line, "True\n")
                self.assertEqual(child.wait(), 0)
                child.stdout.close()


if __name__ == "__main__":
    unittest.main()
