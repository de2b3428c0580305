"""Data set cards: source, licence, splits and the sha256 of what the suite computes on. No torch, no numpy."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Literal

#: fields of a card that change no number
TOLD = ("title", "source", "licence", "citation", "needs")


@dataclass(frozen=True)
class Card:
    """What a data set is and where it comes from.

    `sizes` counts samples of the parts as prepared; a validation part is cut from the end of `train` by the configuration.
    `sha256` is of the prepared arrays in their order, `content_sha256` of the samples whatever their order (`data.prepare`);
    one of them is checked, the other is empty where the source does not fix it. Of a text, `sizes` counts tokens where the
    source fixes them, and `classes` is the vocabulary; so it is of sequences, which all have `length` tokens.
    """

    name: str
    title: str
    kind: Literal["images", "latents", "text", "sequences"]
    sizes: dict[str, int]
    source: str
    licence: str
    citation: str
    sha256: str = ""
    content_sha256: str = ""
    image: tuple[int, int, int] = (0, 0, 0)  # channels, height, width
    classes: int = 0
    length: int = 0  # tokens of a sequence
    hops: int = 0  # of a lookup: how many numbers of hops it asks for, from none
    known_law: bool = False  # the probability of every sequence is known
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    needs: str = field(default="", metadata={"doc": "what to do where it is missing"})

    @property
    def identity(self) -> str:
        """sha256 (12 digits) of what changes a number: all but title, source, licence, citation and advice."""
        kept = {key: value for key, value in asdict(self).items() if key not in TOLD}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


TEXT_NEEDS = (
    "run where there is a network, put the archive into a folder of the set's name below DBBENCH_DATA, or, but at scale paper, "
    "put there text/text8_slice.txt.xz, text/wikitext2_{valid,test}.txt.xz and text/tinyshakespeare.txt.xz, which stand in for "
    "it under names of their own"
)

CARDS: dict[str, Card] = {
    card.name: card
    for card in (
        Card(
            name="mnist1d",
            title="MNIST-1D (procedural, 5000 samples, seed 42)",
            kind="images",
            sizes={"train": 4000, "test": 1000},
            source="package mnist1d 0.0.2.post1, make_dataset",
            licence="Apache-2.0",
            citation="Greydanus and Kobak, Scaling down deep learning with MNIST-1D, ICML 2024",
            sha256="8b787f114d5c75c477cdeae0909399cf04332aa4659329114358086159d67e68",
            image=(1, 1, 40),
            classes=10,
            mean=(0.0,),
            std=(1.0,),
        ),
        Card(
            name="digits",
            title="Handwritten digits 8 x 8 (scikit-learn)",
            kind="images",
            sizes={"train": 1197, "test": 600},
            source="scikit-learn, load_digits",
            licence="CC BY 4.0",
            citation="Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI 1998",
            sha256="f27504e2deeea5b528fd7e782c6c639aa4d0287f9b39b1080fd76dc52bac5a0e",
            image=(1, 8, 8),
            classes=10,
            mean=(0.5,),
            std=(0.5,),
        ),
        Card(
            name="three_digits",
            title="Largest of three digits (generated, seed 3, from scikit-learn's digits)",
            kind="images",
            sizes={"train": 20_000, "test": 2_000},
            source="scikit-learn, load_digits; dbbench.data.sources.three_digits",
            licence="CC BY 4.0 (digits)",
            citation="Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI 1998",
            sha256="6d1d5b771efc917bf0a99620ae273b535dc5a6a24d111fcab80daa52b29d86e3",
            image=(1, 10, 30),
            classes=10,
            mean=(0.2,),
            std=(0.34,),
        ),
        Card(
            name="tiny_imagenet",
            title="Tiny-ImageNet",
            kind="images",
            sizes={"train": 100_000, "test": 10_000},
            source="cs231n.stanford.edu/tiny-imagenet-200.zip or $DBBENCH_DATA/tiny_imagenet; its `val` is the test part",
            licence="ImageNet terms of access",
            citation="Le and Yang, Tiny ImageNet visual recognition challenge, CS 231N, Stanford 2015",
            image=(3, 64, 64),
            classes=200,
            mean=(0.4802, 0.4481, 0.3975),
            std=(0.2770, 0.2691, 0.2821),
            needs="run once with a network, or point DBBENCH_DATA at a folder with tiny_imagenet/train and tiny_imagenet/val, "
            "as the archive has them, or with tiny_imagenet/tiny-imagenet-200.zip",
        ),
        Card(
            name="cifar10",
            title="CIFAR-10",
            kind="images",
            sizes={"train": 50000, "test": 10000},
            source="www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz or $DBBENCH_DATA/cifar10/{train,test}.parquet",
            licence="none stated",
            citation="Krizhevsky, Learning multiple layers of features from tiny images, 2009",
            image=(3, 32, 32),
            classes=10,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
            needs="run once with a network, or point DBBENCH_DATA at a folder with "
            "cifar10/train.parquet and cifar10/test.parquet, or cifar10/cifar-10-binary.tar.gz",
        ),
        Card(
            name="imagenet256_latents",
            title="ImageNet at 256 x 256 as latents of sd-vae-ft-ema",
            kind="latents",
            sizes={"train": 1281167, "test": 50000},
            source="$DBBENCH_DATA/imagenet/{train,val}/<class>/* encoded with $DBBENCH_DATA/sd-vae-ft-ema",
            licence="ImageNet terms of access (images); MIT (autoencoder)",
            citation="Russakovsky et al., ImageNet large scale visual recognition challenge, IJCV 2015",
            image=(4, 32, 32),
            classes=1000,
            mean=(0.0,) * 4,
            std=(1.0,) * 4,
            needs="point DBBENCH_DATA at a folder with imagenet/train and imagenet/val (a folder per class) and "
            "sd-vae-ft-ema (its diffusers files), and install the extra: "
            "python -m pip install -c constraints.txt -e '.[latents]'",
        ),
        Card(
            name="cifar100",
            title="CIFAR-100",
            kind="images",
            sizes={"train": 50000, "test": 10000},
            source="www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz or $DBBENCH_DATA/cifar100/{train,test}.parquet",
            licence="none stated",
            citation="Krizhevsky, Learning multiple layers of features from tiny images, 2009",
            content_sha256="ce0fdc2ef1b2379910b9709a5d9ba8b9ab1dca6d7e25e3ca60cfdd5a63e8d75a",
            image=(3, 32, 32),
            classes=100,
            mean=(0.5071, 0.4867, 0.4408),
            std=(0.2675, 0.2565, 0.2761),
            needs="run once with a network, or point DBBENCH_DATA at a folder with "
            "cifar100/train.parquet and cifar100/test.parquet, or cifar100/cifar-100-binary.tar.gz",
        ),
        Card(
            name="cpython",
            title="CPython's help topics and docstrings (a-z and space)",
            kind="text",
            sizes={},
            source="pydoc_data.topics and the standard library of the running CPython",
            licence="PSF-2.0",
            citation="Python Software Foundation, Python documentation",
            classes=27,
        ),
        Card(
            name="cpython_bpe",
            title="CPython's help topics and docstrings (512 byte pairs)",
            kind="text",
            sizes={},
            source="pydoc_data.topics and the standard library of the running CPython",
            licence="PSF-2.0",
            citation="Python Software Foundation, Python documentation",
            classes=512,
        ),
        Card(
            name="comments_bpe",
            title="Comments of CPython's standard library (512 byte pairs)",
            kind="text",
            sizes={},
            source="the standard library of the running CPython",
            licence="PSF-2.0",
            citation="Python Software Foundation, the Python standard library",
            classes=512,
        ),
        Card(
            name="hops",
            title="k-hop lookup (generated, seed 1: cycles of 8 nodes, 0 to 2 hops)",
            kind="sequences",
            sizes={"train": 20_000, "test": 1_000},
            source="dbbench.data.sources.hops",
            licence="MIT (this suite)",
            citation="generated by this suite",
            sha256="26f7d1f3034258c8cc1e0dd01974ebd572ce54b785da79cd5baf12253757b456",
            length=33,
            hops=3,
            classes=41,
        ),
        Card(
            name="markov_copies",
            title="A language of known law (generated, seed 2: order-2 chain with copies from afar)",
            kind="sequences",
            sizes={"train": 20_000, "test": 1_000},
            source="dbbench.data.sources.markov_copies",
            licence="MIT (this suite)",
            citation="generated by this suite",
            sha256="206d21abb6cc5358569d00156fa4650399a5a089e2696f7382815378a8ada0c3",
            length=64,
            known_law=True,
            classes=32,
        ),
        Card(
            name="text8",
            title="text8",
            kind="text",
            sizes={"train": 90_000_000, "validation": 5_000_000, "test": 5_000_000},
            source="mattmahoney.net/dc/text8.zip",
            licence="CC BY-SA (Wikipedia)",
            citation="Mahoney, Large text compression benchmark, 2011",
            classes=27,
            needs=TEXT_NEEDS,
        ),
        Card(
            name="lm1b",
            title="One Billion Word Benchmark (32,000 byte pairs)",
            kind="text",
            sizes={},
            source="statmt.org/lm-benchmark",
            licence="none stated",
            citation="Chelba et al., One billion word benchmark, 2013",
            classes=32_000,
            needs=TEXT_NEEDS,
        ),
        Card(
            name="openwebtext",
            title="OpenWebText (32,000 byte pairs)",
            kind="text",
            sizes={},
            source="zenodo.org/record/3834942",
            licence="CC0 (the collection)",
            citation="Gokaslan and Cohen, OpenWebText corpus, 2019",
            classes=32_000,
            needs=TEXT_NEEDS,
        ),
        # what stands in where there is no network; never under the name of what it stands in for
        Card(
            name="text8_slice",
            title="12 million characters of Wikipedia by text8's recipe (not text8)",
            kind="text",
            sizes={},
            source="$DBBENCH_DATA/text/text8_slice.txt.xz",
            licence="CC BY-SA (Wikipedia)",
            citation="Mahoney, Large text compression benchmark, 2011",
            classes=27,
        ),
        Card(
            name="text8_slice_bpe",
            title="12 million characters of Wikipedia by text8's recipe (32,000 byte pairs; not LM1B)",
            kind="text",
            sizes={},
            source="$DBBENCH_DATA/text/text8_slice.txt.xz",
            licence="CC BY-SA (Wikipedia)",
            citation="Mahoney, Large text compression benchmark, 2011",
            classes=32_000,
        ),
        Card(
            name="wikitext2_shakespeare",
            title="WikiText-2's held-out files and Shakespeare (32,000 byte pairs; not OpenWebText)",
            kind="text",
            sizes={},
            source="$DBBENCH_DATA/text",
            licence="CC BY-SA; public domain",
            citation="Merity et al., Pointer sentinel mixture models, 2017",
            classes=32_000,
        ),
    )
}

#: estimates of the tokens in the training parts of texts whose source does not fix them. LM1B: .8 billion words. OpenWebText:
#: 9.04 billion tokens of GPT-2, some 6 % more with our byte pairs, and 17 of 20 pages
TRAIN_TOKENS = {"lm1b": 0.82e9, "openwebtext": 8.2e9}
#: and in their test parts: 49 of LM1B's 50 held-out files, a hundredth of the corpus; two of OpenWebText's 20 pages
TEST_TOKENS = {"lm1b": 8.0e6, "openwebtext": 9.6e8}
