"""What the fork server imports: everything that a training process needs, so that a fork of it starts at once."""

import gc

import deepspeed
import peft  # noqa: F401
import torch
from transformers.conversion_mapping import get_checkpoint_conversion_mapping
from transformers.models.qwen2 import modeling_qwen2  # noqa: F401

import legalqa.training.trainer
import legalqa.training.worker  # noqa: F401

torch.set_num_threads(1)
deepspeed.ops.__compatible_ops__  # noqa: B018  (looks at the compiler)
get_checkpoint_conversion_mapping("qwen2")
gc.freeze()
