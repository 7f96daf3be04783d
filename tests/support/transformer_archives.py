"""Archives of transformers small enough to be made here, in the layout of those that people download."""

import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any

WIDTH, LAYERS, POSITIONS = 32, 2, 64
CONFIG = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "layer_norm_eps": 1e-5,
    "max_position_embeddings": POSITIONS,
    "num_attention_heads": 2,
    "num_hidden_layers": LAYERS,
    "type_vocab_size": 2,
}


def tarred(files: Mapping[str, bytes]) -> bytes:
    """A tar of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def bert(words: list[str]) -> dict[str, bytes]:
    """The files of a BERT with these words and the letters for a vocabulary, its weights for safetensors."""
    from safetensors.torch import save

    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *words,
        *letters,
        *(f"##{letter}" for letter in letters),
    ]
    config = CONFIG | {"model_type": "bert", "pad_token_id": 0, "vocab_size": len(vocabulary)}
    return {
        "config.json": json.dumps(config).encode(),
        "tokenizer_config.json": json.dumps({"do_lower_case": False, "model_max_length": 10**30}).encode(),
        "vocab.txt": "\n".join(vocabulary).encode(),
        "model.safetensors": save(_weights("bert", config)),
    }


def roberta() -> dict[str, bytes]:
    """The files of a RoBERTa that knows single bytes, its weights as PyTorch pickles them."""
    import torch

    # GPT-2's bytes-to-characters table, which RoBERTa's vocabulary is written in.
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    pieces = [*map(chr, printable), *(chr(256 + i) for i in range(len(others)))]
    vocabulary = {piece: i for i, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", *pieces])}
    config = CONFIG | {"model_type": "roberta", "pad_token_id": 1, "vocab_size": len(vocabulary)}
    weights = io.BytesIO()
    torch.save(_weights("roberta", config), weights)
    return {
        "config.json": json.dumps(config).encode(),
        "vocab.json": json.dumps(vocabulary).encode(),
        "merges.txt": b"#version: 0.2\n",
        "pytorch_model.bin": weights.getvalue(),
    }


def _weights(prefix: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Random weights under the names that Hugging Face's models have."""
    import torch

    generator = torch.Generator().manual_seed(0)
    width, inner = config["hidden_size"], config["intermediate_size"]

    def dense(name: str, rows: int, columns: int) -> dict[str, Any]:
        weight = 0.05 * torch.randn(rows, columns, generator=generator)
        return {f"{name}.weight": weight, f"{name}.bias": torch.zeros(rows)}

    def norm(name: str) -> dict[str, Any]:
        return {f"{name}.weight": torch.ones(width), f"{name}.bias": torch.zeros(width)}

    found = norm("embeddings.LayerNorm")
    for name, rows in (
        ("word", config["vocab_size"]),
        ("position", config["max_position_embeddings"]),
        ("token_type", config["type_vocab_size"]),
    ):
        found[f"embeddings.{name}_embeddings.weight"] = 0.05 * torch.randn(rows, width, generator=generator)
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            found |= dense(f"{layer}.attention.self.{part}", width, width)
        found |= dense(f"{layer}.attention.output.dense", width, width) | norm(
            f"{layer}.attention.output.LayerNorm"
        )
        found |= dense(f"{layer}.intermediate.dense", inner, width)
        found |= dense(f"{layer}.output.dense", width, inner) | norm(f"{layer}.output.LayerNorm")
    found |= dense("pooler.dense", width, width)  # which no token's vector needs
    return {f"{prefix}.{name}": value for name, value in found.items()}
