"""A word-level tokenizer for new small models: whole words, numbers in two-digit groups, bytes for everything else.

Text → bytes → pieces and back without loss: every byte is a token, so nothing is unknown. A word that is not in
the vocabulary is spelled with the fewest pieces that are in it (`refunded` → ` refund`, `e`, `d`). A number is cut into groups of
two digits, which a small model learns far faster than single digits or longer, rarer groups.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

UNKNOWN, PAD, END = "<|unknown|>", "<|pad|>", "<|end|>"
SYSTEM, USER, ASSISTANT = "<|system|>", "<|user|>", "<|assistant|>"
SPECIAL_TOKENS = (UNKNOWN, PAD, END, SYSTEM, USER, ASSISTANT)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ '<|assistant|>' + message['content'] + '<|end|>' }}"
    "{% else %}{{ '<|' + message['role'] + '|> ' + message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""The space after the role gives a message's first word the same token as a word inside it."""

_PIECE = r" ?\p{L}[\p{L}\p{M}_'’]*| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+(?=\s)|\s"
_WORD_SCORE, _BYTE_SCORE = -1.0, -10.0
"""All words have equal scores: the segmentation with the fewest pieces wins, with bytes only where no piece fits."""


def _splitter() -> pre_tokenizers.PreTokenizer:
    by_piece = pre_tokenizers.Split(Regex(_PIECE), behavior="isolated")
    return pre_tokenizers.Sequence([by_piece, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _number_pieces() -> list[str]:
    digits = [str(number) for number in range(10)] + [f"{number:02d}" for number in range(100)]
    space = "Ġ"  # how ByteLevel writes a blank
    return [prefix + group for prefix in ("", space) for group in digits]


def train_word_tokenizer(text: Iterable[str], *, vocabulary: int) -> Tokenizer:
    """Takes the most common words in `text` until there are `vocabulary` tokens; special tokens, bytes and number groups come first.

    Equal texts give equal tokenizers. ValueError if `vocabulary` is below the roughly 480 that are always included.
    """
    splitter = _splitter()
    counts = Counter(piece for sample in text for piece in _pieces(sample, splitter))
    always = [*SPECIAL_TOKENS, *sorted(pre_tokenizers.ByteLevel.alphabet()), *_number_pieces()]
    pieces = dict.fromkeys(always)
    if vocabulary < len(pieces):
        raise ValueError(f"a vocabulary of {vocabulary} is too small: {len(pieces)} tokens are always included")
    for piece, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if len(pieces) >= vocabulary:
            break
        pieces.setdefault(piece)
    return _assemble(list(pieces), splitter)


def _pieces(sample: str, splitter: pre_tokenizers.PreTokenizer) -> Iterator[str]:
    """A sample's pieces as in a question, with a leading blank, and its first piece as in an answer, without one."""
    for text, most in ((sample, 1), (f" {sample}", None)):
        yield from (piece for piece, _ in splitter.pre_tokenize_str(text)[:most])


def _assemble(pieces: list[str], splitter: pre_tokenizers.PreTokenizer) -> Tokenizer:
    scored = [(piece, _WORD_SCORE if len(piece) > 1 else _BYTE_SCORE) for piece in pieces]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return tokenizer
