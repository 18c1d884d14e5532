"""What lies beside an exported student: a loader that needs no kdbench, and a page about it."""

LOADER = '''"""Classes of an image, by a student that kdbench distilled: python load.py IMAGE

Needs torch, numpy and pillow.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

here = Path(__file__).parent
about = json.loads((here / "model.json").read_text(encoding="utf-8"))
names = about["class_names"] or [f"class {n}" for n in range(about["classes"])]
channels, height, width = (about["input"][key] for key in ("channels", "height", "width"))
model = torch.export.load(here / "model.pt2").module()
image = Image.open(sys.argv[1]).convert("L" if channels == 1 else "RGB").resize((width, height))
values = np.asarray(image, dtype=np.float32).reshape(height, width, channels) / 255
probabilities = model(torch.from_numpy(values).permute(2, 0, 1)[None].contiguous()).softmax(1)[0]
for p, label in zip(*probabilities.topk(min(5, len(probabilities)))):
    print(f"{100 * p:5.1f} %  {names[label]}")
'''

MODEL_CARD = """# {name}

Distilled by kdbench on the suite `{suite}` (method `{method}`, teacher {teacher}, seed {seed}): top-1 {top1:.2f} %,
{parameters:,} parameters, {macs:,} multiply-accumulate operations. {checked}

| file | what |
|---|---|
| `model.pt2` | a program of `torch.export`: pixels (B, C, H, W) in 0 to 1, to logits; normalisation is within |
| `model.safetensors`, `model.pth` | the weights alone, of the architecture `{architecture}`, for normalised images |
| `model.onnx` | where it was asked for: as `model.pt2`, input `pixels`, output `logits` |
| `model.json` | size, normalisation, names of the classes, timm's name and arguments, where it comes from |
| `load.py` | `python load.py IMAGE` |
"""
