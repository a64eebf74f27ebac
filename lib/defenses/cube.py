"""CUBE (Cui et al. 2022, arXiv 2206.08514): poisoned rows form a cluster of their own; keep the largest of each label."""

# Where the released code (OpenBackdoor, `cube_defender.py`) and ours differ:
# - It reduces 20 principal components to 2 dimensions by UMAP before it clusters; ours clusters the 20. UMAP would bring a
#   compiler (numba) into every installation. In 20 dimensions more rows are noise, which counts as a cluster here and there.
# - `min_samples` is 100 in the code, which small sets do not have in any cluster; ours is n / 50, at least 5 and at most 100.
# - The clusters are scikit-learn's, whose `min_samples` counts the row itself, those of the package `hdbscan` do not.
# - The encoder is another one there, trained for 10 epochs; here it is the study's own model without a defense.
# - The code keeps the first of several largest clusters, and another with half of the label's rows, which is one of two that
#   share them. Ours keeps all that are largest, so that the names of clusters do not matter.

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.defenses.suspicious_encoder import load_encoder, text_vectors
from lib.models.prediction import encode
from lib.profiles import TrainingSettings

SEED = 42  # of the principal components, as released
N_SMALLEST, N_LARGEST = 5, 100  # bounds of `min_samples`


def cube(
    train: pd.DataFrame,
    *,
    suspicious_model: str,
    training: TrainingSettings,
    n_components: int = 20,
    min_samples: int = 0,
    min_cluster_size: int = 5,
) -> np.ndarray:
    """Which rows lie in the largest cluster of their label, in the vectors of a model trained on all of them.

    Args:
        train: the suspicious training rows, with `text`, perhaps `text_pair`, and `label`.
        suspicious_model: folder of the model that was fine-tuned on all of the rows.
        training: how it was.
        n_components: principal components that are clustered; where there are fewer, all.
        min_samples: neighbours of a dense row, itself one of them; 0: n / 50, at least 5 and at most 100.
        min_cluster_size: rows of a cluster.

    Returns:
        bool, shape (n,): the rows to train on.

    Raises:
        ValueError: for a number that is too small, or rows of one label alone.
    """
    if n_components < 1 or min_samples < 0 or min_cluster_size < 2:
        raise ValueError(
            f"n_components is {n_components}, min_samples {min_samples}, min_cluster_size {min_cluster_size}; "
            "they must be at least 1, 0 and 2"
        )
    if train["label"].nunique() < 2:
        raise ValueError(f"the training rows have labels {sorted(set(train['label']))}; at least two are needed")
    model, tokenizer = load_encoder(suspicious_model)
    vectors = text_vectors(model, encode(tokenizer, train, training.max_length), "pooled")
    return in_largest_cluster(train["label"].to_numpy(), clusters_of(vectors, n_components, min_samples, min_cluster_size))


def clusters_of(vectors: np.ndarray, n_components: int = 20, min_samples: int = 0, min_cluster_size: int = 5) -> np.ndarray:
    """HDBSCAN's clusters of the principal components, whole numbers, shape (n,); -1 is noise.

    Args:
        vectors: shape (n, width).
        n_components, min_samples, min_cluster_size: as for `cube`.
    """
    from sklearn.cluster import HDBSCAN
    from sklearn.decomposition import PCA

    components = PCA(min(n_components, *vectors.shape), random_state=SEED).fit_transform(vectors)
    n_neighbours = min_samples or min(N_LARGEST, max(N_SMALLEST, len(vectors) // 50))
    return HDBSCAN(min_cluster_size=min_cluster_size, min_samples=n_neighbours, copy=True).fit_predict(components)


def in_largest_cluster(labels: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Which rows lie in their label's largest cluster, or in one of several that are as large, bool, shape (n,).

    Noise is a cluster like any other, as in the released code.

    Args:
        labels: class ids, shape (n,).
        clusters: shape (n,).

    >>> in_largest_cluster(np.array([0, 0, 0, 1, 1]), np.array([7, 7, 8, 8, -1]))
    array([ True,  True, False,  True,  True])
    """
    rows = pd.DataFrame({"label": labels, "cluster": clusters})
    size = rows.groupby(["label", "cluster"])["cluster"].transform("size")
    return (size == size.groupby(rows["label"]).transform("max")).to_numpy()
