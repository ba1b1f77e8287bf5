"""Synthetic data and trials made for tests: complete values as assessment and trials leave them."""

from ouvroir.evaluation.report import Synthesis

REASONS = ("copy", "label", "too_strange", "too_typical", "off_manifold", "held_out", "of_class", "elsewhere")
GAINS = {  # of a verdict: value, low, high, p of sign flips
    "admitted": (0.0131, 0.0052, 0.0208, 0.0039),
    "rejected": (0.0021, -0.0041, 0.0082, 0.3012),
    "harmful": (-0.0118, -0.0190, -0.0044, 0.0059),
    "unreliable": (0.0098, 0.0012, 0.0184, 0.0312),
}


def estimate(value, low, high, *, n_seeds=10, n_items=941):
    return {
        "value": value, "low": low, "high": high, "p_value": 0.04, "smallest": 1.43 * (high - low) / 2,
        "n_seeds": n_seeds, "n_items": n_items,
    }  # fmt: skip


def spread(value, n=10, by=0.006):
    return [value + by * ((7 * k % n) / n - 0.45) for k in range(n)]


def trial(verdict="rejected", *, metric="accuracy", labels=("cat", "dog"), losers=()):
    value, low, high, flip_p = GAINS[verdict]
    arm = {
        "sentence": "25 % of each batch are new samples.", "verdict": verdict, "gain": estimate(value, low, high),
        "flip_p": flip_p, "losers": list(losers), "differences": spread(value),
        "by_class": {label: estimate(value + 0.003 * k, low, high) for k, label in enumerate(labels)},
    }  # fmt: skip
    other = {
        "sentence": "25 % of each batch are mixtures of two rows of a class, or rows once more.", "verdict": "rejected",
        "gain": estimate(-0.001, -0.0062, 0.0042), "flip_p": 0.71, "losers": [], "differences": spread(-0.001), "by_class": {},
    }  # fmt: skip
    same = estimate(0.0071, 0.0021, 0.0121) if verdict == "unreliable" else estimate(0.0004, -0.0035, 0.0043)
    return {
        "name": "synthetic", "n_items": 941, "n_seeds": 10, "steps": 600, "metric": metric,
        "cut": ["6 seeds instead of 10, for lack of time."], "ordinary": {"means": spread(0.921)}, "same": same,
        "arms": {"synthetic": arm, "interpolation": other}, "chief": "synthetic",
    }  # fmt: skip


def constants():
    given = {"phi": (-0.0012, -0.0051, 0.0027), "pi": (0.0031, -0.0012, 0.0074), "alpha": (0.0019, -0.0014, 0.0052)}
    effects = {name: {**estimate(*ends), "verdict": "rejected"} for name, ends in given.items()}
    effects["zeta"] = {**estimate(0.0004, -0.0031, 0.0039), "verdict": "rejected"}
    return {
        "name": "constants", "n_items": 941, "n_seeds": 8, "steps": 600, "cut": [], "metric": "accuracy",
        "ordinary": {"means": spread(0.92, 8)}, "same": None, "arms": {}, "chief": None, "effects": effects,
    }  # fmt: skip


def augmentation(name="augmentation", arm="no augmentation"):
    made = trial("harmful")
    return {**made, "name": name, "arms": {arm: made["arms"]["synthetic"]}, "chief": arm, "cut": []}


def assessment(labels=("cat", "dog"), *, n=4, nearest=None):
    samples = [
        {
            "id": f"{label}/0_{k:05d}.png", "label": label, "right": 0.98 - 0.1 * (k >= n), "likeness": 0.53 + 0.01 * k,
            "copy_ratio": 0.8, "realism": 0.45, "weight": 1.1, "reason": REASONS[k % 6] if k >= n else "",
            "nearest": nearest(label, k) if nearest else f"{label}/img{k}.png",
        }
        for label in labels
        for k in range(n + 2)
    ]  # fmt: skip
    return {
        "generator": {
            "task": "image-generation", "steps": 800, "seconds": 61.2, "loss_train": 0.35, "loss_held_out": 0.4, "seed": 0,
        },
        "features": "Classifiers of the same kind as the model, each trained on the other half of the train rows.",
        "n_made": 500, "n_kept": 430,
        "refused": {"copy": 12, "label": 30, "too_strange": 10, "too_typical": 8, "off_manifold": 10, "held_out": 0},
        "likeness": {"noise": 0.1, "real": 0.55, "made": 0.54},
        "set": {
            "n": 200, "precision": 0.9, "recall": 0.8, "density": 1.0, "coverage": 0.85, "kernel_distance": 0.012,
            "kernel_distance_real": 0.001, "told_apart": {"value": 0.61, "low": 0.55, "high": 0.67, "p_value": 0.001},
            "copy_ratio": 0.82, "copy_ratio_real": 0.85,
            "real": {"precision": 0.97, "recall": 0.96, "density": 1.02, "coverage": 0.95},
        },
        "made_for_real": {label: None if k == 1 else 0.91 - 0.05 * (k % 4) for k, label in enumerate(labels)},
        "real_for_real": dict.fromkeys(labels, 0.95),
        "samples": samples,
    }  # fmt: skip


def synthesis(verdict="rejected", *, labels=("cat", "dog"), show=None, show_real=None, **changed):
    given = {
        "assessment": assessment(labels),
        "trials": {
            "synthetic": trial(verdict, labels=labels),
            "constants": constants(),
            "augmentation": augmentation(),
        },
        "show": show,
        "show_real": show_real or show,
        "said": ["No samples were admitted: what is trained learns from real data alone."]
        if verdict != "admitted"
        else [],
    }
    return Synthesis(**{**given, **changed})
