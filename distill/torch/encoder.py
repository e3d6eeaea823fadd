"""The classifier of model/model.h in PyTorch: the same folder in and out, the same student variants.

A batch is padded here and masked; distill/ packs it instead. Both give the same losses and gradients, which
compare.py checks.
"""

import json
import math
import os
import struct

import torch
from torch import nn
from torch.nn import functional

FLOOR = 1e-6  # of a row sum, as DISTILL_ATTENTION_FLOOR
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden = config["hidden_size"]
        self.heads = config["num_attention_heads"]
        self.kind = config.get("attention_softmax", "softmax")
        self.c = config.get("softmax_2quad_c", 5.0)
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.quad_c = None
        if config.get("softmax_2quad_learned"):
            self.quad_c = nn.Parameter(torch.full((self.heads,), float(self.c)))
        self.drop = nn.Dropout(config.get("attention_probs_dropout_prob", 0.1))

    def forward(self, x, mask):
        """x [B, S, H], mask [B, S] of 0 and 1 -> context [B, S, H], scores [B, A, S, S]"""
        batch, length, hidden = x.shape

        def split(y):
            return y.view(batch, length, self.heads, -1).transpose(1, 2)

        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        scores = q @ k.transpose(-1, -2) / math.sqrt(hidden // self.heads)
        seen = mask[:, None, None, :]
        if self.kind == "softmax":
            weights = scores.masked_fill(seen == 0, float("-inf")).softmax(-1)
        else:
            if self.kind == "2quad":
                c = self.c if self.quad_c is None else self.quad_c[None, :, None, None]
                u = (scores + c) ** 2 * seen
            else:
                u = functional.relu(scores) * seen
            weights = u / u.sum(-1, keepdim=True).clamp_min(FLOOR)
        context = (self.drop(weights) @ v).transpose(1, 2).reshape(batch, length, hidden)
        return context, scores


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, ffn, eps = config["hidden_size"], config["intermediate_size"], config.get("layer_norm_eps", 1e-12)
        self.kind = config.get("hidden_act", "gelu")
        self.attention = Attention(config)
        self.output = nn.Linear(hidden, hidden)
        self.norm1 = nn.LayerNorm(hidden, eps)
        self.ffn1 = nn.Linear(hidden, ffn)
        self.ffn2 = nn.Linear(ffn, hidden)
        self.norm2 = nn.LayerNorm(hidden, eps)
        self.quad = None
        if config.get("hidden_act_learned"):
            self.quad = nn.Parameter(torch.tensor([0.125, 0.25, 0.5])[:, None].repeat(1, ffn))
        self.drop = nn.Dropout(config.get("hidden_dropout_prob", 0.1))

    def activate(self, x):
        if self.kind == "gelu":
            return functional.gelu(x)
        if self.kind == "relu":
            return functional.relu(x)
        a, b, g = (0.125, 0.25, 0.5) if self.quad is None else self.quad
        return (a * x + b) * x + g

    def forward(self, x, mask):
        context, scores = self.attention(x, mask)
        first = x + self.drop(self.output(context))
        x = self.norm1(first)
        second = x + self.drop(self.ffn2(self.activate(self.ffn1(x))))
        # Of each row that is normalised, for spread_loss.
        self.widths = [z.var(-1, unbiased=False) + self.norm1.eps for z in (first, second)]
        return self.norm2(second), scores


class Classifier(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden = config["hidden_size"]
        self.config = config
        self.word = nn.Embedding(config["vocab_size"], hidden)
        self.position = nn.Embedding(config["max_position_embeddings"], hidden)
        self.token_type = nn.Embedding(config["type_vocab_size"], hidden)
        self.norm = nn.LayerNorm(hidden, config.get("layer_norm_eps", 1e-12))
        self.layer = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.pooler = nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, labels_of(config))
        self.drop = nn.Dropout(config.get("hidden_dropout_prob", 0.1))

    def forward(self, ids, types, mask):
        """-> logits [B, L], embeddings, hidden states of the layers, scores of the layers"""
        kinds = torch.arange(self.token_type.num_embeddings, device=ids.device)
        type_rows = (types[:, :, None] == kinds).float() @ self.token_type.weight  # a product is faster than a look-up here
        embedded = x = self.drop(self.norm(self.word(ids) + self.position.weight[: ids.shape[1]] + type_rows))
        hidden, scores = [], []
        for layer in self.layer:
            x, s = layer(x, mask)
            hidden.append(x)
            scores.append(s)
        logits = self.head(self.drop(torch.tanh(self.pooler(x[:, 0]))))
        return logits, embedded, hidden, scores


def spread_loss(model, mask, weight=0.01, limit=8.0):
    """The price on rows too wide for fixed point (distill/loss.h), for the last forward pass."""
    rows = torch.stack([width for layer in model.layer for width in layer.widths])
    return weight / len(mask) * ((rows / limit).log().clamp_min(0) ** 2 * mask).sum()


def labels_of(config):
    return len(config["id2label"]) if "id2label" in config else config.get("num_labels", 2)


def names(config):
    """Names in the file (without the prefix bert.) and in this module."""
    pairs = [
        ("embeddings.word_embeddings.weight", "word.weight"),
        ("embeddings.position_embeddings.weight", "position.weight"),
        ("embeddings.token_type_embeddings.weight", "token_type.weight"),
        ("embeddings.LayerNorm.weight", "norm.weight"),
        ("embeddings.LayerNorm.bias", "norm.bias"),
    ]
    inside = [
        ("attention.self.query", "attention.query"),
        ("attention.self.key", "attention.key"),
        ("attention.self.value", "attention.value"),
        ("attention.output.dense", "output"),
        ("attention.output.LayerNorm", "norm1"),
        ("intermediate.dense", "ffn1"),
        ("output.dense", "ffn2"),
        ("output.LayerNorm", "norm2"),
    ]
    for n in range(config["num_hidden_layers"]):
        for theirs, ours in inside:
            for part in ("weight", "bias"):
                pairs.append((f"encoder.layer.{n}.{theirs}.{part}", f"layer.{n}.{ours}.{part}"))
        if config.get("softmax_2quad_learned"):
            pairs.append((f"encoder.layer.{n}.attention.self.quad_c", f"layer.{n}.attention.quad_c"))
        if config.get("hidden_act_learned"):
            pairs.append((f"encoder.layer.{n}.intermediate.quad", f"layer.{n}.quad"))
    for part in ("weight", "bias"):
        pairs.append((f"pooler.dense.{part}", f"pooler.{part}"))
        pairs.append((f"classifier.{part}", f"head.{part}"))
    return pairs


def read_tensors(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        data = bytearray(file.read())
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        if end > begin:
            flat = torch.frombuffer(data, dtype=torch.uint8)[begin:end].clone().view(DTYPES[entry["dtype"]])
            tensors[name.removeprefix("bert.")] = flat.reshape(entry["shape"])
    return tensors


def write_tensors(path, tensors, kind="f32"):
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, tensor in tensors.items():
        plain = tensor.detach().to("cpu", DTYPES[kind.upper()]).contiguous()
        blob = plain.view(torch.uint8).flatten().numpy().tobytes()
        header[name] = {"dtype": kind.upper(), "shape": list(tensor.shape), "data_offsets": [at, at + len(blob)]}
        at += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".tmp", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for blob in blobs:
            file.write(blob)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".tmp", path)


def read_config(folder):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        return json.load(file)


def new(config):
    """A Classifier that knows nothing: normal weights of deviation 0.02, as distill_weights_random."""
    model = Classifier(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
            elif "norm" not in name and "quad" not in name:
                weight.normal_(0, 0.02)
    return model


def read_folder(folder, config=None):
    """A Classifier with the weights of a folder; another config makes it a student of another kind, or of another task."""
    config = config or read_config(folder)
    model = new(config)
    tensors = read_tensors(os.path.join(folder, "model.safetensors"))
    state = model.state_dict()
    for theirs, ours in names(config):
        if theirs in tensors and (tensors[theirs].shape == state[ours].shape or not ours.startswith("head")):
            state[ours].copy_(tensors[theirs])
    return model


def set_dropout(model, hidden, attention):
    for part in model.modules():
        if isinstance(part, Attention):
            part.drop.p = attention
        elif isinstance(part, (Layer, Classifier)):
            part.drop.p = hidden


def write_folder(model, folder, kind="f32"):
    os.makedirs(folder, exist_ok=True)
    state = model.state_dict()
    prefix = {ours: theirs if theirs.startswith("classifier") else "bert." + theirs for theirs, ours in names(model.config)}
    tensors = {prefix[ours]: state[ours] for _, ours in names(model.config)}
    write_tensors(os.path.join(folder, "model.safetensors"), tensors, kind)
    about = {"architectures": ["BertForSequenceClassification"], "torch_dtype": "float16" if kind == "f16" else "float32"}
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(model.config | about, file, indent=2)


def layer_loss(student, teacher, mask):
    """Stage 1, as distill/loss.h: (embeddings, hidden states, scores), padding left out of all."""
    tokens = mask[:, :, None].float()
    pairs = (mask[:, None, :, None] * mask[:, None, None, :]).float()
    heads, wide = student[3][0].shape[1], student[1].shape[2]

    def mse(a, b, weight, n):
        return (((a - b) ** 2) * weight).sum() / n

    n_tokens, n_pairs = tokens.sum() * wide, pairs.sum() * heads
    embedding = mse(student[1], teacher[1], tokens, n_tokens)
    hidden = mse(torch.stack(student[2]), torch.stack(teacher[2]), tokens, n_tokens)
    score = mse(torch.stack(student[3]), torch.stack(teacher[3]), pairs, n_pairs)
    return embedding, hidden, score


def logit_loss(student, teacher):
    """Stage 2: soft cross entropy."""
    return -(teacher.softmax(-1) * student.log_softmax(-1)).sum(-1).mean()
