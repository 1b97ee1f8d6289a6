# SPDX-License-Identifier: MIT
"""OPTICAL as a loss of sentence-transformers 6: its MultiVectorEncoder learns from sentence pairs.

    PYTHONPATH=. python examples/sentence_transformers_loss.py TEACHER pairs.tsv OUT

TEACHER: a folder of Encoder.save or a MultiVectorEncoder; pairs: English<TAB>translation. Needs: ot.py,
sentence-transformers[train]>=6.2.
"""
import copy
import sys

import torch
from datasets import Dataset
from sentence_transformers import (MultiVectorEncoder, MultiVectorEncoderTrainer,
                                   MultiVectorEncoderTrainingArguments)

import ot


class OpticalLoss(torch.nn.Module):
    """<P, C> of (translation, English): C the cosine costs of student and teacher tokens, P the plan."""

    def __init__(self, model, teacher, epsilon=0.05):
        super().__init__()
        self.model, self.teacher, self.epsilon = model, teacher.eval().requires_grad_(False), epsilon

    def forward(self, features, labels=None):
        s, t = (encoder(dict(f), task="query") for encoder, f in zip((self.model, self.teacher), features))
        masks = t["attention_mask"].bool(), s["attention_mask"].bool()                   # (B, N), (B, M)
        C = ot.cosine_cost(t["token_embeddings"], s["token_embeddings"])                 # (B, N, M)
        unit = C.detach()[masks[0][:, :, None] & masks[1][:, None]].std(correction=0)    # of epsilon
        a, b = map(ot.uniform_marginal, masks)
        plan = ot.sinkhorn(C.detach() / unit, a, b, self.epsilon, max_iter=100, tol=1e-4, warn=False).plan
        return ot.transport_loss(C, plan).mean()


def main(teacher, pairs, out, steps=400, lr=1e-4):
    teacher = MultiVectorEncoder(teacher)
    student, rows = copy.deepcopy(teacher), [r.strip().split("\t") for r in open(pairs, encoding="utf-8")]
    data = Dataset.from_dict({"x": [x for _, x in rows], "e": [e for e, _ in rows]})
    args = MultiVectorEncoderTrainingArguments(
        out, max_steps=int(steps), per_device_train_batch_size=32, learning_rate=float(lr), report_to="none",
        router_mapping={"x": "query", "e": "query"}, prompts=teacher.prompts["query"], save_strategy="no")
    MultiVectorEncoderTrainer(student, args, data, loss=OpticalLoss(student, teacher)).train()
    student.save_pretrained(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
