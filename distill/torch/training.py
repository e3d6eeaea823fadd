"""The training loop of finetune.py and distill.py, as distill/train.h: phases of epochs of steps, the best model kept.

Nothing in a step waits for the GPU: the data lie there, and losses are fetched every --log-steps. A small model's step is
hundreds of short kernels, whose launches take longer than they do: on one GPU a step is recorded once for each shape of batch
and then replayed as a whole (--eager for none of that).
"""

import contextlib
import math
import os
import random
import shutil
import time
from dataclasses import dataclass

import torch
from torch.nn import functional

import encoder
import tasks

MEANS = ("loss", "embedding", "hidden", "score", "spread", "norm")
HEADING = "phase epoch step tokens loss embedding hidden score spread rate norm dev tokens_per_second seconds".split()


@dataclass
class Phase:
    name: str  # "task", "layers" or "logits": what is learnt, the labels or the teacher's inside or answers
    epochs: float
    rate: float
    dropout: float
    attention_dropout: float
    data: tasks.Data
    score: float = 0.0
    spread: float = 0.0
    limit: float = 8.0
    gold: float = 0.0


def add_arguments(parser):
    parser.add_argument("--task", required=True, choices=tasks.TASKS)
    parser.add_argument("--train", required=True, help="labelled examples to train on")
    parser.add_argument("--dev", required=True, help="labelled examples to choose the best model by")
    parser.add_argument("--out", required=True, help="folder for the model and log.tsv")
    parser.add_argument("--length", type=int, default=128, help="cut longer texts (128)")
    parser.add_argument("--save", choices=["f32", "f16"], default="f32")
    parser.add_argument("--batch", type=int, default=32, help="texts in a step of each process (32)")
    parser.add_argument("--warmup", type=float, default=0.1, help="share of the steps in which the rate rises (0.1)")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--clip", type=float, default=1.0, help="largest norm of a gradient, 0 for any (1)")
    parser.add_argument("--evaluations", type=int, default=1, help="looks at the development file in an epoch (1)")
    parser.add_argument("--log-steps", type=int, default=20, help="a row of log.tsv every N steps (20)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--eager", action="store_true", help="launch kernels one by one instead of replaying recorded steps")


def start(options):
    from accelerate import Accelerator

    torch.manual_seed(options.seed)
    if os.path.exists(os.path.join(options.out, "config.json")):
        raise SystemExit(f"{options.out} holds a model already: name another folder")
    return Accelerator()


UNLABELLED = -100


def unlabelled(option, task):
    """-> the examples of "[TASK:]FILE" without their labels"""
    name, colon, path = option.partition(":")
    if not colon or name not in tasks.TASKS:
        name, path = task, option
    return [(text, pair, math.nan) for text, pair in tasks.read_texts(path, name)]


def read_data(options, folder, config, device, more=()):
    """-> the task, the two sets, and the first with the texts of the files of `more` added to it; a config without labels yet
    gets the task's"""
    sets = []
    if options.length > config["max_position_embeddings"]:
        raise SystemExit(f"--length: {options.length} is more than the {config['max_position_embeddings']} positions of the model")
    for path in (options.train, options.dev):
        task, examples = tasks.read_examples(path, options.task)
        if "id2label" not in config:
            names = task.labels or ["LABEL_0"]
            config["id2label"] = {str(i): name for i, name in enumerate(names)}
            config["label2id"] = {name: i for i, name in enumerate(names)}
            if not task.labels:
                config["problem_type"] = "regression"
        wanted = len(task.labels) or 1
        if wanted > encoder.labels_of(config) or (wanted == 1) != (encoder.labels_of(config) == 1):
            raise SystemExit(f"{path}: the data have {wanted} labels, the model {encoder.labels_of(config)}")
        sets.append(tasks.fit(task, examples, config))
    wide = sets[0] + [example for option in more for example in unlabelled(option, options.task)]
    train, dev = (tasks.Data(examples, folder, options.length, device) for examples in sets)
    return task, train, dev, tasks.Data(wide, folder, options.length, device) if more else train


def epoch_order(lengths, size, seed):
    """Batches of an epoch as distill/order.h: alike lengths together in pools of 1 to 32 batches, an eighth of all; equal ones
    and the batches in random order; the odd one last."""
    draw = random.Random(seed)
    order = list(range(len(lengths)))
    draw.shuffle(order)
    pool = size * min(max(len(lengths) // size // 8, 1), 32)
    order = [i for at in range(0, len(order), pool) for i in sorted(order[at : at + pool], key=lambda i: lengths[i])]
    groups = [order[at : at + size] for at in range(0, len(order), size)]
    odd = [groups.pop()] if len(groups[-1]) < size else []
    draw.shuffle(groups)
    return groups + odd


def rate_at(peak, warmup, step, steps):
    warm = int(warmup * steps)
    return peak * (step + 1) / (warm + 1) if step < warm else peak * (steps - step) / (steps - warm)


def make_optimiser(model, options, rate):
    """Decay acts on the matrices of the encoder and the head only; learned coefficients have rates of their own."""
    groups = {}
    for name, weight in model.named_parameters():
        matrix = weight.dim() == 2 and not name.startswith(("word", "position", "token_type")) and not name.endswith("quad")
        times = options.rate_c if name.endswith("quad_c") else options.rate_quad if name.endswith("quad") else 1
        decay = options.weight_decay if matrix else 0.0
        groups.setdefault((times, decay), []).append(weight)
    groups = [{"params": weights, "lr": rate * times, "times": times, "weight_decay": decay} for (times, decay), weights in groups.items()]
    return torch.optim.AdamW(groups, lr=rate, fused=True, capturable=rate.is_cuda)


def keep_squares(model):
    """Private inference divides by a: it is kept from 0.001 up."""
    with torch.no_grad():
        for layer in model.layer:
            if layer.quad is not None:
                a = layer.quad[0]
                a.copy_(a.abs().clamp_min(1e-3) * torch.ones_like(a).masked_fill(a < 0, -1))


def exactly(function):
    """Without gradients, dropout and TF32."""

    def wrapped(*arguments):
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        with torch.no_grad():
            result = function(*arguments)
        torch.set_float32_matmul_precision(before)
        return result

    return wrapped


@exactly
def predict(model, data):
    """-> logits of a whole set, in its order"""
    model.eval()
    logits = torch.zeros(len(data.lengths), encoder.labels_of(model.config), device=data.ids.device)
    for index, longest in data.by_length():
        logits[index] = model(*data.batch(index, longest))[0]
    return logits


@exactly
def match(model, teacher, data, weight):
    """The layer-wise loss of a set: the mean over its batches, weighted by their tokens."""
    model.eval()
    total = torch.zeros((), device=data.ids.device)
    for index, longest in data.by_length():
        batch = data.batch(index, longest)
        embedding, hidden, score = encoder.layer_loss(model(*batch), teacher(*batch), batch[2])
        total += (embedding + hidden + weight * score) * batch[2].sum()
    return total.item() / sum(data.lengths)


def phase_loss(phase, model, student, teacher, answers, index, longest):
    """-> the loss, and what log.tsv says of it: embedding, hidden, score, spread"""
    batch = phase.data.batch(index, longest)
    labels = phase.data.labels[index]
    got = model(*batch)
    parts = [torch.zeros_like(labels[0])] * 3
    if phase.name == "layers":
        with torch.no_grad():
            wanted = teacher(*batch)
        parts = encoder.layer_loss(got, wanted, batch[2])
        loss = parts[0] + parts[1] + phase.score * parts[2] + 0 * got[0].sum()  # every weight takes part
    elif got[0].shape[1] == 1:
        wanted = labels
        if answers is not None:
            mixed = (1 - phase.gold) * answers[index, 0] + phase.gold * labels
            wanted = torch.where(labels.isnan(), answers[index, 0], mixed)
        loss = ((got[0][:, 0] - wanted) ** 2).mean()
    elif answers is None:
        loss = functional.cross_entropy(got[0], labels.long())
    else:
        loss = (1 - phase.gold) * encoder.logit_loss(got[0], answers[index])
        if phase.gold > 0:
            known = labels.nan_to_num(UNLABELLED).long()
            gold = functional.cross_entropy(got[0], known, ignore_index=UNLABELLED, reduction="sum") / len(labels)
            loss = loss + phase.gold * gold
    spread = torch.zeros_like(loss)
    if phase.spread > 0:
        spread = encoder.spread_loss(student, batch[2], phase.spread, phase.limit)
    return loss + spread, [*parts, spread]


class Recorded:
    """A step that is recorded as a CUDA graph for each shape of batch. The first few are run as they are: they make the
    optimiser's state and the libraries' workspaces."""

    def __init__(self, step, data, stream):
        self.step, self.data, self.stream = step, data, stream
        self.left, self.graphs, self.pool = 3, {}, torch.cuda.graph_pool_handle()

    def __call__(self, index, longest):
        if self.left > 0:
            self.left -= 1
            return self.step(index, longest)
        shape = len(index), self.data.padded(longest)
        if shape not in self.graphs:
            graph, place = torch.cuda.CUDAGraph(), index.clone()
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
                self.step(place, longest)
            self.graphs[shape] = graph, place
        graph, place = self.graphs[shape]
        place.copy_(index)
        graph.replay()


class Run:
    def __init__(self, options, accelerator, task, student, teacher, dev, vocabulary):
        self.options, self.accelerator, self.task = options, accelerator, task
        self.student, self.teacher, self.dev = student, teacher, dev
        self.best, self.where, self.began = None, None, time.monotonic()
        on_gpu = accelerator.device.type == "cuda" and not options.eager
        self.stream = torch.cuda.Stream() if on_gpu else None
        if accelerator.is_main_process:
            os.makedirs(options.out, exist_ok=True)
            for name in ("vocab.txt", "tokenizer_config.json"):
                if os.path.exists(os.path.join(vocabulary, name)):
                    shutil.copy(os.path.join(vocabulary, name), os.path.join(options.out, name))
            self.log = open(os.path.join(options.out, "log.tsv"), "w", encoding="utf-8")
            print("\t".join(HEADING), file=self.log, flush=True)

    def row(self, phase, epoch, step, **values):
        values |= {"phase": phase.name, "epoch": f"{epoch:.4f}", "step": step}
        values["seconds"] = round(time.monotonic() - self.began, 1)
        fields = [values.get(name, "") for name in HEADING]
        fields = [f"{field:.6g}" if isinstance(field, float) else str(field) for field in fields]
        print("\t".join(fields), file=self.log, flush=True)

    def evaluate(self, phase, epoch, step):
        """Measures the development set, writes it down, and keeps the model if it is the best so far."""
        if phase.name == "layers":
            dev = match(self.student, self.teacher, self.dev, phase.score)
            text = f"layer-wise loss {dev:.4f}"
        else:
            logits = predict(self.student, self.dev)
            values = [tasks.measure(metric, logits, self.dev.labels) for metric in self.task.metrics]
            dev, text = values[0], ", ".join(f"{name} {value:.4f}" for name, value in zip(self.task.metrics, values))
            if self.best is None or dev > self.best:
                self.best, self.where = dev, (phase.name, step)
                encoder.write_folder(self.student, self.options.out, self.options.save)
        self.row(phase, epoch, step, dev=dev)
        print(f"{phase.name}  epoch {epoch:.2f}  {text}", flush=True)

    def make_step(self, phase, optimiser, sums):
        model = self.accelerator.prepare(self.student)
        answers = predict(self.teacher, phase.data) if phase.name == "logits" else None

        def step(index, longest):
            loss, parts = phase_loss(phase, model, self.student, self.teacher, answers, index, longest)
            self.accelerator.backward(loss)
            norm = torch.nn.utils.clip_grad_norm_(self.student.parameters(), self.options.clip or math.inf)
            optimiser.step()
            optimiser.zero_grad()
            keep_squares(self.student)
            sums.add_(torch.stack([loss, *parts, norm]).detach())

        if self.stream is None or self.accelerator.num_processes > 1:
            return step
        return Recorded(step, phase.data, self.stream)

    def log_means(self, phase, done, per_epoch, sums, since, fresh, clock, **values):
        means = (sums / since).tolist()  # here the GPU is waited for
        if not means[0] < float("inf"):
            raise SystemExit(f"phase {phase.name}, step {done}: the loss is not a number; a smaller rate helps")
        if self.accelerator.is_main_process:
            speed = round(fresh / (time.monotonic() - clock))
            self.row(phase, done / per_epoch, done, **dict(zip(MEANS, means)), tokens_per_second=speed, **values)
        sums.zero_()

    def phase(self, number, phase):
        options, device, ranks = self.options, self.accelerator.device, self.accelerator.num_processes
        size, lengths = options.batch * ranks, phase.data.lengths
        per_epoch = (len(lengths) + size - 1) // size
        steps = round(phase.epochs * per_epoch)
        sums = torch.zeros(len(MEANS), device=device)
        optimiser = make_optimiser(self.student, options, torch.zeros((), device=device))
        encoder.set_dropout(self.student, phase.dropout, phase.attention_dropout)
        run_step = self.make_step(phase, optimiser, sums)
        since, tokens, all_tokens, clock = 0, 0, 0, time.monotonic()
        torch.set_float32_matmul_precision("high")
        self.student.train()
        if number > 0 and self.accelerator.is_main_process:
            self.evaluate(phase, 0.0, 0)  # what the layers' phase leaves may be the best
            self.student.train()
        for step in range(steps):
            epoch, at = divmod(step, per_epoch)
            if at == 0:
                groups = epoch_order(lengths, size, options.seed * 1000003 + number * 10007 + epoch)
                flat = torch.tensor([i for group in groups for i in group], device=device)
            index = flat[at * size : at * size + size]
            if len(index) >= ranks > 1:
                index = index[self.accelerator.process_index :: ranks]
            now = rate_at(phase.rate, options.warmup, step, steps)
            for group in optimiser.param_groups:
                group["lr"].fill_(now * group["times"])
            run_step(index, max(lengths[i] for i in groups[at]))
            done, since, tokens = step + 1, since + 1, tokens + sum(lengths[i] for i in groups[at])
            if done % options.log_steps == 0 or done == steps:
                all_tokens += tokens
                self.log_means(phase, done, per_epoch, sums, since, tokens, clock, rate=now, tokens=all_tokens)
                since, tokens, clock = 0, 0, time.monotonic()
            if done == steps or done * options.evaluations // per_epoch != (done - 1) * options.evaluations // per_epoch:
                began = time.monotonic()
                if self.accelerator.is_main_process:
                    self.evaluate(phase, done / per_epoch, done)
                self.accelerator.wait_for_everyone()
                clock += time.monotonic() - began  # looking at the development set is no training
                self.student.train()


def train(options, accelerator, task, student, teacher, dev, vocabulary, phases):
    run = Run(options, accelerator, task, student, teacher, dev, vocabulary)
    if run.stream:
        run.stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(run.stream) if run.stream else contextlib.nullcontext():
        for number, phase in enumerate(phases):
            run.phase(number, phase)
    if run.best is None:
        raise SystemExit("no epochs of the last phase: there is no model to keep")
    if accelerator.is_main_process:
        print(f"{options.out}: best {task.metrics[0]} {run.best:.4f}, phase {run.where[0]}, step {run.where[1]}", flush=True)
