"""Random numbers as a pure function of (seed, step, name, place of the row in the global batch).

No generator is carried along, so a resumed run, another grouping into micro-batches and another number of processes
draw the same numbers for the same row. The numbers come from a 64-bit mixing function applied to a counter
(SplitMix64; Steele, Lea, Flood 2014, figure 15) with whole-number arithmetic, so a CPU and a GPU agree to the bit.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def _signed(value: int) -> int:
    value &= 0xFFFFFFFFFFFFFFFF
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)
_LINE_BITS = 24  # numbers of one line are so many, as a power of 2


def mix(value: int) -> int:
    """SplitMix64 of one unsigned 64-bit number, in plain Python."""
    value = (value + _GOLDEN) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return value ^ (value >> 31)


def key(*parts: int | str) -> int:
    """One unsigned 64-bit number from seeds, steps and names."""
    state = 0
    for part in parts:
        number = zlib.crc32(part.encode()) if isinstance(part, str) else part
        state = mix(state ^ (number & 0xFFFFFFFFFFFFFFFF))
    return state


def _mix_tensor(counter: Tensor) -> Tensor:
    """SplitMix64 of each element of an int64 tensor, in place; shifts are made logical by masks."""
    counter.bitwise_xor_((counter >> 30) & ((1 << 34) - 1)).mul_(_FIRST)
    counter.bitwise_xor_((counter >> 27) & ((1 << 37) - 1)).mul_(_SECOND)
    return counter.bitwise_xor_((counter >> 31) & ((1 << 33) - 1))


class Rng:
    """The numbers of one (micro-)batch.

    `places`: (B,) int64, places of the rows in the global batch, on the device the numbers are wanted on.
    `shard_size`: rows per virtual shard; `partner` never leaves one. `first`: places[0], where the caller knows it:
    reading it back from a GPU would make the GPU wait.
    """

    def __init__(
        self, seed: int, step: int, places: Tensor, *, shard_size: int | None = None, first: int | None = None
    ) -> None:
        self.seed = seed
        self.step = step
        self.places = places
        self.shard_size = shard_size or max(1, len(places))
        self._first = first

    def _bits(self, name: str, shape: tuple[int, ...]) -> Tensor:
        per_row = math.prod(shape)
        base = key(self.seed, self.step, name)
        counter = self.places[:, None] * per_row + torch.arange(per_row, device=self.places.device)
        counter = counter.mul_(_signed(_GOLDEN)).add_(_signed(base))
        return _mix_tensor(counter).view(len(self.places), *shape)

    def uniform(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        """(B, *shape) float32 in [0, 1), 24 random bits each."""
        return ((self._bits(name, shape) >> 40) & 0xFFFFFF).float().mul_(1 / (1 << 24))

    def along(self, name: str, n: int) -> Tensor:
        """(B, n) float32 in [0, 1): the first n of an endless line of numbers for each row, so that a wider batch changes none."""
        places = torch.arange(n, device=self.places.device)
        counter = (self.places[:, None] << _LINE_BITS) + places
        counter = counter.mul_(_signed(_GOLDEN)).add_(_signed(key(self.seed, self.step, name)))
        return ((_mix_tensor(counter) >> 40) & 0xFFFFFF).float().mul_(1 / (1 << 24))

    def normal(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        """(B, *shape) float32 from the standard normal distribution (Box-Muller)."""
        bits = self._bits(name, shape)
        first = (((bits >> 40) & 0xFFFFFF).float() + 1).mul_(1 / (1 << 24))  # in (0, 1]: the logarithm is finite
        second = ((bits >> 8) & 0xFFFFFF).float().mul_(2 * math.pi / (1 << 24))
        return (-2 * first.log()).sqrt() * second.cos()

    def spread(self, name: str, ratio: float) -> Tensor:
        """(B,) float32 in [0, 1): frac(place · ratio + a) with a drawn for the step: evenly spread for a ratio like 1/φ."""
        shift = (key(self.seed, self.step, name) >> 40) / (1 << 24)
        return (self.places.float() * ratio + shift).frac()

    def keep_mask(self, name: str, shape: tuple[int, ...], drop: float) -> Tensor:
        """(B, *shape) float32 for dropout: 0 with probability `drop`, else 1 / (1 - drop)."""
        return (self.uniform(name, shape) >= drop).float().div_(1 - drop)

    def partner(self, name: str) -> Tensor:
        """(B,) int64: for each row of this batch the place in this batch of another row of the same virtual shard.

        Needs whole virtual shards in the batch, which the loop sees to; a shard of one row is its own partner.
        """
        size = self.shard_size
        place = torch.arange(len(self.places), device=self.places.device)
        if size < 2:
            return place
        bits = self._bits(name, ())
        first = place - self.places % size  # place in this batch of the first row of the shard
        # one turn per shard, read at the shard's first row; a last shard may be short when evaluating odd batches
        turn = 1 + ((bits[first.clamp_min(0)] >> 33) & 0x3FFFFFFF) % (size - 1)
        partner = first + (self.places % size + turn) % size
        return torch.where((partner >= 0) & (partner < len(place)), partner, place)

    def torch_seed(self) -> int:
        """A seed for torch's own generator, for modules that draw from it (`nn.Dropout`); one per virtual shard and step."""
        first = self._first
        if first is None:
            first = int(self.places[0]) if len(self.places) else 0
        return key(self.seed, self.step, "torch", first // self.shard_size) >> 1
