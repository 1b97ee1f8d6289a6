# SPDX-License-Identifier: MIT
"""Entropic optimal transport between two sets of token vectors: batched, masked, in one file.

Given the vectors of two sentences, `sinkhorn` finds how much of each token of one belongs to each token of
the other: a soft alignment. Its cost is the distillation loss of OPTICAL (Huang, Yu, Allan, WSDM 2023,
arXiv 2301.12566). A batch holds problems of any lengths side by side: a point whose marginal is 0 is padding
and changes nothing, whatever lies in its cost cells.

Needs: torch >= 2.9 (`exact` also scipy). Imports nothing else from this repository. Runs on a CPU or with
CUDA; Apple's GPUs have no float64.
Check a copy: `python -m doctest ot.py`. See it work: `python ot.py`.
N.B. `import ot` is also the POT package: rename this file if you use both.

Letters: B problems, N and M points a side, H vector width; C cost, P plan, a and b marginals (the mass of
each point), f and g potentials and epsilon the temperature (both in units of the cost; epsilon = POT's `reg`
= GeomLoss's `blur**p`), alpha and beta the scalings.

(1) cost        C_ij = 1 - cos(x_i, y_j)
(2) problem     P = argmin <C, P> + epsilon KL(P | a b')  over P >= 0 with P 1 = a, P' 1 = b
(3) solution    P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon)                      Cuturi 2013, Lemma 2
(4) log domain  f_i = -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon), then g likewise, and again
(5) kernel      K = the right side of (3) at some f and g; alpha = a / (K beta), beta = b / (K' alpha), and
                again; P = diag(alpha) K diag(beta)                                   Cuturi 2013, Alg. 1
                over-relaxed: each scaling goes omega times as far, 1 < omega < 2  Thibault et al. 2021
(6) Newton      (diag(P 1) - P diag(1 / b) P') d = a - P 1, then alpha *= exp(d)      Brauer et al. 2017
(7) loss        <P, C>, P held constant
(8) proximal    P <- diag(u) (P * exp(-C / step)) diag(v), u and v by one pass of (5) Xie et al. 2020, Alg. 1
(9) unbalanced  (2) with + rho KL(P 1 | a) + rho KL(P' 1 | b) for the constraints     Chizat et al. 2018

exp(-C / epsilon) leaves float32 once C / epsilon passes 87: for cosine costs (0 to 2) at epsilon near 0.02.
And (5) takes 10 passes at epsilon 0.1 between unrelated sentences, hundreds between near copies, at 0.05
often thousands. So `sinkhorn` begins with (5), at a higher epsilon where the given one is out of range,
goes through (4) where the scalings leave their range, over-relaxes (5) where that saves passes, and takes a
step of (6) where it would be slow still.
"""
import contextlib
import math
import warnings
from typing import NamedTuple

import torch

LIMIT = 20.0     # largest |log scaling| before (5) goes through (4) again
LOST = -67.0     # log of the least kernel entry kept: times e^-20 still normal in float32, times e^40 nothing
CACHE = 1 << 18  # kernel entries a CPU works on together: 1 MB, and 1 MB transposed
RELAXED = 1.75   # most over-relaxation of (5): where more would be right, a Newton step is done sooner
PATIENCE = 30    # a Newton step must save this many passes of (5); it costs about as much as 50


class Transport(NamedTuple):
    """A batch of plans and how well they meet their marginals."""
    plan: torch.Tensor         # (B, N, M) P, 0 on padding
    f: torch.Tensor            # (B, N) potentials of equation (3), 0 on padding
    g: torch.Tensor            # (B, M)
    error: torch.Tensor        # (B,) the larger of |P 1 - a|_1 and |P' 1 - b|_1, of this very plan
    converged: torch.Tensor    # (B,) bool
    iterations: torch.Tensor   # (B,) int64, passes over the cost taken (Newton steps come on top)


@contextlib.contextmanager
def _full_precision(device):
    """No autocast and no TF32 or bfloat16 products inside; the caller's settings come back after."""
    knobs = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    before = [knob.fp32_precision for knob in knobs]
    try:
        for knob in knobs:
            knob.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for knob, value in zip(knobs, before):
            knob.fp32_precision = value


def _wide(t):
    """float64 stays, everything else is computed in float32."""
    return t if t.dtype == torch.float64 else t.float()


# ---------------------------------------------------------------------------------------------------- costs

def _points(x, y):
    """x (B, N, H) and y (B, M, H), checked, in float32 at least."""
    if x.dim() != 3 or y.dim() != 3 or x.shape[0] != y.shape[0] or x.shape[2] != y.shape[2]:
        raise ValueError(f"x and y must be (B, N, H) and (B, M, H), not {tuple(x.shape)}, {tuple(y.shape)}")
    return _wide(x), _wide(y)


def cosine_cost(x, y):
    """Cosine cost (1) between two batches of point sets, in float32 also under autocast.

    Args: x (B, N, H), y (B, M, H), any float dtype, any length; a zero vector is at cost 1 from everything.
    Returns (B, N, M), between 0 and 2, float32 (float64 for float64). The gradient flows to x and y.

    >>> cosine_cost(torch.tensor([[[3., 0.]]]), torch.tensor([[[0., 1.], [1., 0.], [-5., 0.]]]))
    tensor([[[1., 0., 2.]]])
    """
    with _full_precision(x.device):
        x, y = (torch.nn.functional.normalize(p, dim=-1) for p in _points(x, y))
        return 1 - torch.bmm(x, y.transpose(1, 2))  # (B, N, M)


def sqeuclidean_cost(x, y):
    """Squared Euclidean cost |x_i - y_j|^2, else as `cosine_cost`; between unit vectors twice that cost.

    >>> sqeuclidean_cost(torch.tensor([[[0., 0.]]]), torch.tensor([[[3., 4.], [1., 0.]]]))
    tensor([[[25.,  1.]]])
    """
    with _full_precision(x.device):
        x, y = _points(x, y)
        return (x * x).sum(2).unsqueeze(2) + (y * y).sum(2).unsqueeze(1) - 2 * torch.bmm(x, y.transpose(1, 2))


# ------------------------------------------------------------------------------------------------ marginals

def uniform_marginal(mask):
    """Equal mass on every real point: mask (B, N) bool, True for real -> (B, N) float32, each row sums to 1.

    A row that is all padding gives zeros.

    >>> uniform_marginal(torch.tensor([[True, True, False], [False, False, False]]))
    tensor([[0.5000, 0.5000, 0.0000],
            [0.0000, 0.0000, 0.0000]])
    """
    if mask.dim() != 2 or mask.dtype != torch.bool:
        raise ValueError(f"mask must be (B, N) bool, not {tuple(mask.shape)} {mask.dtype}")
    mask = mask.float()
    return mask / mask.sum(1, keepdim=True).clamp(min=1)


def weighted_marginal(weights, mask):
    """Mass in proportion to weights (B, N) >= 0, such as idf or norms, where mask (B, N); all 0: uniform.

    >>> weighted_marginal(torch.tensor([[3., 1., 9.]]), torch.tensor([[True, True, False]]))
    tensor([[0.7500, 0.2500, 0.0000]])
    """
    even = uniform_marginal(mask)
    if weights.shape != mask.shape:
        raise ValueError(f"weights {tuple(weights.shape)} and mask {tuple(mask.shape)} must have one shape")
    weights = torch.where(mask, _wide(weights.detach()), 0.0)
    if not bool(((weights >= 0) & weights.isfinite()).all()):
        raise ValueError("weights must be finite and not negative on real points")
    total = weights.sum(1, keepdim=True)  # (B, 1)
    return torch.where(total > 0, weights / total.clamp(min=1e-35), even.to(total.dtype))


# ------------------------------------------------------------------------------------------------ the solver

@torch.no_grad()
def sinkhorn(cost, a, b, epsilon=0.1, max_iter=1000, tol=1e-5, check_every=10, method="auto", init=None,
             anneal=None, warn=True):
    """Entropic optimal transport, problem (2), for a batch of problems of any lengths.

    Args:
      cost: (B, N, M), finite between real points. float64 is solved in float64, any other dtype in float32.
      a, b: (B, N), (B, M), >= 0, of equal mass; 0 marks padding. No mass on one side: plan 0, error 0.
      epsilon: temperature, in units of the cost. 0.1 suits cosine costs: sharp, and a few passes do.
      max_iter: most passes of (4) or (5).
      tol: a problem is done when `error`, the L1 error of its marginals, is at most this (at mass 1).
      check_every: passes between looks at the error, the only places where the host waits for a GPU.
      method: "auto"; "kernel", (5) alone, refused where it is out of range; "log", (4) alone.
      init: (f, g) to start from, such as an earlier Transport's.
      anneal: factor in (0, 1): begin at epsilon = range of the cost, times this every check_every passes.
        None: "auto" does so, with 0.5, for problems out of the range of (5).
      warn: one UserWarning if a problem ends unconverged.
    Returns a Transport, without gradient: see `transport_loss`. Each problem stops on its own error and costs
    nothing from soon after, so its plan does not depend on its neighbours. Inputs are not changed.
    Raises ValueError for shapes, marginals, costs and options that make no problem.

    At epsilon 1, two points a side, cost 0 on the diagonal and 1 off it: P_11 / P_12 = e by (3), and each row
    sums to 1/2, so P_11 = e / (2 (1 + e)) = 0.3655:

    >>> C, half = torch.tensor([[[0., 1.], [1., 0.]]]), torch.tensor([[0.5, 0.5]])
    >>> sinkhorn(C, half, half, epsilon=1.0).plan
    tensor([[[0.3655, 0.1345],
             [0.1345, 0.3655]]])
    """
    if not min(epsilon, tol, max_iter, check_every) > 0 or not 0 < (anneal or 0.5) < 1:
        raise ValueError(f"epsilon, tol, max_iter and check_every must be > 0, anneal in (0, 1), not "
                         f"{epsilon}, {tol}, {max_iter}, {check_every}, {anneal}")
    if method not in ("auto", "kernel", "log"):
        raise ValueError(f"method must be auto, kernel or log, not {method!r}")
    with _full_precision(cost.device):
        C, a, b, low, high = _prepare(cost, a, b, 2 * LIMIT * epsilon)
        B, N, M = C.shape
        far = (high - low > 2 * LIMIT * epsilon).flatten()  # (B,) out of the plain kernel's range
        if method == "kernel" and bool(far.any()):
            raise ValueError(f"method kernel needs costs within {2 * LIMIT:g} epsilon of each other, not "
                             f"{float((high - low).max()):.3g} apart at epsilon {epsilon:g}; use auto or log")
        if anneal is None and init is None and method == "auto":
            warm, anneal = far, 0.5
        else:
            warm = torch.full_like(far, anneal is not None)  # (B,) these start at a higher epsilon
        hotter = (high - low).clamp(min=epsilon) / (anneal or 1.0)  # (B, 1, 1)
        f, g = low.expand_as(a), torch.zeros_like(b)
        if init is not None:
            f, g = (p.to(C).view(B, 1, -1) for p in init)
        # Padding has a = 0 and zeros in K: aa = 1 there makes its scaling 1 / 0, clamped, and not 0 / 0.
        s = dict(C=C, a=a, b=b, f=torch.where(a > 0, f, 0.0), g=torch.where(b > 0, g, 0.0),
                 epsilon=torch.where(warm[:, None, None], hotter, epsilon),
                 alpha=torch.ones_like(a), beta=torch.ones_like(b), aa=a + (a == 0), bb=b + (b == 0),
                 omega=torch.ones_like(low), tame=~warm, patience=torch.full_like(low, PATIENCE).flatten(),
                 live=torch.ones_like(far), number=torch.arange(B, device=C.device))
        s["K"] = _exponent(C, a, b, s["f"], s["g"], s["epsilon"]).exp_()
        s["KT"] = s["K"].transpose(1, 2).contiguous()  # (B, M, N): beta KT is 3 times as fast as K beta
        stale = far | warm | (init is not None) | (method == "log")  # (B,) to go through (4) next
        plan, F, G, iterations = (torch.empty_like(t) for t in (C, a, b, s["number"]))
        logs, passes, left = check_every if method == "log" else 1, 0, B
        while left > 0:
            steps = min(check_every, max_iter - passes)
            passes += steps
            _log_passes(s, stale.nonzero().flatten(), min(logs, steps), epsilon, anneal or 1.0)
            error, rate, hot = _kernel_passes(s, 0 if method == "log" else steps)
            stale = (s["epsilon"] > epsilon * (1 + 1e-6)).flatten()  # not yet annealed
            done = (error <= 0.95 * tol) & ~stale
            stale |= hot | (method == "log")
            if passes >= max_iter:  # annealing or clamped, it is no plan yet: one pass of (4) makes it one
                if method != "log":
                    _log_passes(s, (stale & ~done).nonzero().flatten(), 1, epsilon, 0.0)
                done = torch.ones_like(done)
            j = (done & s["live"]).nonzero().flatten()
            if len(j):
                n, left = s["number"][j], left - len(j)
                if len(j) == B:
                    plan = _plan(s, slice(None))  # the usual case: in place, a slice being a view
                else:
                    plan[n] = _plan(s, j)
                F[n], G[n] = _potentials(s, j)
                iterations[n] = passes
                if left == 0:
                    break
                s["live"] &= ~done
                if left < 0.75 * len(done):  # moving the others together pays
                    rest = s["live"].nonzero().flatten()
                    s = {name: t.index_select(0, rest) for name, t in s.items()}
                    error, rate, stale = error[rest], rate[rest], stale[rest]
            stale &= s["live"]
            if method == "auto":
                rate = _relax(s, rate, stale).clamp(1e-3, 0.999)
                need = (error / (0.95 * tol)).log() / -rate.log()  # passes
                _newton(s, ((need > s["patience"]) & s["live"] & ~stale).nonzero().flatten())
        F, G = torch.where(a > 0, F, 0.0), torch.where(b > 0, G, 0.0)
        return _report("sinkhorn", plan, F, G, a, b, tol, iterations, warn)


def _prepare(cost, a, b, reach):
    """Checked C, a (B, 1, N), b (B, 1, M) and the least and largest cost (B, 1, 1) of each problem."""
    if cost.dim() != 3 or cost.shape[1] * cost.shape[2] == 0:
        raise ValueError(f"cost must be (B, N, M) with N, M >= 1, not {tuple(cost.shape)}")
    B, N, M = cost.shape
    if a.shape != (B, N) or b.shape != (B, M):
        raise ValueError(f"a and b must be {(B, N)} and {(B, M)} for cost {(B, N, M)}, "
                         f"not {tuple(a.shape)} and {tuple(b.shape)}")
    C = _wide(cost.detach())
    a, b = a.detach().to(C).unsqueeze(1), b.detach().to(C).unsqueeze(1)
    mass, other = a.sum(2, keepdim=True), b.sum(2, keepdim=True)  # (B, 1, 1)
    void = (mass == 0) | (other == 0)
    fair = (a >= 0).all(2) & (b >= 0).all(2) & (void | ((mass - other).abs() <= 1e-4 * mass)).squeeze(2)
    low, high = C.amin((1, 2), keepdim=True), C.amax((1, 2), keepdim=True)
    wild = ~(high - low <= reach)  # perhaps only on padding; true for NaN
    fair_all, any_wild = torch.stack([fair.all(), wild.any()]).tolist()
    if not fair_all:
        i = int((~fair).nonzero()[0, 0])
        raise ValueError(f"problem {i}: marginals must be >= 0 and of equal mass, not of mass "
                         f"{float(mass[i]):.6g} and {float(other[i]):.6g}")
    a, b = torch.where(void, 0.0, a), torch.where(void, 0.0, b)
    if any_wild:  # padding may hold anything: give it the least real cost
        real = (a > 0).transpose(1, 2) & (b > 0)  # (B, N, M)
        low = torch.where(wild, torch.where(real, C, math.inf).amin((1, 2), keepdim=True), low)
        high = torch.where(wild, torch.where(real, C, -math.inf).amax((1, 2), keepdim=True), high)
        low, high = torch.where(void, 0.0, low), torch.where(void, 0.0, high)
        C = torch.where(real | ~wild, C, low)
        finite = (high - low).isfinite().flatten()
        if not bool(finite.all()):
            raise ValueError(f"problem {int((~finite).nonzero()[0])}: NaN or infinite cost on real points")
    return C, a, b, low, high


def _exponent(C, a, b, f, g, epsilon):
    """log of equation (3): -inf on padding."""
    S = (f / epsilon + a.log()).transpose(1, 2) + (g / epsilon + b.log())  # (B, N, M)
    return S.addcmul_(C, epsilon.reciprocal(), value=-1)


def _plan(s, j):
    """P of problems j by (5)."""
    return s["K"][j].mul_(s["alpha"][j].transpose(1, 2)).mul_(s["beta"][j])  # (J, N, M)


def _potentials(s, j):
    """f and g with the scalings folded in."""
    return (s[p][j] + s["epsilon"][j] * s[q][j].log() for p, q in (("f", "alpha"), ("g", "beta")))


def _log_passes(s, j, steps, floor, factor=1.0):
    """For problems j lower epsilon by `factor`, pass `steps` times through (4), rebuild the kernel there."""
    if len(j) == 0:
        return
    C, a, b = s["C"][j], s["a"][j], s["b"][j]
    f, g = _potentials(s, j)
    epsilon = (s["epsilon"][j] * factor).clamp(min=floor)
    S = _exponent(C, a, b, f, g, epsilon)
    for _ in range(steps):
        d = torch.where(a > 0, a.log() - S.logsumexp(2).unsqueeze(1), 0.0)  # (J, 1, N)
        f, S = f + epsilon * d, S + d.transpose(1, 2)
        d = torch.where(b > 0, b.log() - S.logsumexp(1).unsqueeze(1), 0.0)  # (J, 1, M)
        g, S = g + epsilon * d, S + d
    K = torch.nn.functional.threshold_(S, LOST, -math.inf).exp_()  # subnormal numbers are slow
    for name, t in dict(f=f, g=g, epsilon=epsilon, K=K, KT=K.transpose(1, 2)).items():
        s[name][j] = t
    s["alpha"][j], s["beta"][j] = 1.0, 1.0


def _kernel_passes(s, steps):
    """`steps` passes of (5), relaxed. Returns error, its rate a pass, if a scaling is clamped: all (J,).

    A clamped update is a shorter step uphill on the dual, never a wrong one. On a CPU the problems go through
    in groups that stay in the cache for all their passes.
    """
    most, K = math.exp(LIMIT), s["K"]
    group = max(1, CACHE // (K.shape[1] * K.shape[2])) if K.device.type == "cpu" else len(K)
    parts = []
    relaxed = bool((s["omega"] > 1).any())
    names = ("alpha", "beta", "omega", "K", "KT", "a", "b", "aa", "bb")
    for alpha, beta, omega, K, KT, a, b, aa, bb in zip(*(s[name].split(group) for name in names)):
        rest, waa, wbb = 1 - omega, omega * aa, omega * bb
        before = rows = torch.bmm(beta, KT)  # (J, 1, N)
        for step in range(steps):
            if step == steps // 2:
                before = (alpha * rows - a).abs_().sum((1, 2))
            if relaxed:  # scaling + omega (new scaling - scaling), in few operations
                alpha = (alpha * rest).addcdiv_(waa, rows).clamp_(1e-30, most)
                beta = (beta * rest).addcdiv_(wbb, torch.bmm(alpha, K)).clamp_(1e-30, most)
            else:
                alpha = (aa / rows).clamp_(max=most)
                beta = (bb / torch.bmm(alpha, K)).clamp_(max=most)  # (J, 1, M)
            rows = torch.bmm(beta, KT)
        parts.append((alpha, beta, rows, torch.bmm(alpha, K), before))
    alpha, beta, rows, columns, before = (torch.cat(t) if len(parts) > 1 else t[0] for t in zip(*parts))
    error = (alpha * rows - s["a"]).abs_().sum((1, 2))
    rate = (error / before) ** (1 / (steps - steps // 2)) if steps else torch.zeros_like(error)
    error = torch.maximum(error, (beta * columns - s["b"]).abs_().sum((1, 2)))
    hot = (((alpha >= most) | (alpha <= 1 / most)) & (s["a"] > 0)).any(2).squeeze(1)
    hot |= (((beta >= most) | (beta <= 1 / most)) & (s["b"] > 0)).any(2).squeeze(1)
    s["alpha"], s["beta"] = alpha, beta
    return error, rate, hot


def _relax(s, rate, stale):
    """Set each problem's relaxation by the rate at which (5) converges; returns the rate to expect, (J,).

    Near its end (5) is a Gauss-Seidel iteration of two blocks. At relaxation omega its error shrinks by
    `rate` a pass, at 1 by q, where (rate + omega - 1)^2 = q omega^2 rate (Young 1954); at the best omega,
    2 / (1 + sqrt(1 - q)), by omega - 1. A rate below that tells nothing of q. N.B. with q near 1 the error
    grows at first, perhaps for ever: not so far (RELAXED), and never again where it shrank too slowly.
    """
    omega = s["omega"].flatten()
    s["tame"] &= (omega == 1) | (rate < 0.9)
    q = (rate + omega - 1) ** 2 / (omega**2 * rate)
    best = torch.where(rate > omega - 1, 2 / (1 + (1 - q).clamp(min=0).sqrt()), omega)
    best = torch.where(s["tame"] & ~stale & (best <= RELAXED), best, 1.0)
    s["omega"] = best[:, None, None]
    return torch.where(best > 1, best - 1, rate)


def _newton(s, j):
    """One Newton step (6) on f for problems j, at most a factor e^16; g follows by half a pass of (5).

    The matrix is a graph Laplacian, built from positive sums only, with a a' added to fix the free constant.
    It is near singular just where (5) is slow, hence float64. Each step makes the next one harder to get.
    """
    if len(j) == 0:
        return
    s["patience"][j] *= 1.1
    s["omega"][j] = 1.0
    P, a = _plan(s, j), s["a"][j].double()
    W = torch.bmm(P / s["bb"][j], P.transpose(1, 2)).double()  # (J, N, N)
    W.diagonal(dim1=1, dim2=2).zero_()
    L = torch.baddbmm(W, a.transpose(1, 2), a, beta=-1)
    L.diagonal(dim1=1, dim2=2).add_(W.sum(2) * (1 + 1e-12) + (a == 0).squeeze(1))
    rest = a.transpose(1, 2) - P.sum(2, keepdim=True, dtype=torch.float64)  # (J, N, 1)
    rest -= a.transpose(1, 2) * (rest.sum(1, keepdim=True) / a.sum(2, keepdim=True))
    L, failed = torch.linalg.cholesky_ex(L)
    d = torch.cholesky_solve(rest, L).transpose(1, 2)  # (J, 1, N)
    d = torch.where(d.isfinite().all(2, keepdim=True) & (failed == 0)[:, None, None], d, 0.0)
    d = d * (16 / d.abs().amax(2, keepdim=True).clamp(min=16))
    most = math.exp(LIMIT)
    alpha = (s["alpha"][j] * d.exp().to(s["alpha"])).clamp_(1 / most, most)
    s["alpha"][j] = alpha
    s["beta"][j] = (s["bb"][j] / torch.bmm(alpha, s["K"][j])).clamp_(max=most)


def _report(name, plan, f, g, a, b, tol, passes, warn, settled=None):
    """A plan's Transport, the error measured on the plan itself; one warning if a problem fell short."""
    rows, columns = plan.sum(2) - a.squeeze(1), plan.sum(1) - b.squeeze(1)
    error = torch.maximum(rows.abs().sum(1), columns.abs().sum(1))
    converged = error <= tol if settled is None else settled  # (B,)
    if warn and not bool(converged.all()):
        worst = float(error[~converged].max())
        warnings.warn(f"{name}: {int((~converged).sum())} of {len(error)} problems not converged to tol "
                      f"{tol:g}, worst error {worst:.1e}; raise max_iter, epsilon or tol", stacklevel=4)
    passes = torch.as_tensor(passes, device=plan.device).expand(len(plan))
    return Transport(plan, f.squeeze(1), g.squeeze(1), error, converged, passes)


# ------------------------------------------------------------------------------------------- losses of a plan

def transport_loss(cost, plan):
    """The transport cost <P, C> of each problem (7), with the plan held constant.

    Args: cost (B, N, M) with gradient; plan (B, N, M), a Transport's. Returns (B,), at least float32.
    The gradient with respect to the cost is P itself. At a converged `sinkhorn` plan that is the exact
    derivative of the value of (2), <P, C> + epsilon KL(P | a b'), by the envelope theorem. It is not the
    derivative of <P, C> as a function of C alone, in which the plan moves too. Padding gets exactly 0.

    >>> transport_loss(torch.tensor([[[0., 1.], [1., 0.]]]), torch.tensor([[[0.4, 0.1], [0.1, 0.4]]]))
    tensor([0.2000])
    """
    if cost.shape != plan.shape:
        raise ValueError(f"cost {tuple(cost.shape)} and plan {tuple(plan.shape)} must have one shape")
    plan = plan.detach()
    return (torch.where(plan > 0, _wide(cost), 0.0) * plan).sum((1, 2))


def entropic_value(cost, plan, a, b, epsilon):
    """The value of (2) at a converged plan, (B,); its gradient with respect to the cost, P, is exact."""
    P = plan.detach()
    KL = torch.xlogy(P, P).sum((1, 2)) - torch.xlogy(P.sum(2), a).sum(1) - torch.xlogy(P.sum(1), b).sum(1)
    return transport_loss(cost, P) + epsilon * KL


def plan_entropy(plan):
    """-sum P log P of each plan, (B,), in nats: log(N M) if uniform, log N for a one-to-one alignment.

    >>> plan_entropy(torch.tensor([[[0.5, 0.0], [0.0, 0.5]]]))
    tensor([0.6931])
    """
    return torch.special.entr(plan.detach()).sum((1, 2))


# ----------------------------------------------------------- other plans, with the same arguments and results

@torch.no_grad()
def ipot(cost, a, b, step=1.0, max_iter=50, inner=1, tol=0.1, warn=True):
    """Inexact proximal point (8): after t rounds near the plan at epsilon = step / t, ever nearer the exact.

    `inner` passes of (5) a round; `converged` is about the marginals; f and g as in (3) at step / max_iter.
    """
    with _full_precision(cost.device):
        C, a, b, low, _ = _prepare(cost, a, b, -1.0)
        f, g = low.expand_as(a) * (a > 0), torch.zeros_like(b)
        P, G, rate = a.transpose(1, 2) * b, ((low - C) / step).exp_(), step / max_iter  # (B, N, M), (B, N, M)
        for _ in range(max_iter):
            P = P * G
            for _ in range(inner):
                u = torch.where(a > 0, a / P.sum(2).unsqueeze(1).clamp(min=1e-35), 1.0)  # (B, 1, N)
                P = P * u.transpose(1, 2)
                v = torch.where(b > 0, b / P.sum(1, keepdim=True).clamp(min=1e-35), 1.0)  # (B, 1, M)
                P, f, g = P * v, f + rate * u.log(), g + rate * v.log()
        return _report("ipot", P, f, g, a, b, tol, max_iter * inner, warn)


@torch.no_grad()
def unbalanced(cost, a, b, epsilon=0.1, rho=1.0, max_iter=1000, tol=1e-5, warn=True):
    """Unbalanced transport (9), in the log domain: the smaller rho, the more words may go without a partner.

    `error` is the distance from a and b, which is not meant to vanish: a problem has converged when a pass
    moves no potential by more than tol * epsilon.
    """
    with _full_precision(cost.device):
        C, a, b, _, _ = _prepare(cost, a, b, -1.0)
        S = _exponent(C, a, b, torch.zeros_like(a), torch.zeros_like(b), C.new_tensor(epsilon))
        slack = rho / (rho + epsilon)
        F, G = torch.zeros_like(a), torch.zeros_like(b)  # f / epsilon (B, 1, N), g / epsilon (B, 1, M)
        passes = torch.zeros(len(C), dtype=torch.int64, device=C.device)
        moving = torch.ones_like(F[:, :, :1], dtype=torch.bool)  # (B, 1, 1)
        for step in range(max_iter):
            old_F, old_G = F, G
            F = torch.where(moving & (a > 0), slack * (a.log() - (S + G).logsumexp(2).unsqueeze(1)), F)
            T = S + F.transpose(1, 2)
            G = torch.where(moving & (b > 0), slack * (b.log() - T.logsumexp(1).unsqueeze(1)), G)
            passes += moving.flatten()
            moving = torch.maximum((F - old_F).abs().amax(2), (G - old_G).abs().amax(2)).unsqueeze(2) > tol
            if step % 10 == 9 and not bool(moving.any()):
                break
        P = (S + F.transpose(1, 2) + G).exp_()
        return _report("unbalanced", P, epsilon * F, epsilon * G, a, b, tol, passes, warn, ~moving.flatten())


@torch.no_grad()
def exact(cost, a, b, tol=1e-5, warn=True):
    """Transport without entropy, by scipy's linear programming, one problem after another: for reference."""
    from scipy import optimize, sparse
    C, a, b, _, _ = _prepare(cost, a, b, -1.0)
    P, f, g = torch.zeros_like(C), torch.zeros_like(a), torch.zeros_like(b)
    for k in a.sum((1, 2)).nonzero().flatten().tolist():
        i, j = a[k, 0].nonzero().flatten(), b[k, 0].nonzero().flatten()
        n, m = len(i), len(j)
        sums = sparse.vstack([sparse.kron(sparse.eye(n), [[1] * m]), sparse.kron([[1] * n], sparse.eye(m))])
        masses = torch.cat([p / p.sum() for p in (a[k, 0, i].double().cpu(), b[k, 0, j].double().cpu())])
        found = optimize.linprog(C[k][i][:, j].double().cpu().numpy().ravel(), A_eq=sums, b_eq=masses.numpy())
        if found.status != 0:
            raise ValueError(f"exact: problem {k}: {found.message}")
        P[k, i[:, None], j] = torch.from_numpy(found.x).to(P).reshape(n, m) * a[k].sum()
        f[k, 0, i], g[k, 0, j] = torch.from_numpy(found.eqlin.marginals).to(P).split([n, m])
    return _report("exact", P, f, g, a, b, tol, 1, warn)


@torch.no_grad()
def uniform(cost, a, b):
    """The plan a b' that looks at no cost."""
    C, a, b, _, _ = _prepare(cost, a, b, -1.0)
    P = a.transpose(1, 2) * b / a.sum(2, keepdim=True).clamp(min=1e-30)
    return _report("uniform", P, torch.zeros_like(a), torch.zeros_like(b), a, b, 1e-5, 0, False)


@torch.no_grad()
def greedy(cost, a, b):
    """Each y point sends all its mass to its nearest real x (the first of equals); P 1 = a is given up."""
    C, a, b, _, _ = _prepare(cost, a, b, -1.0)
    nearest = torch.where((a > 0).transpose(1, 2), C, math.inf).argmin(1, keepdim=True)  # (B, 1, M)
    P = torch.zeros_like(C).scatter_(1, nearest, b)
    return _report("greedy", P, torch.zeros_like(a), torch.zeros_like(b), a, b, 1e-5, 0, False)


# -------------------------------------------------------------------------------------------- python ot.py

def main():
    """Two sentences with toy vectors: how the marginal error falls, and the plan as a heat map."""
    english, swahili = "the small cat sees two birds".split(), "paka mdogo anaona ndege wawili".split()
    senses = torch.eye(6)  # one direction a meaning; the Swahili reads: cat small sees bird two
    x = senses + 0.25 * senses.roll(1, 0)                          # (6, 6), tinged by the word before
    y = senses[[2, 1, 3, 5, 4]] + 0.35 * senses[[0, 2, 0, 0, 5]]   # (5, 6), with the article or a neighbour
    C = cosine_cost(x[None], y[None])
    a, b = torch.full((1, 6), 1 / 6), torch.full((1, 5), 1 / 5)
    print("passes  marginal error   <P, C>")
    for passes in (1, 2, 3, 5, 10, 20, 40, 80):
        t = sinkhorn(C, a, b, max_iter=passes, tol=1e-6, check_every=1, method="kernel", warn=False)
        bar = "#" * round(-5 * math.log10(float(t.error)))
        print(f"{passes:6d}  {float(t.error):14.1e}  {float(transport_loss(C, t.plan)):7.4f}  {bar}")
    print("\nThe plan: how much of each English word goes to each Swahili word, blank (under 5%) to @ (all).")
    print(" " * 8 + "".join(f"{word:>9}" for word in swahili))
    for word, row in zip(english, (t.plan[0] * 6).tolist()):
        cells = (" .:-=+*#%@"[min(9, int(share * 10 + 0.5))] * 3 for share in row)
        print(f"{word:>8}" + "".join(f"{cell:>9}" for cell in cells))


if __name__ == "__main__":
    main()
