"""Distils a student as `trefoil distill` does, with PyTorch and Accelerate, on one GPU or many.

    pip install torch accelerate tokenizers
    accelerate launch distill.py --teacher TEACHER --train train.tsv --dev dev.tsv --out STUDENT \
        --learned-c --learned-quad

The files are TSV tables with a heading; the columns are named by --text, --pair and --label. The output folder is read
by `trefoil share` like any other.
"""

import argparse
import csv
import random
import shutil

import torch
from torch.nn import functional

import encoder


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--dev", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--text", default="sentence", help="column (sentence)")
    parser.add_argument("--pair", help="column of the second text, for pairs")
    parser.add_argument("--label", default="label", help="column: a number, or a name the teacher knows (label)")
    parser.add_argument("--activation", choices=["quad", "gelu"], default="quad")
    parser.add_argument("--attention", choices=["2quad", "2relu", "softmax"], default="2quad")
    parser.add_argument("--learned-c", action="store_true")
    parser.add_argument("--learned-quad", action="store_true")
    parser.add_argument("--epochs-1", type=int, default=10)
    parser.add_argument("--rate-1", type=float, default=1e-4)
    parser.add_argument("--weight-score", type=float, default=0.02)
    parser.add_argument("--weight-spread", type=float, default=0.01)
    parser.add_argument("--spread", type=float, default=8.0)
    parser.add_argument("--epochs-2", type=int, default=3)
    parser.add_argument("--rate-2", type=float, default=2e-5)
    parser.add_argument("--gold", type=float, default=0.0, help="share of the labels in stage 2 (0; regression 0.5)")
    parser.add_argument("--batch", type=int, default=32, help="of each process")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--warmup", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def read_rows(path, options, config, tokenizer):
    numbers = {name.lower(): int(i) for i, name in config.get("id2label", {}).items()}
    rows = []
    with open(path, encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            code = tokenizer.encode(row[options.text], row[options.pair] if options.pair else None)
            label = row[options.label]
            rows.append((code.ids, code.type_ids, float(numbers.get(label.lower(), label))))
    return rows


def batches(rows, size, seed, rank, ranks):
    """This process's batches of an epoch: alike lengths together, in random order."""
    draw = random.Random(seed)
    order = list(range(len(rows)))
    draw.shuffle(order)
    pool = size * ranks * 32
    order = [i for at in range(0, len(order), pool) for i in sorted(order[at : at + pool], key=lambda i: len(rows[i][0]))]
    groups = [order[at : at + size * ranks] for at in range(0, len(order) - size * ranks + 1, size * ranks)]
    draw.shuffle(groups)
    for group in groups:
        yield [rows[i] for i in group[rank::ranks]]


def pad(rows, device):
    longest = max(len(row[0]) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    types, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for i, (id_, type_, _) in enumerate(rows):
        ids[i, : len(id_)], types[i, : len(id_)], mask[i, : len(id_)] = torch.tensor(id_), torch.tensor(type_), 1
    return ids.to(device), types.to(device), mask.to(device), torch.tensor([row[2] for row in rows], device=device)


def groups(model, rate):
    """Decay acts on the matrices of the encoder and the head only."""
    decayed, plain = [], []
    for name, weight in model.named_parameters():
        matrix = weight.dim() == 2 and not name.startswith(("word", "position", "token_type")) and not name.endswith("quad")
        (decayed if matrix else plain).append(weight)
    return torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=rate)


def keep_squares(model):
    with torch.no_grad():
        for layer in model.layer:
            if layer.quad is not None:
                a = layer.quad[0]
                a.copy_(torch.where(a < 0, -1.0, 1.0) * a.abs().clamp_min(1e-3))


def evaluate(model, rows, regression, device):
    model.eval()
    right, guesses, wanted = 0, [], []
    with torch.no_grad():
        for at in range(0, len(rows), 64):
            ids, types, mask, labels = pad(rows[at : at + 64], device)
            logits = model(ids, types, mask)[0]
            if regression:
                guesses.append(logits[:, 0])
                wanted.append(labels)
            else:
                right += (logits.argmax(-1) == labels.long()).sum().item()
    if not regression:
        return right / len(rows)
    return torch.corrcoef(torch.stack([torch.cat(guesses), torch.cat(wanted)]))[0, 1].item()


def stage(number, student, teacher, rows, dev, options, accelerator, regression):
    epochs, rate = (options.epochs_1, options.rate_1) if number == 1 else (options.epochs_2, options.rate_2)
    ranks, rank, device = accelerator.num_processes, accelerator.process_index, accelerator.device
    steps = max(1, epochs * (len(rows) // (options.batch * ranks)))
    warm = int(options.warmup * steps)
    optimiser = groups(student, rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: (step + 1) / (warm + 1) if step < warm else (steps - step) / (steps - warm)
    )
    model, optimiser = accelerator.prepare(student, optimiser)
    best = -2.0
    for epoch in range(epochs):
        model.train()
        for part in model.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0 if number == 1 else 0.1
        for rows_here in batches(rows, options.batch, options.seed * 1000 + epoch, rank, ranks):
            ids, types, mask, labels = pad(rows_here, device)
            with torch.no_grad():
                wanted = teacher(ids, types, mask)
            got = model(ids, types, mask)
            if number == 1:
                embedding, hidden, score = encoder.layer_loss(got, wanted, mask)
                loss = embedding + hidden + options.weight_score * score + 0 * got[0].sum()  # every weight takes part
            elif regression:
                gold = options.gold or 0.5
                loss = ((got[0][:, 0] - (1 - gold) * wanted[0][:, 0] - gold * labels) ** 2).mean()
            else:
                loss = (1 - options.gold) * encoder.logit_loss(got[0], wanted[0])
                loss = loss + options.gold * functional.cross_entropy(got[0], labels.long())
            loss = loss + encoder.spread_loss(student, mask, options.weight_spread, options.spread)
            if not torch.isfinite(loss):
                raise SystemExit(f"stage {number}, epoch {epoch}: the loss is not a number; a smaller rate helps")
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
            keep_squares(student)
        if accelerator.is_main_process:
            score = evaluate(student, dev, regression, device)
            print(f"stage {number}  epoch {epoch + 1}/{epochs}  loss {loss.item():.4f}  dev {score:.4f}", flush=True)
            if number == 2 and score > best:
                best = score
                encoder.write_folder(student, options.out)
        accelerator.wait_for_everyone()


def main():
    from accelerate import Accelerator
    from tokenizers import BertWordPieceTokenizer

    options = arguments()
    torch.manual_seed(options.seed)
    accelerator = Accelerator()
    tokenizer = BertWordPieceTokenizer(options.teacher + "/vocab.txt", lowercase=True)
    tokenizer.enable_truncation(options.length)
    teacher = encoder.read_folder(options.teacher).to(accelerator.device).eval()
    changes = {"hidden_act": options.activation, "attention_softmax": options.attention}
    if options.attention == "2quad":
        changes |= {"softmax_2quad_c": 5.0, "softmax_2quad_learned": options.learned_c}
    changes["hidden_act_learned"] = options.learned_quad
    student = encoder.read_folder(options.teacher, changes).to(accelerator.device)
    regression = encoder.labels_of(teacher.config) == 1
    train = read_rows(options.train, options, teacher.config, tokenizer)
    dev = read_rows(options.dev, options, teacher.config, tokenizer)
    for number in (1, 2):
        stage(number, student, teacher, train, dev, options, accelerator, regression)
    if accelerator.is_main_process:
        for name in ("vocab.txt", "tokenizer_config.json"):
            shutil.copy(f"{options.teacher}/{name}", f"{options.out}/{name}")


if __name__ == "__main__":
    main()
