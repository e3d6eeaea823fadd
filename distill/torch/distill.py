"""Distils a student as `trefoil distill` does, with PyTorch and Accelerate, on one GPU or many.

    pip install torch accelerate tokenizers
    accelerate launch distill.py --teacher TEACHER --task rte --train train.tsv --dev dev.tsv --out STUDENT \\
        --learned-c --learned-quad

The output folder is read by `trefoil share` like any other.
"""

import argparse

import encoder
import training


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True)
    training.add_arguments(parser)
    parser.add_argument("--unlabelled", action="append", default=[], metavar="[TASK:]FILE", help="more texts for stage 2")
    parser.add_argument("--from", dest="origin", default="teacher", help="the first weights: teacher, scratch, or a folder")
    parser.add_argument("--activation", choices=["quad", "gelu"], default="quad")
    parser.add_argument("--attention", choices=["2quad", "2relu", "softmax"], default="2quad")
    parser.add_argument("--c", type=float, default=5.0, help="the c of 2quad (5)")
    parser.add_argument("--learned-c", action="store_true")
    parser.add_argument("--learned-quad", action="store_true")
    parser.add_argument("--rate-c", type=float, default=100, help="learning rate of a learned c, as a multiple of the others'")
    parser.add_argument("--rate-quad", type=float, default=10, help="the same of a, b and g")
    parser.add_argument("--no-distill", action="store_true", help="labels alone, in one stage, as stage 2 is set")
    parser.add_argument("--epochs-1", type=float, default=10)
    parser.add_argument("--rate-1", type=float, default=1e-4)
    parser.add_argument("--dropout-1", type=float, default=0.0)
    parser.add_argument("--weight-score", type=float, default=0.02)
    parser.add_argument("--weight-spread", type=float, default=0.01)
    parser.add_argument("--spread", type=float, default=8.0)
    parser.add_argument("--epochs-2", type=float, default=3)
    parser.add_argument("--rate-2", type=float, default=2e-5)
    parser.add_argument("--dropout-2", type=float, default=0.1)
    parser.add_argument("--gold", type=float, help="share of the labels in stage 2 (0; regression 0.5)")
    options = parser.parse_args()
    if options.no_distill and options.unlabelled:
        parser.error("--unlabelled needs a teacher's answers, and --no-distill asks for none")
    if options.learned_c and options.attention != "2quad":
        parser.error("--learned-c needs --attention 2quad")
    if options.learned_quad and options.activation != "quad":
        parser.error("--learned-quad needs --activation quad")
    return options


def student_config(teacher, options):
    config = {name: value for name, value in teacher.items() if not name.startswith("softmax_2quad")}
    config |= {"hidden_act": options.activation, "attention_softmax": options.attention}
    if options.attention == "2quad":
        config |= {"softmax_2quad_c": options.c, "softmax_2quad_learned": options.learned_c}
    return config | {"hidden_act_learned": options.learned_quad}


def plan(options, train, wide, regression):
    common = {"spread": options.weight_spread, "limit": options.spread}
    first = training.Phase(
        "layers", options.epochs_1, options.rate_1, options.dropout_1, options.dropout_1, train,
        score=options.weight_score, **common,
    )  # fmt: skip
    second = training.Phase(
        "task" if options.no_distill else "logits", options.epochs_2, options.rate_2, options.dropout_2,
        options.dropout_2, wide, gold=(0.5 if regression else 0.0) if options.gold is None else options.gold, **common,
    )  # fmt: skip
    return [second] if options.no_distill or options.epochs_1 <= 0 else [first, second]


def main():
    options = arguments()
    accelerator = training.start(options)
    device = accelerator.device
    teacher = encoder.read_folder(options.teacher).to(device).eval()
    config = student_config(teacher.config, options)
    task, train, dev, wide = training.read_data(options, options.teacher, teacher.config, device, options.unlabelled)
    if options.origin == "scratch":
        student = encoder.new(config)
    else:
        student = encoder.read_folder(options.teacher if options.origin == "teacher" else options.origin, config)
    phases = plan(options, train, wide, encoder.labels_of(config) == 1)
    training.train(options, accelerator, task, student.to(device), teacher, dev, options.teacher, phases)


if __name__ == "__main__":
    main()
