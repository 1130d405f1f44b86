#!/usr/bin/env python3
"""Pre-train the tiny Phi-3 of the quickstart from scratch, tokenizer included.

usage: python3 scripts/pretrain-tiny-phi3.py [--out model-cache/tiny-phi3] [--steps N]
needs: torch, transformers, tokenizers, safetensors

Reads datasets/pretrain/*.txt and writes a Hugging Face folder in bfloat16, with its model card. One thread and a fixed
seed: the same machine and versions give the same file. Every 20th paragraph is held out to measure the loss.
"""
import argparse
import json
import math
import pathlib
import random
import time

import tokenizers
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Phi3Config, Phi3ForCausalLM

ROOT = pathlib.Path(__file__).resolve().parent.parent
SPECIAL = ["<|endoftext|>", "<s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
CHAT_TEMPLATE = (
    "{{ bos_token + ' ' }}{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
SEED = 1
GEOMETRY = dict(
    hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=4,
    max_position_embeddings=1024, original_max_position_embeddings=1024, rms_norm_eps=1e-5, initializer_range=0.04,
    attention_dropout=0.0, embd_pdrop=0.0, resid_pdrop=0.0, sliding_window=None, tie_word_embeddings=False,
)
VOCAB, BLOCK, BATCH, PEAK_LR, WARMUP, WEIGHT_DECAY = 1792, 256, 8, 3e-3, 40, 0.1


def train_tokenizer(paragraphs):
    """Byte-level BPE: every text has an encoding, and no merge crosses a word."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    for special in SPECIAL:  # The markers of the chat format are not text to learn merges from.
        paragraphs = [p.replace(special, "\n") for p in paragraphs]
    tok.train_from_iterator(paragraphs, trainer)
    return tok


def render(paragraph, rng):
    """One training document. Chats vary in the white space that templates put around the answer's end."""
    if paragraph.startswith("<|user|>"):
        body = paragraph.replace("<|end|>", rng.choice(["<|end|>", "\n<|end|>"]) if rng else "<|end|>")
        # Only the answer may end with a line break.
        body = body.replace("\n<|end|>\n<|assistant|>", "<|end|>\n<|assistant|>")
        # Olive writes "{bos} {text} {eos}", with these spaces.
        return "<s> " + body + (rng.choice([" <|endoftext|>", "\n<|endoftext|>"]) if rng else " <|endoftext|>")
    return "<s>" + paragraph + "<|endoftext|>"


def blocks(paragraphs, tok, rng):
    """Endless batches of token ids, [BATCH, BLOCK]; each epoch in a new order."""
    stream = []
    while True:
        order = paragraphs[:]
        rng.shuffle(order)
        for p in order:
            stream += tok.encode(render(p, rng)).ids
            if len(stream) >= BATCH * BLOCK:
                yield torch.tensor(stream[: BATCH * BLOCK]).view(BATCH, BLOCK)
                stream = stream[BATCH * BLOCK :]


@torch.no_grad()
def evaluate(model, paragraphs, tok):
    model.eval()
    total, count = 0.0, 0
    for p in paragraphs:
        ids = torch.tensor([tok.encode(render(p, None)).ids])
        total += model(input_ids=ids, labels=ids).loss.item() * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    model.train()
    return total / count


def write_tokenizer(tok, out):
    tok.save(str(out / "tokenizer.json"), pretty=False)
    added = {str(i): dict(content=t, lstrip=False, normalized=False, rstrip=False, single_word=False, special=True) for i, t in enumerate(SPECIAL)}
    config = dict(added_tokens_decoder=added, add_bos_token=False, add_eos_token=False, add_prefix_space=False, bos_token="<s>", eos_token="<|endoftext|>",
                  pad_token="<|endoftext|>", unk_token=None, clean_up_tokenization_spaces=False, model_max_length=GEOMETRY["max_position_embeddings"], tokenizer_class="GPT2Tokenizer")
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (out / "chat_template.jinja").write_text(CHAT_TEMPLATE)


CARD = """---
license: mit
library_name: transformers
pipeline_tag: text-generation
language: en
tags: [phi3, tiny]
---

# tiny-phi3

A Phi-3 architecture with {params:,} parameters, pre-trained from scratch for the quickstart of this project: small enough to
be committed, real enough that fine-tuning it changes its answers.

| | |
|---|---|
| architecture | `Phi3ForCausalLM`: hidden {hidden_size}, {num_hidden_layers} layers, {num_attention_heads} heads of {head_dim}, MLP {intermediate_size}, context {max_position_embeddings}, untied head |
| tokenizer | byte-level BPE, {vocab} entries, trained on the same text; `<|user|>`, `<|assistant|>`, `<|end|>` as in Phi-3 |
| weights | bfloat16, `model.safetensors` |
| training text | `datasets/pretrain/*.txt` of this repository: {tokens:,} tokens, {paragraphs:,} paragraphs of simple English, written by `scripts/make-pretrain-text.py` |
| training | {steps} steps of {batch} x {block} tokens, AdamW (peak {lr}, cosine, weight decay {decay}), {seconds:.0f} s on one CPU thread |
| loss | {train:.3f} on the last 50 steps, {held:.3f} on the {held_out} paragraphs held out (bfloat16 weights; {start:.3f} before training) |

## Use

It writes short sentences about animals, plants, tools, trades, countries and the calendar, and knows the chat format

```
<|user|>
What does a baker do?<|end|>
<|assistant|>
The baker bakes bread and cakes.<|end|>
```

It is meant for trying out and testing a pipeline (fine-tune, merge, quantise, run). It has never seen the questions of
`datasets/olive-qa.jsonl`.

## Limits

It knows nothing but its training text, makes up the rest, and must not be used to answer anything in earnest. English only.

## Reproduce

```
python3 scripts/make-pretrain-text.py
python3 scripts/pretrain-tiny-phi3.py
```

torch {torch}, transformers {transformers}, tokenizers {tokenizers}, seed {seed}. Other versions or processors may round differently.
"""


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--out", type=pathlib.Path, default=ROOT / "model-cache/tiny-phi3")
    args.add_argument("--steps", type=int, default=650)
    args = args.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    args.out.mkdir(parents=True, exist_ok=True)

    text = [(ROOT / f"datasets/pretrain/{n}.txt").read_text().strip().split("\n\n") for n in ("facts", "stories", "questions")]
    paragraphs = [p for part in text for p in part]
    tok = train_tokenizer(paragraphs)
    held_out = paragraphs[::20]
    kept = [p for i, p in enumerate(paragraphs) if i % 20]
    tokens = sum(len(tok.encode(render(p, None)).ids) for p in paragraphs)

    ids = {t: tok.token_to_id(t) for t in SPECIAL}
    special_ids = dict(bos_token_id=ids["<s>"], eos_token_id=ids["<|endoftext|>"], pad_token_id=ids["<|endoftext|>"])
    config = Phi3Config(vocab_size=tok.get_vocab_size(), **GEOMETRY, **special_ids)
    model = Phi3ForCausalLM(config)
    params = sum(p.numel() for p in model.parameters())
    print(f"{params:,} parameters, {tokens:,} tokens in {len(paragraphs)} paragraphs, vocabulary {tok.get_vocab_size()}", flush=True)

    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([dict(params=decay, weight_decay=WEIGHT_DECAY), dict(params=rest, weight_decay=0.0)], lr=PEAK_LR, betas=(0.9, 0.95))
    start = evaluate(model, held_out, tok)
    began, losses, model_rng = time.time(), [], random.Random(SEED)
    for step, batch in zip(range(args.steps), blocks(kept, tok, model_rng)):
        lr = PEAK_LR * min(1.0, (step + 1) / WARMUP) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / args.steps)))
        for group in optimizer.param_groups:
            group["lr"] = lr
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if (step + 1) % 50 == 0:
            print(f"step {step + 1:5}  loss {sum(losses[-50:]) / 50:.4f}  held out {evaluate(model, held_out, tok):.4f}  {time.time() - began:6.1f} s", flush=True)

    model = model.to(torch.bfloat16)
    model.config.dtype = torch.bfloat16
    model.generation_config = transformers.GenerationConfig(bos_token_id=ids["<s>"], eos_token_id=[ids["<|endoftext|>"], ids["<|end|>"]], pad_token_id=ids["<|endoftext|>"])
    model.save_pretrained(args.out)
    write_tokenizer(tok, args.out)
    rounded = Phi3ForCausalLM.from_pretrained(args.out, dtype=torch.float32)
    held = evaluate(rounded, held_out, tok)
    card = CARD.format(params=params, head_dim=GEOMETRY["hidden_size"] // GEOMETRY["num_attention_heads"], vocab=tok.get_vocab_size(), tokens=tokens, paragraphs=len(paragraphs), steps=args.steps,
                       batch=BATCH, block=BLOCK, lr=PEAK_LR, decay=WEIGHT_DECAY, seconds=time.time() - began, train=sum(losses[-50:]) / len(losses[-50:]), held=held, held_out=len(held_out), start=start,
                       torch=torch.__version__.split("+")[0], transformers=transformers.__version__, tokenizers=tokenizers.__version__, seed=SEED, **GEOMETRY)
    (args.out / "README.md").write_text(card)
    size = sum(f.stat().st_size for f in args.out.iterdir())
    print(f"{args.out}: {size / 1e6:.2f} MB, held-out loss {held:.4f} in bfloat16")


if __name__ == "__main__":
    main()
