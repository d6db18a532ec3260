"""One training run, from its specification to its files, resumable at any step."""

import logging
import math
import signal
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from nfe import data as datasets
from nfe.common.errors import DivergenceError, InputError, Interrupted
from nfe.common.macs import MacCounter
from nfe.common.modes import PRECISIONS
from nfe.common.precision import InPrecision
from nfe.common.seeds import derive, generator, global_stream, set_global_stream
from nfe.data import Data, soundness
from nfe.engine import checkpoint, inference, plugin
from nfe.engine.batches import Normalizer, TrainingBatches, example
from nfe.engine.checkpoint import Progress
from nfe.engine.compiling import compiled
from nfe.engine.environment import device_name
from nfe.engine.progress import epoch_bar
from nfe.engine.recording import Recorder
from nfe.evaluation import metrics
from nfe.method.adamw import AdamW, decayed_apart
from nfe.method.context import Context
from nfe.method.interface import Method
from nfe.method.optimizer import SGD, Optimizer
from nfe.method.optional import DrawsOnCpu, FormsBatches, GroupsParameters, Phases
from nfe.method.recipe import Recipe
from nfe.method.sequential import SequentialMembers
from nfe.method.step import Step
from nfe.suite.run import Run

_log = logging.getLogger(__name__)

# Steps after which losses are read from a GPU.
READ_EVERY = 32


@dataclass(frozen=True)
class Trained:
    """What training leaves: the network, the epochs' rows, what it took, and on what it was."""

    network: nn.Module
    history: list[dict[str, float]]
    seconds: float
    train_macs: int
    devices: list[tuple[str, int]]


def build_network(run: Run, method: Method, data: Data) -> tuple[nn.Module, int]:
    """Return the run's untrained network and the MACs spent on building it.

    The network is made on the CPU, so that it is the same on every device. Building costs
    MACs where a pruning score looks at data.

    Raises:
        InputError: method, architecture and data do not fit, or a layer collapses.
    """
    card = data.card
    cpu = datasets.Split(data.train.images.cpu(), data.train.labels.cpu())

    def examples(per_class: int) -> tuple[Tensor, Tensor]:
        return example(card, cpu, per_class, generator("cpu", run.seed, "example"))

    context = Context(
        architecture=run.backbone,
        channels=card.channels,
        classes=card.classes,
        resolution=card.resolution,
        seed=run.seed,
        example=examples,
    )
    with global_stream(run.seed, "initialization"), MacCounter() as counter:
        network = method.network(context)
    return network.to(memory_format=torch.channels_last), counter.executed  # type: ignore[call-overload]


def make_optimizer(method: Method, network: nn.Module, recipe: Recipe) -> Optimizer:
    """Return the recipe's optimizer over the method's parameter groups."""
    groups = GroupsParameters.of(method).parameter_groups(network, recipe)
    if recipe.optimizer == "adamw":
        return AdamW(decayed_apart(groups), lr=recipe.lr, weight_decay=recipe.weight_decay)
    return SGD(
        groups,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )


class Trainer:
    """Trains one network; its state can be saved and restored between any two steps."""

    def __init__(
        self,
        run: Run,
        data: Data,
        state: Path | None = None,
        checkpoint_seconds: float = math.inf,
        record: bool = True,
    ) -> None:
        """Build the run's network and what trains it.

        Args:
            run: the run.
            data: its data, on the device to train on.
            state: folder of saved states; None to save none.
            checkpoint_seconds: seconds between saved states.
            record: let a GPU replay recorded steps where the method allows it; the numbers are
                the same without.

        Raises:
            InputError: the run cannot be built, or a batch takes more images than there are.
        """
        self.run = run
        self.data = data
        self.method = run.build_method()
        self._phases = Phases.of(self.method)
        self._batches = FormsBatches.of(self.method)
        self._draws = DrawsOnCpu.of(self.method)
        self._state = state
        self._checkpoint_seconds = checkpoint_seconds
        soundness.check(data)
        size = run.recipe.batch_size
        if size > len(data.train):
            raise InputError(
                f"batch_size is {size}: allowed: 1 to {len(data.train)}, the training images of "
                f"{run.dataset}"
            )
        device = data.train.images.device
        network, self._build_macs = build_network(run, self.method, data)
        self.batches = TrainingBatches(data.card, data.train, size, run.seed)
        self.epochs = run.epochs * self.method.trainings()
        self._steps = self.epochs * self.batches.per_epoch
        first = self._step_at(0)
        plugin.check(self.method, network, data.card, data.train, run.recipe, first)
        self.network = network.to(device)
        self.optimizer = make_optimizer(self.method, self.network, run.recipe)
        mode, on_gpu = PRECISIONS[run.precision], device.type == "cuda"
        self._scaler = GradScaler(device.type, enabled=mode.scaled)
        # What the loss calls; it shares its weights with ``network``.
        self._forward = self._in_precision(self.network)
        self._counted = self._forward
        if mode.fast and on_gpu:
            self._forward = self._in_precision(compiled(self.network))
        self._recorder = self._make_recorder() if record and on_gpu else None
        # Reading a loss waits for the GPU: there, several are read at a time.
        self._read_every = READ_EVERY if on_gpu else 1
        self._unread: list[tuple[Tensor, Tensor, int]] = []
        self.progress = Progress()
        self._requests: list[int] = []
        self._saved_at = time.monotonic()

    def _in_precision(self, network: nn.Module) -> nn.Module:
        return InPrecision(network, self.run.precision, lift=not self.method.lifts)

    def _make_recorder(self) -> Recorder | None:
        if not self.method.capturable:
            _log.info("%s: steps are not recorded, each operation is started alone", self.run.name)
            return None
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        return Recorder(parameters)

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Let SIGTERM and SIGUSR1 stop the block between two steps or two evaluated batches.

        Raises:
            Interrupted: one of them came; the state is saved, unless the block was done.
        """

        def note(number: int, _frame: FrameType | None) -> None:
            self._requests.append(number)

        previous = {s: signal.signal(s, note) for s in (signal.SIGTERM, signal.SIGUSR1)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        if self._requests:
            raise Interrupted(f"stopped by signal {self._requests[0]}; the run is complete")

    def train(self) -> Trained:
        """Train to the last epoch, continuing from saved state where there is some.

        Raises:
            DivergenceError: the loss is not finite; no state of that step is saved.
            Interrupted: see ``stoppable``.
        """
        self._resume()
        self._note_device()
        self._saved_at = time.monotonic()
        while self.progress.epoch < self.epochs:
            self._epoch()
        return Trained(
            self.network,
            self.progress.history,
            self.progress.seconds,
            self._build_macs + self._step_macs(),
            self.progress.devices,
        )

    def _step_macs(self) -> int:
        """Return the multiply-adds of all steps, of which one of each kind was counted."""
        counted, phases = self.progress.step_macs, self._phases
        kinds = phases.kinds(self._step_at(0))
        return sum(number * counted[str(phases.kind(first))] for first, number in kinds)

    def _resume(self) -> None:
        if self._state is None:
            return
        restored = checkpoint.restore(self._state, self.run.digest, self.network, self.optimizer)
        if restored is not None:
            self.progress = restored
            self._scaler.load_state_dict(restored.scaler)
            if restored.step:
                self._phases.before_step(self.network, self._step_at(restored.step - 1))
            _log.info("resumed from epoch %d step %d", restored.epoch, restored.step)

    def _note_device(self) -> None:
        progress, name = self.progress, device_name(self.data.train.images.device)
        before = progress.devices[-1][0] if progress.devices else name
        if before != name:
            _log.warning(
                "%s: goes on on %s, until step %d it was on %s: its numbers are no longer those "
                "of a run on one model of device, byte for byte",
                *(self.run.name, name, progress.step, before),
            )
        if not progress.devices or before != name:
            progress.devices.append((name, progress.step))

    def _save(self) -> None:
        if self._state is None:
            return
        self.progress.scaler = self._scaler.state_dict()
        checkpoint.save(self._state, self.run.digest, self.network, self.optimizer, self.progress)
        self._saved_at = time.monotonic()

    def _epoch(self) -> None:
        progress, size = self.progress, self.run.recipe.batch_size
        self.network.train()
        title = f"{self.run.method} s{self.run.seed} epoch {progress.epoch + 1}/{self.epochs}"
        total, done = self.batches.per_epoch * size, progress.batch * size
        with epoch_bar(title, total, done) as bar:
            for number, images, labels in self.batches.epoch(progress.epoch, progress.batch):
                started = time.perf_counter()
                self.step(images, labels)
                progress.batch = number + 1
                progress.seconds += time.perf_counter() - started
                bar.update(size)
                bar.set_postfix(loss=f"{self._mean_loss():.3f}", acc=f"{self._accuracy():.1f}%")
                self._pause()
        self._finish_epoch(self._rate(self._step_at(progress.step - 1)))

    def _step_at(self, step: int) -> Step:
        # Throughput is measured on steps beyond the last one.
        return Step(min(step, self._steps - 1), self._steps, self.batches.per_epoch)

    def _rate(self, step: Step) -> float:
        return self._phases.learning_rate(self.run.recipe, step)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Take one optimizer step on a batch of distinct images.

        The multiply-adds of a run's first step of each kind are counted; others of it take as many.

        Raises:
            DivergenceError: the loss is not finite; no such weights are ever saved.
        """
        kind = str(self._phases.kind(self._step_at(self.progress.step)))
        if kind in self.progress.step_macs:
            self._step(images, labels)
            return
        with MacCounter() as counter:
            self._step(images, labels, counted=True)
        self.progress.step_macs[kind] = counter.executed

    def _step(self, images: Tensor, labels: Tensor, counted: bool = False) -> None:
        progress, run = self.progress, self.run
        step = self._step_at(progress.step)
        self._phases.before_step(self.network, step)
        rate = self._rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = group.get("fixed_lr", rate * group.get("lr_factor", 1.0))
        # Dropout and the like draw from the global stream, which is set anew at every step.
        set_global_stream(images.device, derive(run.seed, "step", progress.step))
        draws = generator(images.device, run.seed, "method", progress.step)
        inputs, targets = self._batches.training_batch(images, labels, draws)
        self._draws.draw(self.network, inputs)
        if self._recorder is None or counted:
            self.optimizer.zero_grad()
            network = self._counted if counted else self._forward
            loss, hits = self._gradients(network, inputs, targets)
        else:
            compute = partial(self._gradients, self._forward)
            loss, hits = self._recorder(compute, self._variant(step), inputs, targets)
        progress.step += 1
        self._unread.append((loss.clone(), hits.sum(), hits.numel()))
        if len(self._unread) >= self._read_every:
            self._read()
        self._scaler.step(self.optimizer)  # type: ignore[arg-type]
        self._scaler.update()
        with torch.no_grad():
            self._phases.after_step(self.network, self.optimizer, step)

    def _variant(self, step: Step) -> Hashable:
        """Return what a step's operations depend on, beside the contents of tensors."""
        active = self.network.active if isinstance(self.network, SequentialMembers) else None
        return active, self._phases.kind(step)

    def _gradients(
        self, network: nn.Module, inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute the gradients; return the loss and which predictions are right."""
        loss, logits = self.method.loss(network, inputs, targets)
        hits = logits.detach().argmax(-1) == (targets if targets.dim() == 2 else targets[:, None])
        self._scaler.scale(loss).backward()
        return loss.detach(), hits

    def _read(self) -> None:
        """Add what the last steps left on the device to the progress.

        Raises:
            DivergenceError: a loss is not finite.
        """
        if not self._unread:
            return
        losses, hits, counts = zip(*self._unread, strict=True)
        self._unread = []
        progress, values = self.progress, torch.stack(losses).tolist()
        for step, value in enumerate(values, start=progress.step - len(values) + 1):
            if not math.isfinite(value):
                raise DivergenceError(
                    f"the loss is {value} in epoch {progress.epoch + 1}, step {step}"
                )
            progress.loss_sum += value
        progress.correct += sum(torch.stack(hits).tolist())
        progress.predictions += sum(counts)

    def _mean_loss(self) -> float:
        return self.progress.loss_sum / max(1, self.progress.batch - len(self._unread))

    def _accuracy(self) -> float:
        return 100 * self.progress.correct / max(1, self.progress.predictions)

    def _pause(self) -> None:
        """Save the state if it is time or if the run is asked to stop; then stop."""
        due = time.monotonic() - self._saved_at >= self._checkpoint_seconds
        if self._requests or due:
            self._read()
            self._save()
        if self._requests:
            raise Interrupted(
                f"stopped by signal {self._requests[0]} after step {self.progress.step}; "
                "state saved"
            )

    def _finish_epoch(self, rate: float) -> None:
        self._read()
        progress = self.progress
        row = {
            "epoch": progress.epoch + 1,
            "lr": rate,
            "train_loss": self._mean_loss(),
            "train_accuracy": self._accuracy(),
        }
        row |= self._curve("heldout", self.data.heldout)
        if self.run.audit:
            row |= self._curve("test", self.data.test)
        _log.info(
            "epoch %d/%d: loss %.4f, training accuracy %.2f %%, held-out accuracy %.2f %%",
            progress.epoch + 1,
            self.epochs,
            row["train_loss"],
            row["train_accuracy"],
            row["heldout_accuracy"],
        )
        progress.history.append(row)
        progress.epoch += 1
        progress.batch = progress.correct = progress.predictions = 0
        progress.loss_sum = 0.0

    def _curve(self, name: str, split: datasets.Split) -> dict[str, float]:
        logits = inference.outputs(self.network, self.data.card, split, between=self._pause)
        labels = split.labels.cpu().numpy()
        accuracy, nll = metrics.curve(logits, labels, self.method.combine)
        return {f"{name}_accuracy": accuracy, f"{name}_nll": nll}

    def predict(self, split: datasets.Split) -> metrics.Array:
        """Return the current network's logits of a split, to be stored.

        Raises:
            DivergenceError: see ``evaluation.predict``; the message names the epoch.
        """
        try:
            return inference.predict(self.network, self.data.card, split, between=self._pause)
        except DivergenceError as error:
            epoch = min(self.progress.epoch + 1, self.epochs)
            raise DivergenceError(
                f"{error} in epoch {epoch}, after step {self.progress.step}"
            ) from None

    def example_image(self) -> Tensor:
        """Return one normalized test image, (1, channels, height, width)."""
        return Normalizer(self.data.card, self.data.test.images.device)(self.data.test.images[:1])
