"""Trains a pretrained encoder on a task, as `trefoil finetune` does, with PyTorch and Accelerate, on one GPU or many.

    pip install torch accelerate tokenizers
    accelerate launch finetune.py --model MINILM --task rte --train train.tsv --dev dev.tsv --out TEACHER
"""

import argparse

import encoder
import training


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="pretrained encoder: config.json, model.safetensors, vocab.txt")
    training.add_arguments(parser)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--rate", type=float, default=3e-5)
    parser.add_argument("--dropout", type=float, help="instead of what the model's config says")
    return parser.parse_args()


def main():
    options = arguments()
    accelerator = training.start(options)
    config = encoder.read_config(options.model)
    for name in ("id2label", "label2id", "num_labels", "problem_type"):
        config.pop(name, None)  # the file says which labels there are
    task, train, dev, _ = training.read_data(options, options.model, config, accelerator.device)
    model = encoder.read_folder(options.model, config).to(accelerator.device)
    dropouts = [config.get("hidden_dropout_prob", 0.1), config.get("attention_probs_dropout_prob", 0.1)]
    if options.dropout is not None:
        dropouts = [options.dropout] * 2
    phase = training.Phase("task", options.epochs, options.rate, *dropouts, train)
    training.train(options, accelerator, task, model, None, dev, options.model, [phase])


if __name__ == "__main__":
    main()
