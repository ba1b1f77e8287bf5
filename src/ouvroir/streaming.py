"""Answers for what goes on now: a model beside a stream, which it never lags behind."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ouvroir.errors import UsageError
from ouvroir.files import without_password
from ouvroir.predictor import answer_of, as_dict
from ouvroir.task import Prediction, Streamer

if TYPE_CHECKING:
    from ouvroir.predictor import Predictor, Threshold

EVERY_S = 0.5


@dataclass(frozen=True)
class Rolling:
    """The answer at `at_s` seconds of a stream, `latency_s` after the newest of what it rests on had come.

    n_dropped: parts of the stream that no answer looked at, since the one before. said: what happened to the stream, if
    anything; then there may be no answer.
    """

    at_s: float
    prediction: Prediction | None
    latency_s: float
    n_dropped: int
    said: str = ""


def rolling(
    predictor: Predictor, address: str, *, every_s: float = EVERY_S, threshold: Threshold | None = None
) -> Iterator[Rolling]:
    """Answers for the newest part of the stream at `address`, at most one every `every_s` seconds of it, until it ends.

    Raises UsageError where the task of the model knows no streams, and what `Streamer.follow` raises.
    """
    task = predictor.task
    if not isinstance(task, Streamer):
        raise UsageError(f"A model of {predictor.recipe.task} cannot follow a stream. Give files.")
    if every_s < 0:
        raise UsageError(f"Seconds between answers must be 0 or more, not {every_s:g}.")
    limit = predictor.checked(threshold)
    with closing(task.follow(address, predictor.processor, every_s=every_s)) as moments:
        for moment in moments:
            if moment.example is None:
                yield Rolling(moment.at_s, None, 0.0, moment.n_dropped, moment.said)
                continue
            (found,) = task.predict(
                predictor.model,
                predictor.processor,
                predictor.recipe,
                [moment.example],
                device=predictor.device,
                threshold=limit,
            )
            latency = time.monotonic() - moment.seen_s
            yield Rolling(moment.at_s, found, latency, moment.n_dropped, moment.said)


def as_line(one: Rolling) -> str:
    """One answer for a person."""
    said = f"  {one.said}" if one.said else ""
    if one.prediction is None:
        return f"{one.at_s:8.1f} s {said}\n"
    best = ", ".join(f"{label} {score:.1%}" for label, score in list(one.prediction.scores.items())[:3])
    missed = f"  {one.n_dropped} dropped" if one.n_dropped else ""
    answer = answer_of(one.prediction)
    return f"{one.at_s:8.1f} s  {answer:<16}  {best}  {1000 * one.latency_s:.0f} ms{missed}{said}\n"


def as_json_line(address: str, one: Rolling) -> str:
    """One answer as a JSON object: as of a file, and `at_s`, `latency_s`, `dropped` and `said`."""
    shown = without_password(address)
    value: dict[str, Any] = {"input": shown} if one.prediction is None else as_dict(shown, one.prediction)
    value |= {"at_s": round(one.at_s, 3), "latency_s": round(one.latency_s, 4), "dropped": one.n_dropped}
    if one.said:
        value["said"] = one.said
    return json.dumps(value, ensure_ascii=False) + "\n"
