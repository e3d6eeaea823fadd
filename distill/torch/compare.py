"""Compares one training step of distill/ with the same step in PyTorch: losses and every gradient.

    compare.py FOLDER       what tests/distill/torch_step left: teacher, student, batch.tsv, losses.tsv, gradients
    compare.py --time [--threads N] [--sequences N] [--length N]     a stage-1 step of MiniLM size, timed

Exits with 77 where PyTorch is missing.
"""

import sys
import time

try:
    import torch
except ImportError:
    print("no PyTorch here")
    sys.exit(77)

import encoder

BOUND = 2e-5  # relative, of a whole tensor: both are float


def read_batch(path):
    rows = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            ids, types, label = line.rstrip("\n").split("\t")
            rows.append(([int(i) for i in ids.split()], [int(i) for i in types.split()], float(label)))
    longest = max(len(row[0]) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    types, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for i, (id_, type_, _) in enumerate(rows):
        ids[i, : len(id_)], types[i, : len(id_)], mask[i, : len(id_)] = torch.tensor(id_), torch.tensor(type_), 1
    return ids, types, mask


def check_gradients(model, folder):
    ours = encoder.read_tensors(folder + "/model.safetensors")
    worst = 0.0
    scale = max(p.grad.norm().item() for p in model.parameters() if p.grad is not None)
    parameters = dict(model.named_parameters())
    for theirs, name in encoder.names(model.config):
        gradient = parameters[name].grad
        gradient = torch.zeros_like(parameters[name]) if gradient is None else gradient
        off = (ours[theirs] - gradient).norm().item()
        if off > BOUND * gradient.norm().item() + 1e-6 * scale:
            sys.exit(f"{folder}: {theirs}: off by {off:.3g} where the gradient is {gradient.norm().item():.3g}")
        worst = max(worst, off / max(gradient.norm().item(), 1e-6 * scale))
    return worst


def compare(folder):
    losses = dict(line.split("\t") for line in open(folder + "/losses.tsv", encoding="utf-8").read().splitlines())
    batch = read_batch(folder + "/batch.tsv")
    teacher = encoder.read_folder(folder + "/teacher").eval()
    for stage in ("layers", "logits"):
        student = encoder.read_folder(folder + "/student").eval()  # no dropout on either side
        with torch.no_grad():
            wanted = teacher(*batch)
        got = student(*batch)
        loss = sum(encoder.layer_loss(got, wanted, batch[2])) if stage == "layers" else encoder.logit_loss(got[0], wanted[0])
        loss = loss + encoder.spread_loss(student, batch[2], 0.3, 0.5)
        loss.backward()
        if abs(loss.item() - float(losses[stage])) > BOUND * abs(loss.item()):
            sys.exit(f"{stage}: loss {losses[stage]} here, {loss.item():.9g} in PyTorch")
        worst = check_gradients(student, f"{folder}/gradients-{stage}")
        print(f"{stage}: loss {loss.item():.6g}, gradients agree, largest relative difference {worst:.2g}")


def number(name, otherwise):
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else otherwise


def time_step():
    torch.set_num_threads(number("--threads", 1))
    sequences, length = number("--sequences", 32), number("--length", 64)
    config = {
        "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536,
        "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2, "num_labels": 2,
    }  # fmt: skip
    teacher = encoder.Classifier(config).eval()
    student = encoder.Classifier(config | {"hidden_act": "quad", "attention_softmax": "2quad"}).eval()
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-5)
    # Lengths spread from a half to one and a half, sorted as a length-sorted run would have them: padded to the longest.
    lengths = [length // 2 + i * length // max(1, sequences - 1) for i in range(sequences)]
    ids = torch.randint(5, 30000, (sequences, max(lengths)))
    mask = torch.tensor([[int(j < n) for j in range(max(lengths))] for n in lengths])
    same = torch.full_like(ids[:, :length], 7), torch.zeros_like(ids[:, :length]), torch.ones_like(ids[:, :length])
    for title, batch in (("one length", same), ("padded", (ids, torch.zeros_like(ids), mask))):
        best = 1e9
        for _ in range(6):
            begin = time.perf_counter()
            with torch.no_grad():
                wanted = teacher(*batch)
            loss = sum(encoder.layer_loss(student(*batch), wanted, batch[2]))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
            best = min(best, time.perf_counter() - begin)
        tokens = int(batch[2].sum())
        print(f"PyTorch, {title}: {tokens} tokens, {best * 1e3:.1f} ms, {tokens / best:.0f} tokens/s")


if __name__ == "__main__":
    if "--time" in sys.argv:
        time_step()
    else:
        compare(sys.argv[1])
