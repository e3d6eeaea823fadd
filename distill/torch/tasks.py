"""Task files and metrics, as model/task.h and model/metrics.h: GLUE as it ships, or a table of your own.

Columns are parted by tabs, quotes are plain characters; a byte-order mark, carriage returns and blank lines are allowed.
"""

import json
import os

import torch


class Task:
    def __init__(self, text, pair=None, target="label", labels=("0", "1"), named=False, metrics=("accuracy",), torn=False):
        self.text, self.pair, self.target = text, pair, target
        self.labels, self.named, self.metrics, self.torn = list(labels), named, metrics, torn


ENTAILMENT = ("entailment", "not_entailment")
TASKS = {
    "sst-2": Task("sentence", labels=("negative", "positive")),
    "cola": Task(3, target=1, labels=("unacceptable", "acceptable"), metrics=("matthews", "accuracy")),
    "mrpc": Task("#1 String", "#2 String", "Quality", ("not_equivalent", "equivalent"), metrics=("f1", "accuracy")),
    "rte": Task("sentence1", "sentence2", labels=ENTAILMENT, named=True),
    "sts-b": Task("sentence1", "sentence2", "score", (), metrics=("pearson", "spearman")),
    "qnli": Task("question", "sentence", labels=ENTAILMENT, named=True),
    "mnli": Task("sentence1", "sentence2", "gold_label", ("entailment", "neutral", "contradiction"), True),
    "qqp": Task("question1", "question2", "is_duplicate", ("not_duplicate", "duplicate"), metrics=("f1", "accuracy"), torn=True),
    "imdb": Task("text", labels=("negative", "positive")),
    "tsv": None,  # the file's heading says what it holds
}


def read_table(path):
    with open(path, encoding="utf-8-sig", errors="replace", newline="\n") as file:
        return [line.split("\t") for line in (line.rstrip("\r\n") for line in file) if line]


TEXTS = ("sentence", "text", "sentence1", "question1", "question")


def own_task(rows):
    """A table of the user's own: the columns sentence, perhaps sentence2, and label or score."""
    if len(rows) < 2:
        raise SystemExit("the file has no examples")
    heading = rows[0]
    text = next((name for name in TEXTS if name in heading), None)
    if text is None or not {"label", "score"} & set(heading):
        raise SystemExit("line 1 should name a column sentence (or text), and label or score")
    pair = "sentence2" if "sentence2" in heading and text != "sentence2" else None
    if "label" not in heading:
        return Task(text, pair, "score", (), metrics=("pearson", "spearman"))
    words = {row[heading.index("label")] for row in rows[1:] if len(row) > heading.index("label")}
    numbers = all(word.isascii() and word.isdigit() and int(word) < 64 for word in words)
    labels = [str(i) for i in range(max(map(int, words)) + 1)] if numbers else sorted(words)
    return Task(text, pair, "label", labels, named=True)


def read_examples(path, name):
    """-> the task, and [(text, second text or None, number)]: the number is a score or a place in task.labels"""
    rows = read_table(path)
    task = TASKS[name] or own_task(rows)
    at = [task.text, task.pair, task.target]
    if isinstance(task.text, str):
        heading = rows.pop(0)
        missing = [column for column in at if column is not None and column not in heading]
        if missing:
            raise SystemExit(f"{path}: line 1 names no column {missing[0]}")
        at = [None if column is None else heading.index(column) for column in at]
    words = task.labels if task.named else [str(i) for i in range(len(task.labels))]
    numbers = {word: float(i) for i, word in enumerate(words)}
    examples = []
    for row in rows:
        if len(row) <= max(i for i in at if i is not None):
            if task.torn:
                continue
            raise SystemExit(f"{path}: a row of {len(row)} columns, which are too few")
        word = row[at[2]]
        if task.labels and word not in numbers:
            raise SystemExit(f"{path}: a label is none of {', '.join(words)}")
        examples.append((row[at[0]], None if at[1] is None else row[at[1]], numbers[word] if task.labels else float(word)))
    return task, examples


def read_texts(path, name):
    """-> [(text, second text or None)], whatever labels there are. A table of the user's own needs none: without a heading, a text
    a line, a tab before a second one."""
    if TASKS[name] is not None:
        return [example[:2] for example in read_examples(path, name)[1]]
    rows = read_table(path)
    heading = rows[0] if rows else []
    text = next((heading.index(column) for column in TEXTS if column in heading), None)
    if text is None and "label" in heading:
        raise SystemExit(f'{path}: line 1 names a label but no column "sentence" or "text"')
    if text is None:
        texts = [(row[0], row[1] if len(row) > 1 else None) for row in rows]
    else:
        pair = heading.index("sentence2") if "sentence2" in heading else None
        if any(len(row) <= max(text, pair or 0) for row in rows):
            raise SystemExit(f"{path}: a row of too few columns")
        texts = [(row[text], None if pair is None else row[pair]) for row in rows[1:]]
    if not texts:
        raise SystemExit(f"{path}: has no rows")
    return texts


def fit(task, examples, config):
    """Numbers the labels as the model does, where it knows the same names in another order (task_data_fit)."""
    names = {name.lower(): int(i) for i, name in config.get("id2label", {}).items()}
    if not task.labels or not all(label.lower() in names for label in task.labels):
        return examples
    to = [float(names[label.lower()]) for label in task.labels]
    return [(text, pair, to[int(number)]) for text, pair, number in examples]


def shorten(ids, types, length):
    """Cuts as distill/data.c: of a pair one token at a time from whichever is longer; each [SEP] stays."""
    first, second = types.count(0), types.count(1)
    keep_first, keep_second = first, second
    while keep_first + keep_second > length:
        if keep_second > 1 and keep_second >= keep_first:
            keep_second -= 1
        else:
            keep_first -= 1
    kept = ids[: keep_first - 1] + ids[first - 1 : first] if keep_first < first else ids[:first]
    if keep_second:
        kept = kept + ids[first : first + keep_second - 1] + ids[-1:]
    return kept, [0] * keep_first + [1] * keep_second


class Data:
    """Examples as padded tensors on a device, from which batches are picked by index."""

    def __init__(self, examples, folder, length, device):
        from tokenizers import BertWordPieceTokenizer

        settings, path = {}, os.path.join(folder, "tokenizer_config.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                settings = json.load(file)
        tokenizer = BertWordPieceTokenizer(
            os.path.join(folder, "vocab.txt"),
            lowercase=settings.get("do_lower_case", True),
            strip_accents=settings.get("strip_accents"),
            handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
        )
        codes = tokenizer.encode_batch([text if pair is None else (text, pair) for text, pair, _ in examples])
        self.most = length
        rows = [shorten(code.ids, code.type_ids, length) for code in codes]
        self.lengths = [len(ids) for ids, _ in rows]
        wide = self.padded(max(self.lengths))
        self.ids = torch.tensor([ids + [0] * (wide - len(ids)) for ids, _ in rows], device=device)
        self.types = torch.tensor([types + [0] * (wide - len(types)) for _, types in rows], device=device)
        self.seen = torch.tensor(self.lengths, device=device)
        self.labels = torch.tensor([number for _, _, number in examples], device=device)

    def padded(self, length):
        return min((length + 15) // 16 * 16, self.most)  # few lengths, so that few steps are recorded

    def batch(self, index, longest):
        """index [B] on the device, longest of their lengths -> ids, types, mask [B, S]"""
        wide = self.padded(longest)
        mask = (torch.arange(wide, device=index.device)[None] < self.seen[index][:, None]).long()
        return self.ids[index, :wide], self.types[index, :wide], mask

    def by_length(self, tokens=4096):
        """Batches of alike lengths and about so many tokens, all examples once: [(index, longest)]"""
        order = sorted(range(len(self.lengths)), key=lambda i: (self.lengths[i], i))
        index, at = torch.tensor(order, device=self.ids.device), 0
        while at < len(order):
            end = min(len(order), at + max(1, tokens // self.padded(self.lengths[order[at]])))
            yield index[at:end], self.lengths[order[end - 1]]
            at = end


def ranks(values):
    """From 1; equal values share the mean of their ranks."""
    _, inverse, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts - 1) / 2)[inverse]


def pearson(x, y):
    x, y = x - x.mean(), y - y.mean()
    product = (x.square().sum() * y.square().sum()).sqrt().item()
    return (x * y).sum().item() / product if product > 0 else 0.0


def measure(metric, logits, labels):
    """One of model/metrics.h."""
    if metric in ("pearson", "spearman"):
        x, y = logits[:, 0].double(), labels.double()
        return pearson(ranks(x), ranks(y)) if metric == "spearman" else pearson(x, y)
    said, gold = logits.argmax(-1), labels.long()
    if metric == "accuracy":
        return (said == gold).double().mean().item()
    said, gold = said == 1, gold == 1
    hit, alarm, miss, calm = (n.sum().item() for n in (said & gold, said & ~gold, ~said & gold, ~said & ~gold))
    if metric == "f1":
        return 2 * hit / (2 * hit + alarm + miss) if hit else 0.0
    product = (hit + alarm) * (hit + miss) * (calm + alarm) * (calm + miss)
    return (hit * calm - alarm * miss) / product**0.5 if product else 0.0
