"""ChatGLM3's SentencePiece model -> a fast tokenizer that gives the same ids."""

from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers.utils import sentencepiece_model_pb2_new as sentencepiece

from legalqa.files import write_json
from legalqa.problems import Problem, UserError

# The original's code numbers them behind the pieces, in this order.
SPECIAL_TOKENS = (
    *("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
)
BLANK = "▁"  # SentencePiece writes blanks so


def write(path: Path, folder: Path) -> Tokenizer:
    """Write tokenizer.json and tokenizer_config.json. Raises UserError when ``path`` is no BPE model of SentencePiece."""
    tokenizer = _fast(_read(path))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<unk>"}
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, "padding_side": "left", **names},
    )
    return tokenizer


def _read(path: Path) -> Any:
    model = sentencepiece.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise UserError(Problem(str(path), f"no SentencePiece model ({error})", fix="download it again")) from None
    spec, trained = model.normalizer_spec, model.trainer_spec
    kind = (trained.model_type, trained.byte_fallback, spec.name, spec.add_dummy_prefix, spec.remove_extra_whitespaces)
    if kind != (trained.BPE, True, "identity", True, False):
        raise UserError(Problem(str(path), "another kind of SentencePiece model", "the BPE model of ChatGLM3"))
    return model


def _fast(model: Any) -> Tokenizer:
    """BPE over the pieces: SentencePiece joins the neighbours whose joint piece scores highest, merges say it by rank."""
    ids = {piece.piece: number for number, piece in enumerate(model.pieces)}
    normal = {piece.piece: piece.score for piece in model.pieces if piece.type == piece.NORMAL}
    ranked: list[tuple[float, int, int, str, str]] = []
    for word, score in normal.items():
        for cut in range(1, len(word)):
            left, right = word[:cut], word[cut:]
            if left in normal and right in normal:
                ranked.append((-score, ids[left], ids[right], left, right))
    merges = [(left, right) for *_, left, right in sorted(ranked)]
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(BLANK), normalizers.Replace(" ", BLANK)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    control = [piece.piece for piece in model.pieces if piece.type in (piece.UNKNOWN, piece.CONTROL)]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in (*control, *SPECIAL_TOKENS)])
    return tokenizer
