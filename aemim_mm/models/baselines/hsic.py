"""How much two descriptions of the same images depend on each other: a kernel estimate."""

import torch


def normalized_hsic(
    first: torch.Tensor, second: torch.Tensor, sigma: float = 5.0, epsilon: float = 1e-5
) -> torch.Tensor:
    """Compute the normalised Hilbert-Schmidt independence criterion (HSIC) of two descriptions of m images.

    With the Gram matrix ``G``, ``G_ij = exp(-|a_i - a_j|^2 / (2 sigma^2 d))``, its centred form ``K = H G H``,
    ``H = I - 1/m``, and ``R = K (K + epsilon m I)^-1`` of each, it is the trace of ``R_first R_second``. It is computed
    in float32, also under autocast. The eigenvalues of ``K`` are >= 0, so the inverse exists.

    Args:
        first, second: (m, d), each with its own d.
        sigma: Width of the kernel, > 0.
        epsilon: Regularisation, > 0.

    Returns:
        A scalar from 0 to m - 1.

    Source: HSIC bottleneck, arXiv 1908.01580, section 2; Fukumizu et al., NeurIPS 2007, "Kernel measures of conditional
        dependence".
    """
    with torch.autocast(first.device.type, enabled=False):
        ratios = [_ratio(each.float(), sigma, epsilon) for each in (first, second)]
        return (ratios[0] * ratios[1].T).sum()


def _ratio(rows, sigma, epsilon):
    count, width = rows.shape
    rows = rows - rows.mean(dim=0)  # Changes no distance, and rounds less.
    squares = rows.square().sum(dim=1)
    distances = (squares[:, None] - 2 * rows @ rows.T + squares[None]).clamp(min=0)
    # Centring removes a constant from all entries, so 1 is subtracted first: near it, float32 is coarse.
    gram = torch.expm1(-distances / (2 * sigma**2 * width))
    gram = gram - gram.mean(dim=1, keepdim=True)
    gram = gram - gram.mean(dim=0, keepdim=True)
    identity = torch.eye(count, device=rows.device)
    # K (K + c I)^-1 = I - (I + K / c)^-1. The right side has the more exact gradient.
    return identity - torch.linalg.inv(identity + gram / (epsilon * count))
