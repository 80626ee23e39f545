"""A fitted house model -> the file that is packaged: float16, without the embeddings that it shares.

    python benchmarks/house/package.py MODEL_FOLDER NAME

Writes searchd/rerank/models/NAME.safetensors and its sha256 into `searchd/rerank/house.py`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from indexer.weights import house_folder, sha256_of
from searchd.rerank.house import HOUSE_MODELS, SHARED

ROOT = Path(__file__).resolve().parent.parent.parent
HOUSE = ROOT / "searchd" / "rerank" / "house.py"


def main() -> None:
    """Check that shared tensors are the embedder's own to the bit, and write the others."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    assert name in HOUSE_MODELS, f"{HOUSE} names no {name}"
    tensors, embedder = load_file(folder / "model.safetensors"), load_file(house_folder() / "model.safetensors")
    for shared in SHARED:
        assert torch.equal(tensors.pop(f"bert.{shared}").float(), embedder[shared].float()), f"{shared} was changed"
    kept = {key: tensor.to(torch.float16).contiguous() for key, tensor in tensors.items() if "position_ids" not in key}
    path = ROOT / "searchd" / "rerank" / "models" / f"{name}.safetensors"
    save_file(kept, path, {"format": "pt"})
    digest = sha256_of(path)
    noted = re.sub(rf'("{name}": ")[0-9a-f]{{64}}', rf"\g<1>{digest}", HOUSE.read_text(encoding="utf-8"))
    HOUSE.write_text(noted, encoding="utf-8")
    print(f"{path.name}: {len(kept)} tensors, {path.stat().st_size / 1e6:.1f} MB, sha256 {digest}")


if __name__ == "__main__":
    main()
