# SPDX-License-Identifier: MIT
"""Entropic optimal transport between two sets of token vectors: batched, masked, in one file.

`sinkhorn` finds how much of each token of one sentence belongs to each token of another; its cost is the loss
of OPTICAL (Huang, Yu, Allan, WSDM 2023, arXiv 2301.12566). A batch holds problems of any lengths: a point of
marginal 0 is padding, whatever lies in its cost cells. A single problem goes without the dimension B.

Needs: torch >= 2.4 (`exact` also scipy), a CPU or CUDA. Imports nothing else from this repository.
Check a copy: `python -m doctest ot.py`. See it work: `python ot.py`.
N.B. `import ot` is also the POT package: rename this file if you use both.

B problems, J of them under way, of N and M points of width H; cost C, plan P, marginals a and b (mass of each
point), potentials f and g and temperature epsilon (in units of the cost; POT's `reg`, GeomLoss's `blur**p`),
kernel K, scalings u and v. All at mass 1; at mass m a plan is m times that.

(4) cost        C_ij = 1 - cos(x_i, y_j)
(5) problem     P = argmin <C, P> + epsilon KL(P | a b')  over P >= 0 with P 1 = a, P' 1 = b
(11) solution   P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon)                      Cuturi 2013, Lemma 2
(12) log domain  f_i = -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon), then g likewise, and again
(13) kernel     K_ij = exp((f_i + g_j - C_ij) / epsilon) at some f and g; u = a / (K v), v = b / (K' u), and
                again, u goes OMEGA times as far; P = diag(u) K diag(v)   Cuturi 2013, Thibault et al. 2021
(14) Newton     (diag(P 1) - P diag(1 / b) P') d = a - P 1, then u *= exp(d)          Brauer et al. 2017
"""
import math
import threading
import warnings
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import torch

LIMIT, RANGE = 40.0, 67.0   # most (C_ij - C_kl) / epsilon for (13), and most |log K|, with room in float32
OMEGA, PATIENCE = 1.6, 40   # over-relaxation, to 1.5 times; passes that a step of (14) must save, to 11 times
_lock, _settings = threading.Lock(), []
_knobs = [(torch.backends.cuda.matmul, "allow_tf32", False)]
if hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # torch >= 2.9
    _knobs = [(on.matmul, "fp32_precision", "ieee") for on in (torch.backends.cuda, torch.backends.mkldnn)]


class Transport(NamedTuple):
    """A batch of plans and how well they meet their marginals."""
    plan: torch.Tensor        # (B, N, M) P, 0 on padding
    f: torch.Tensor           # (B, N) potentials of equation (11), 0 on padding
    g: torch.Tensor           # (B, M)
    error: torch.Tensor       # (B,) the larger of |P 1 - a|_1 and |P' 1 - b|_1, at mass 1
    converged: torch.Tensor   # (B,) bool
    iterations: torch.Tensor  # (B,) int64, passes of (13); of (12) in `unbalanced` and `ipot`


@contextmanager
def _full_precision(kind):
    """No autocast, TF32 or bfloat16 products. The last thread out restores what the first one in found."""
    with _lock:
        _settings.append([getattr(unit, name) for unit, name, _ in _knobs])
        for knob in _knobs:
            setattr(*knob)
    try:
        with torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext():
            yield
    finally:
        with _lock:
            before = _settings.pop()  # of all but the first, full precision
            for (unit, name, _), value in zip(_knobs, [] if _settings else before):
                setattr(unit, name, value)


def cosine_cost(x, y):
    """Cosine cost (4), (B, N, M), 0 to 2, of x (B, N, H) and y (B, M, H), in float32 at least; to 0 it is 1.
    >>> cosine_cost(torch.tensor([[[3., 0.]]]), torch.tensor([[[0., 1.], [1., 0.], [-5., 0.]]]))
    tensor([[[1., 0., 2.]]])
    """
    with _full_precision(x.device.type):
        x, y = ((p, torch.linalg.vector_norm(p, dim=-1, keepdim=True)) for p in _points(x, y))
        x, y = (p / torch.where(n > 1e-12, n, 1.0) for p, n in (x, y))  # 1: a bounded gradient
        return 1 - x @ y.mT


def sqeuclidean_cost(x, y):
    """Squared Euclidean cost |x_i - y_j|^2, else as `cosine_cost`; between unit vectors twice that cost."""
    with _full_precision(x.device.type):
        x, y = _points(x, y)
        centre = torch.cat([x, y], -2).detach().nan_to_num(0, 0, 0).mean(-2, True)  # (B, 1, H)
        x, y = x - centre, y - centre  # far from the origin the next line would cancel
        return ((x * x).sum(-1, True) + (y * y).sum(-1, True).mT - 2 * x @ y.mT).clamp(min=0)


def _points(x, y):
    """x (B, N, H) and y (B, M, H), checked, in float32 at least."""
    if x.dim() not in (2, 3) or x[..., :1, :].shape != y[..., :1, :].shape:
        raise ValueError(f"x and y must be (B, N, H) and (B, M, H), not {tuple(x.shape)}, {tuple(y.shape)}")
    return (p.to(torch.promote_types(p.dtype, torch.float32)) for p in (x, y))


def uniform_marginal(mask):
    """Equal mass on every real point: mask (B, N), True or 1 for real -> (B, N) float32, of sum 1, or 0."""
    if mask.dtype != torch.bool and not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError(f"mask must be of True and False or of 1 and 0, not {mask}")
    return mask.float() / mask.float().sum(-1, True).clamp(min=1)


def weighted_marginal(weights, mask, wait=True):
    """Mass in proportion to weights (B, N) >= 0, such as idf or norms, where mask (B, N); all 0: uniform."""
    even = uniform_marginal(mask)
    if weights.shape != mask.shape or wait and bool(
            ((even > 0) & ~((weights >= 0) & (weights < math.inf))).any()):
        raise ValueError("weights must be finite and not negative on real points, of the shape of mask")
    weights = torch.where(even > 0, weights.detach().to(torch.promote_types(weights.dtype, even.dtype)), 0.0)
    weights = weights / weights.amax(-1, True)  # at most 1: no sum overflows; NaN where all are 0
    return torch.where(weights.isnan(), even.to(weights), weights / weights.sum(-1, True))


def _prepare(cost, a, b, reach=-1.0, balanced=True, wait=True, **options):
    """Options and, if `wait`, batch, checked: finite C (B, N, M); a (B, 1, N) and b (B, 1, M), of sum 1 if
    `balanced`; the plan's mass (B, 1, 1); least cost (B, 1, N) and range (B, 1, 1), or 0, None in `reach`."""
    for name, value in options.items():
        whole = name in ("max_iter", "check_every", "inner") and value != int(value)
        if not 1e-30 <= value <= 1e30 or whole or name == "anneal" and value >= 1:
            raise ValueError(f"{name} must be finite and > 0, a count whole, anneal < 1 or None, not {value}")
    cost, a, b = (t[None] if cost.dim() == 2 else t for t in (cost, a, b))
    B, N, M = cost.shape if cost.dim() == 3 else (0, 0, 0)
    if N * M == 0 or a.shape != (B, N) or b.shape != (B, M) or cost.device.type == "mps":
        raise ValueError("cost must be (B, N, M), not empty, a and b must be (B, N), (B, M), on CPU or CUDA, "
                         f"not {tuple(cost.shape)}, {tuple(a.shape)}, {tuple(b.shape)}, {cost.device}")
    C = cost.detach() if cost.dtype == torch.float64 else cost.detach().float()
    a, b = a.detach().to(C).unsqueeze(1), b.detach().to(C).unsqueeze(1)
    mass, other = a.sum(2, True), b.sum(2, True)
    ends = [a.amin(), b.amin(), *(other / mass).aminmax(), *C.aminmax()] if B else [a.sum() - 1]
    ranges = (0, 1e30), (0, 1e30), (0.99, 1e30), (0, 1.01), (-reach / 1e3, reach), (-reach, reach)
    if wait and all(least <= x <= most for x, (least, most) in zip(torch.stack(ends).tolist(), ranges)):
        return C, a / mass, b / other, mass, torch.zeros_like(a), None  # the usual case; a NaN is not
    void, real = (mass == 0) | (other == 0), (a > 0).mT & (b > 0)  # (B, 1, 1), (B, N, M)
    fair = (a >= 0).all(2, True) & (b >= 0).all(2, True) & (mass + other < math.inf)  # NaN is not
    fair &= void | ((mass - other).abs() <= (0.01 * mass if balanced else 1e38))
    fair &= (~real | (C.abs() <= 1e30 * options.get("epsilon", 1.0))).all(2, True).all(1, True)
    if wait and not bool(fair.all()):
        k = int(fair.flatten().int().argmin())
        raise ValueError(f"problem {k}: marginals must be finite, >= 0, of equal mass (to 1%), not "
                         f"{float(mass[k]):.6g} and {float(other[k]):.6g}; costs finite, under 1e30 epsilon")
    least = torch.where(void, 0.0, torch.where(real, C, math.inf).amin((1, 2), True))
    C, low = torch.where(real, C, least), torch.where((a > 0) & ~void, least, 0.0)  # padding holds anything
    a, b = (torch.where(void, 1 / p.shape[2], p / m if balanced else p) for p, m in ((a, mass), (b, other)))
    return C, a, b, torch.where(void, 0.0, mass if balanced else 1.0), low, (C - least).amax((1, 2), True)


def _report(solver, cost, plan, f, g, a, b, mass, passes, tol, warn, settled=None, error=None):
    """The Transport, its error measured on the plan unless known; one warning if a problem fell short."""
    if error is None:
        rows, columns = plan.sum(2).sub_(a.squeeze(1)), plan.sum(1).sub_(b.squeeze(1))
        error = torch.maximum(rows.abs_().sum(1), columns.abs_().sum(1)).mul_(mass.flatten() > 0)
    passes = passes if torch.is_tensor(passes) else torch.full_like(error, passes, dtype=torch.long)
    converged = error <= tol if settled is None else settled & (error < math.inf)  # a NaN is not
    if warn and not bool(converged.all()):
        many, worst = int((~converged).sum()), float(error[~converged].max())
        warnings.warn(f"{solver}: {many} of {len(a)} problems not converged to tol {tol:g}, worst error "
                      f"{worst:.1e}; raise max_iter, epsilon or tol", stacklevel=3)
    found = plan.mul_(mass), f.squeeze(1), g.squeeze(1), error, converged, passes
    return Transport(*found) if cost.dim() == 3 else Transport(*(t[0] for t in found))


class _State(NamedTuple):
    """J problems under way."""
    C: torch.Tensor        # (J, N, M)
    a: torch.Tensor        # (J, 1, N)
    b: torch.Tensor        # (J, 1, M)
    K: torch.Tensor        # (J, N, M) made at f and g
    f: torch.Tensor        # (J, 1, N) 0 on padding
    g: torch.Tensor        # (J, 1, M)
    u: torch.Tensor        # (J, 1, N) 0 on padding
    v: torch.Tensor        # (J, 1, M)
    epsilon: torch.Tensor  # (J, 1, 1) or a number; not yet the one asked for while annealing
    stale: torch.Tensor    # (J, 1, 1) bool: a pass of (12) is due, at a lower epsilon; None: nowhere


def sinkhorn(cost, a, b, epsilon=0.1, max_iter=1000, tol=1e-5, check_every=12, init=None, anneal=None,
             warn=True, differentiable=False, wait=True):
    """Entropic optimal transport, problem (5), for a batch of problems of any lengths.
    cost (B, N, M), finite between real points, is solved in float64 if it is that, else in float32; a (B, N)
    and b (B, M) are >= 0, 0 on padding, of equal masses but for rounding (1%; a's holds). epsilon is in units
    of the cost; 0.1 suits cosine costs. A problem ends at an error, at mass 1, of tol, or after max_iter
    passes; 100 and 1e-4 do for a loss that is a mean. check_every passes the host waits for a GPU to look at
    the error. init: (f, g) of an earlier Transport. anneal: factor in (0, 1): epsilon begins at the range of
    the cost and goes down by it at each look; None: 0.5, for problems out of the range of (13). warn: once,
    if any ends unconverged. differentiable: the gradient flows through the plan to cost, a and b, exact if
    converged; else none does, see `transport_loss`. wait: False makes all max_iter passes on unchecked data,
    without a step (14), and lets no GPU wait. No plan depends on its neighbours. Raises: ValueError.
    Two points a side, cost 0 on the diagonal, 1 off it: by (11) P_11 / P_12 = e, P_11 = e / (2 (1 + e)):
    >>> sinkhorn(torch.tensor([[0., 1.], [1., 0.]]), torch.ones(2) / 2, torch.ones(2) / 2, epsilon=1.0).plan
    tensor([[0.3655, 0.1345],
            [0.1345, 0.3655]])
    """
    factor, usual = 0.5 if anneal is None else anneal, anneal is None and init is None
    C, p, q, mass, f, high = _prepare(cost, a, b, LIMIT * epsilon if usual else -1.0, True, wait, tol=tol,
        epsilon=epsilon, max_iter=max_iter, check_every=check_every, anneal=factor)
    g, near, hot = torch.zeros_like(q), high is None, init is None or anneal is not None
    stale = None if near else (high > LIMIT * epsilon) | (not usual)
    start = epsilon if near else (stale * high / factor * hot).clamp(min=epsilon)
    if init is not None:
        if any(t.shape != m.shape or wait and not bool(t.isfinite().all()) for t, m in zip(init, (a, b))):
            raise ValueError("init must be finite potentials (f, g) of the shapes of a and b")
        g = torch.where(q > 0, init[1].detach().to(q).view_as(q), 0.0)  # a pass of (12) makes f of it
    with _full_precision(C.device.type):
        s = _State(C, p, q, (C * (-1 / epsilon)).exp_() if near else None, f, g, p, q, start, stale)  # line 1
        P, f, g, n, error = _run(s, near, wait, epsilon, int(max_iter), 0.95 * tol, int(check_every), factor)
    found = _report("sinkhorn", cost, P, f, g, p, q, mass, n.flatten(), tol, warn, None, error.flatten())
    return found._replace(plan=_implicit(found.plan, cost, a, b, epsilon)) if differentiable else found


def _run(s, near, wait, epsilon, max_iter, tol, check_every, factor):
    """P, f, g, passes, error: Cuturi 2013, Alg. 1 (its r, c, M, lambda: a, b, C, 1 / epsilon); near: one K"""
    found, number, half, passes, due, masses = None, None, None, 0, not near, (s.a, s.b)
    while True:
        steps = min(check_every, max_iter - passes)
        passes += steps
        if not near:  # the last block is at the epsilon asked for
            s = _rebuilt(s, (s.epsilon * (factor if passes < max_iter else 0)).clamp(min=epsilon), due)
        a, b, K, u, v, rows = s.a, s.b, s.K, s.u, s.v, torch.bmm(s.v, KT := s.K.mT)  # line 2, here for v
        L = K if K.shape[1:].numel() >= 400 else KT.contiguous().mT           # as torch sums it sooner
        for step in range(steps):                                             # line 4: while u changes
            half = (u, rows) if step == steps // 2 else half
            new = a / rows                                                    # line 5: a / (K v), or 0
            u = new if passes == steps else new.lerp_(u, 1 - OMEGA).relu_()   # (13), after a first look
            v = b / torch.bmm(u, L)                                           # line 7: b / (K' u)
            rows = torch.bmm(v, KT)
        error = (u * rows).sub_(a).abs_().sum(2, True)  # (J, 1, 1) of the rows; v makes the columns right
        done = error <= tol if near else (error <= tol) & (s.epsilon <= epsilon * (1 + 1e-6))
        left = (len(done) - int(done.sum()) if wait else len(done)) if passes < max_iter else 0
        if left:
            before = torch.mul(*half).sub_(a).abs_().sum(2, True).add_(1e-30)  # for no 0 / 0
            later = error * (error / before).clamp_(max=1) ** (PATIENCE / (steps - steps // 2))
            due, worst = False, float(later.amax()) if near else math.inf
            if not worst < math.inf:  # some are on their way, or lost: NaN
                near, calm = False, (error < math.inf) & (s.epsilon <= epsilon * (1 + 1e-6))
                s = s._replace(stale=~calm, epsilon=s.epsilon + torch.zeros_like(error))
                later = torch.where(calm, later, 0.0)
                due, worst = torch.stack([s.stale.any().to(later), later.amax()]).tolist() if wait else (1, 0)
            if worst > tol:
                j = (later > tol).flatten().nonzero().flatten()
                u[j], v[j] = _newton(K[j], a[j], b[j], u[j], v[j])
        s = s._replace(u=u, v=v)
        if left < max(1, len(done)):  # some are done: all are noted as they stand, those left once more
            now = u, v, torch.full_like(error, passes, dtype=torch.long), error, K, s.f, s.g
            for whole, part in zip(found or (), now[:4] if near else now):
                whole.index_copy_(0, number, part)
            found = found or now
            if left:
                rest = (~done).flatten().nonzero().flatten()
                number = rest if number is None else number[rest]  # (J,) places in the batch
                s = _State(*(t.index_select(0, rest) if torch.is_tensor(t) else t for t in s))
        if not left:
            u, v, n, error, K, *fg = found
            return K.mul_(u.mT).mul_(v), *(_potential(*t, epsilon) for t in zip(fg, (u, v), masses)), n, error


def _potential(f, u, a, epsilon):
    """f (J, 1, N) with u taken in, or g with v."""
    return (u / a).log_().nan_to_num_(0, LIMIT / 2, -LIMIT / 2).mul_(epsilon).add_(f)


def _rebuilt(s, lower, due):
    """The state with a kernel at its present potentials, of a pass (12) at a lower epsilon where stale."""
    f, g = was = [_potential(*t, s.epsilon) for t in ((s.f, s.u, s.a), (s.g, s.v, s.b))]
    if due:
        new = _log_pass(s.C, g, s.a, s.b, lower)
        f, g = (torch.where(s.stale & (m > 0), *t) for m, *t in zip((s.a, s.b), new, was))
        s = s._replace(epsilon=torch.where(s.stale, lower, s.epsilon))
    K = (g - s.C).add_(f.mT).div_(s.epsilon).clamp_(-RANGE, RANGE).exp_()     # (J, N, M)
    return s._replace(f=f, g=g, K=K, u=s.a, v=s.b)


def _newton(K, a, b, u, v):
    """u and v after a step (14), on the smaller side: 1, 0.3 or 0.1 of it, the first to lower the error."""
    if a.shape[2] > b.shape[2]:
        return _newton(K.mT, b, a, v, u)[::-1]
    start, v = u, b / torch.bmm(u, K)
    rest = a - (P := K * u.mT * v).sum(2).unsqueeze(1)
    step, least, worse = _laplace(P, a, b, rest).clamp(-16, 16).to(u), rest.abs().sum(2, True), True
    for part in (1.0, 0.3, 0.1):
        new_u = start * (part * step).exp()
        new_v = b / torch.bmm(new_u, K)
        better = ((new_u * torch.bmm(new_v, K.mT) - a).abs().sum(2, True) < least) & worse
        u, v, worse = torch.where(better, new_u, u), torch.where(better, new_v, v), ~better & worse
        if not bool(worse.any()):
            break
    return u, v


def _log_pass(C, g, a, b, epsilon, slack=1.0):
    """f (J, 1, N) and g (J, 1, M) by equation (12), finite on padding too; `slack` is of `unbalanced`."""
    f = -slack * epsilon * ((g - C) / epsilon + b.log()).logsumexp(2).unsqueeze(1)
    return f, -slack * epsilon * ((f.mT - C) / epsilon + a.log().mT).logsumexp(1).unsqueeze(1)


def _laplace(P, a, b, rest):
    """x (J, 1, N): (diag(P 1) - P diag(1 / b) P' + a a') x = rest, of (14), in float64; NaN if it fails."""
    W = torch.bmm(P / (b + (b == 0)), P.mT).double()  # (J, N, N), of positive sums only
    W.diagonal(dim1=1, dim2=2).zero_()
    L = torch.baddbmm(W, a.double().mT, a.double(), beta=-1)  # a a' fixes the free constant
    L.diagonal(dim1=1, dim2=2).add_(W.sum(2) * (1 + 1e-12) + (a == 0).squeeze(1))
    L, failed = torch.linalg.cholesky_ex(L)
    return torch.where((failed == 0)[:, None, None], torch.cholesky_solve(rest.double().mT, L).mT, math.nan)


def _implicit(plan, cost, a, b, epsilon):
    """The plan as a function of cost, a and b to first order: a step (14) from it, its matrix constant."""
    if plan.shape[-2] > plan.shape[-1]:  # solve for the smaller side
        return _implicit(plan.mT, cost.mT, b, a, epsilon).mT
    C = torch.where(plan > 0, cost, 0.0).double().reshape(-1, *plan.shape[-2:])
    a, b = (p.double().reshape(-1, 1, p.shape[-1]) for p in (a, b))
    mass, P = a.sum(2, True), plan * ((C.detach() - C) / epsilon).exp()
    a, b = a / (mass + (mass == 0)), b / b.sum(2, True).clamp(min=1e-300)
    P = P / P.sum(1, True).clamp(min=1e-300) * b
    P = P * _laplace(P.detach(), a.detach(), b.detach(), a - P.sum(2).unsqueeze(1)).exp().mT
    return (mass * P / P.sum(1, True).clamp(min=1e-300) * b).to(plan).view_as(plan)


def transport_loss(cost, plan):
    """The transport cost <P, C> of each problem, (B,), P held constant: the gradient by C is P. If converged
    that is the derivative of the value of (5), by the envelope theorem, not of <P, C>, as P moves too.
    >>> transport_loss(torch.tensor([[0., 1.], [1., 0.]]), torch.tensor([[0.4, 0.1], [0.1, 0.4]]))
    tensor(0.2000)
    """
    if cost.shape != plan.shape:
        raise ValueError(f"cost {tuple(cost.shape)} and plan {tuple(plan.shape)} must have one shape")
    return (torch.where(plan.detach() > 0, cost, 0.0) * plan.detach()).sum((-2, -1))


def plan_entropy(plan):
    """-sum P log P of each plan, (B,), in nats: log(N M) if uniform, log N for a one-to-one alignment."""
    return torch.special.entr(plan.detach()).sum((-2, -1))


def ipot(cost, a, b, step=1.0, max_iter=50, inner=1, tol=0.1, warn=True):
    """Inexact proximal point (Xie et al. 2020, Alg. 1): P <- diag(u) (P * exp(-C / step)) diag(v), u and v by
    `inner` passes, in logs: after t rounds near the plan at step / t. f and g: (11) at step / max_iter."""
    C, a, b, mass, *_ = _prepare(cost, a, b, step=step, max_iter=max_iter, inner=inner, tol=tol)
    rows = torch.where(b > 0, C, math.inf).amin(2, True)  # (B, N, 1), taken off: a shift is then no matter
    columns = torch.where((a > 0).mT, C - rows, math.inf).amin(1, True)  # (B, 1, M)
    C, f, g = C - rows - columns, torch.zeros_like(a), torch.zeros_like(b)
    for t in range(1, int(max_iter) + 1):
        g = g * max(t - 1, 1) / t  # t g / step, the log of all v so far, stays
        for _ in range(int(inner)):
            f, g = _log_pass(C, g, a, b, step / t)
    P = a.mT * b * ((f.mT + g - C) * (max_iter / step)).exp()
    f, g = (f + rows.mT) * (a > 0), (g + columns) * (b > 0)
    return _report("ipot", cost, P, f, g, a, b, mass, max_iter * inner, tol, warn)


def unbalanced(cost, a, b, epsilon=0.1, rho=1.0, max_iter=1000, tol=1e-5, warn=True):
    """(5) with + rho KL(P 1 | a) + rho KL(P' 1 | b) for constraints (Chizat et al. 2018): (12), f and g times
    rho / (rho + epsilon). Masses may differ. Converged, whatever `error`: f, g move tol * epsilon at most."""
    C, a, b, mass, *_ = _prepare(cost, a, b, -1, False, epsilon=epsilon, rho=rho, max_iter=max_iter, tol=tol)
    f, g, passes, moving = torch.zeros_like(a), torch.zeros_like(b), 0 * mass.long(), mass >= 0
    for step in range(int(max_iter)):
        old, passes = torch.cat([f, g], 2), passes + moving
        f, g = (torch.where(moving & (m > 0), new, was) for m, new, was in zip(
            (a, b), _log_pass(C, g, a, b, epsilon, rho / (rho + epsilon)), (f, g)))
        moving = ~((torch.cat([f, g], 2) - old).abs().amax(2, True) <= tol * epsilon)  # NaN moves
        if step % 10 == 9 and not bool(moving.any()):
            break
    P = a.mT * b * ((f.mT + g - C) / epsilon).exp()
    return _report("unbalanced", cost, P, f, g, a, b, mass, passes.view(-1), tol, warn, ~moving.view(-1))


def exact(cost, a, b, tol=1e-5, warn=True):
    """Transport without entropy, by scipy's linear programming, one problem after another: for reference."""
    from scipy.optimize import linprog
    C, a, b, mass, *_ = _prepare(cost, a, b, tol=tol)
    (N, M), P, f, g = C.shape[1:], torch.zeros_like(C), torch.zeros_like(a), torch.zeros_like(b)
    sums = torch.cat([torch.eye(N).repeat_interleave(M, 1), torch.eye(M).repeat(1, N)]).numpy()
    for k in range(len(a)):
        masses = torch.cat([p[k, 0].double() / p[k].double().sum() for p in (a, b)]).cpu().numpy()
        found = linprog(C[k].double().cpu().numpy().ravel(), A_eq=sums, b_eq=masses)
        if found.status != 0:
            raise ValueError(f"exact: problem {k}: {found.message}")
        P[k] = torch.from_numpy(found.x).to(P).view(N, M)
        f[k, 0], g[k, 0] = torch.from_numpy(found.eqlin.marginals).to(P).split([N, M])
    return _report("exact", cost, P, f * (a > 0), g * (b > 0), a, b, mass, 1, tol, warn)


def uniform(cost, a, b):
    """The plan a b' that looks at no cost."""
    _, a, b, mass, *_ = _prepare(cost, a, b)
    return _report("uniform", cost, a.mT * b, 0 * a, 0 * b, a, b, mass, 0, 1e-5, False)


def greedy(cost, a, b):
    """Each y point sends all its mass to its nearest real x (the first of equals); P 1 = a is given up."""
    C, a, b, mass, *_ = _prepare(cost, a, b, balanced=False)
    P = torch.zeros_like(C).scatter_(1, torch.where((a > 0).mT, C, math.inf).argmin(1, keepdim=True), b)
    return _report("greedy", cost, P, 0 * a, 0 * b, a, b, mass, 0, 1e-5, False)


if __name__ == "__main__":  # where each English word goes in a Swahili sentence of toy vectors, # for a tenth
    english, swahili = "the small cat sees two birds".split(), "paka mdogo anaona ndege wawili".split()
    senses = torch.eye(6)  # one direction a meaning; the Swahili reads: cat small sees bird two
    y = senses[[2, 1, 3, 5, 4]] + 0.35 * senses[[0, 2, 0, 0, 5]]
    t = sinkhorn(cosine_cost(senses + 0.25 * senses.roll(1, 0), y), torch.ones(6) / 6, torch.ones(5) / 5)
    for word, row in zip(english, (t.plan * 60).round().int().tolist()):
        print(f"{word:>8}:", *(f"{other} {'#' * tenths}" for other, tenths in zip(swahili, row) if tenths))
    print(f"after {int(t.iterations)} passes, with a marginal error of {t.error:.0e}")
