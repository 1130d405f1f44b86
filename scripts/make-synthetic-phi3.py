#!/usr/bin/env python3
"""Writes a checkpoint with Phi-3-mini's exact geometry and random weights: 3.8 billion parameters, bf16, two shards.

usage: make-synthetic-phi3.py OUT_DIR TOKENIZER_DIR [--layers 32]

For measuring what a real model costs; it says nothing sensible. Needs numpy and 7.7 GB of disk. TOKENIZER_DIR holds
Phi-3's tokenizer.json and its side files.
"""
import argparse
import json
import pathlib
import shutil
import struct

import numpy

HIDDEN, INNER, VOCAB = 3072, 8192, 32064
SHARD = 5_000_000_000
CHUNK = 1 << 22

CONFIG = {
    "architectures": ["Phi3ForCausalLM"],
    "model_type": "phi3",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 32000,
    "pad_token_id": 32000,
    "embd_pdrop": 0.0,
    "resid_pdrop": 0.0,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "initializer_range": 0.02,
    "intermediate_size": INNER,
    "max_position_embeddings": 4096,
    "original_max_position_embeddings": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "sliding_window": 2047,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": VOCAB,
}


def tensors(layers):
    """Names and shapes in the order of the model."""
    yield "model.embed_tokens.weight", (VOCAB, HIDDEN)
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (HIDDEN,)
        yield prefix + "self_attn.qkv_proj.weight", (3 * HIDDEN, HIDDEN)
        yield prefix + "self_attn.o_proj.weight", (HIDDEN, HIDDEN)
        yield prefix + "post_attention_layernorm.weight", (HIDDEN,)
        yield prefix + "mlp.gate_up_proj.weight", (2 * INNER, HIDDEN)
        yield prefix + "mlp.down_proj.weight", (HIDDEN, INNER)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCAB, HIDDEN)


def write_shard(path, entries, random):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in entries:
        size = 2 * int(numpy.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in entries:
            count = int(numpy.prod(shape))
            for start in range(0, count, CHUNK):
                n = min(CHUNK, count - start)
                if len(shape) == 1:
                    values = numpy.ones(n, dtype=numpy.float32)
                else:
                    values = random.standard_normal(n, dtype=numpy.float32) * numpy.float32(0.02)
                file.write((values.view(numpy.uint32) >> 16).astype("<u2").tobytes())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("tokenizer", type=pathlib.Path)
    parser.add_argument("--layers", type=int, default=32)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    shards, size = [[]], 0
    for name, shape in tensors(arguments.layers):
        count = 2 * int(numpy.prod(shape))
        if size + count > SHARD:
            shards.append([])
            size = 0
        shards[-1].append((name, shape))
        size += count
    random = numpy.random.default_rng(0)
    weight_map, total = {}, 0
    for index, entries in enumerate(shards):
        name = f"model-{index + 1:05}-of-{len(shards):05}.safetensors"
        write_shard(arguments.out / name, entries, random)
        for tensor, shape in entries:
            weight_map[tensor] = name
            total += 2 * int(numpy.prod(shape))
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (arguments.out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    config = CONFIG | {"num_hidden_layers": arguments.layers}
    (arguments.out / "config.json").write_text(json.dumps(config, indent=2))
    generation = {"bos_token_id": 1, "eos_token_id": [32000, 32007], "pad_token_id": 32000}
    (arguments.out / "generation_config.json").write_text(json.dumps(generation, indent=2))
    for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"]:
        if (arguments.tokenizer / name).is_file():
            shutil.copyfile(arguments.tokenizer / name, arguments.out / name)


if __name__ == "__main__":
    main()
