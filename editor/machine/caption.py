"""`python -m editor.machine.caption MODEL PICTURE...`: one line on what the pictures show, by a captioner of the Hub.

Run as a process of its own, which gives its memory back: the page asks for a caption once per clip. Safetensors only,
no code from the Hub. MODEL is a folder or `org/name`, with `@revision` where one is to be fixed.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

WORDS = 30
"""Tokens of a caption at most."""


def caption(model: str, pictures: Sequence[Path]) -> str:
    """The caption of the picture in the middle. Raises what transformers raises for a model that cannot be used."""
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    name, _, revision = model.partition("@")
    fixed = {"revision": revision} if revision else {}
    processor = AutoProcessor.from_pretrained(name, trust_remote_code=False, **fixed)
    network = AutoModelForImageTextToText.from_pretrained(
        name, trust_remote_code=False, use_safetensors=True, **fixed
    ).eval()
    with Image.open(pictures[len(pictures) // 2]) as picture:
        inputs = processor(images=picture.convert("RGB"), return_tensors="pt")
    tokens = network.generate(**inputs, max_new_tokens=WORDS, do_sample=False)
    return " ".join(processor.batch_decode(tokens, skip_special_tokens=True)[0].split())


if __name__ == "__main__":
    from editor.console import quiet_libraries

    quiet_libraries()
    sys.stdout.write(caption(sys.argv[1], [Path(name) for name in sys.argv[2:]]) + "\n")
