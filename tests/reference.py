"""The oracle: NumPy float64, plain loops, written from the papers; it imports neither jax nor rnnjax.

A step is ``(params, x, carry) -> (carry, y)`` for one batch element, with ``x [D]``; params are read by
attribute (``params.W.i``), a carry is always a tuple of arrays ``[H]``. Every step is analytic in all that
it is given (the complex LRU is written in real pairs), so a complex step, ``Im f(x + ih) / h``,
differentiates it exactly.
"""

import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def relu(a):
    return np.where(a.real > 0, a, 0)


def leaky_relu(a):
    return np.where(a.real > 0, a, 0.01 * a)


def elu(a):
    return np.where(a.real > 0, a, np.exp(a) - 1)


def softmax(a):
    powers = np.exp(a - a.real.max())
    return powers / powers.sum()


def elman(activation):
    """Elman (1990): h_t = f(W x_t + U h_{t-1} + b)."""

    def step(params, x, carry):
        (h_tm1,) = carry
        h = activation(x @ params.W + h_tm1 @ params.U + params.b)
        return (h,), h

    return step


def lstm(params, x, carry):
    """Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al. (2000)."""
    h_tm1, c_tm1 = carry
    W, U, b = params.W, params.U, params.b
    i = sigmoid(x @ W.i + h_tm1 @ U.i + b.i)
    f = sigmoid(x @ W.f + h_tm1 @ U.f + b.f)
    g = np.tanh(x @ W.g + h_tm1 @ U.g + b.g)
    o = sigmoid(x @ W.o + h_tm1 @ U.o + b.o)
    c = f * c_tm1 + i * g
    h = o * np.tanh(c)
    return (h, c), h


def peephole_lstm(params, x, carry):
    """Gers et al. (2002), section 3: gates see the memory, the output gate the new one."""
    h_tm1, c_tm1 = carry
    W, U, p, b = params.W, params.U, params.p, params.b
    i = sigmoid(x @ W.i + h_tm1 @ U.i + p.i * c_tm1 + b.i)
    f = sigmoid(x @ W.f + h_tm1 @ U.f + p.f * c_tm1 + b.f)
    c = f * c_tm1 + i * np.tanh(x @ W.g + h_tm1 @ U.g + b.g)
    o = sigmoid(x @ W.o + h_tm1 @ U.o + p.o * c + b.o)
    h = o * np.tanh(c)
    return (h, c), h


def coupled_lstm(params, x, carry):
    """Greff et al. (2017), CIFG: f = 1 - i; with peepholes where there are any."""
    h_tm1, c_tm1 = carry
    W, U, p, b = params.W, params.U, params.p, params.b
    p_i, p_o = (0, 0) if p is None else p
    i = sigmoid(x @ W.i + h_tm1 @ U.i + p_i * c_tm1 + b.i)
    c = (1 - i) * c_tm1 + i * np.tanh(x @ W.g + h_tm1 @ U.g + b.g)
    o = sigmoid(x @ W.o + h_tm1 @ U.o + p_o * c + b.o)
    h = o * np.tanh(c)
    return (h, c), h


def projected_lstm(params, x, carry):
    """Sak et al. (2014), section 2.1, without peepholes: the recurrent state is the projected one."""
    h_tm1, c_tm1 = carry
    W, U, b = params.W, params.U, params.b
    i = sigmoid(x @ W.i + h_tm1 @ U.i + b.i)
    f = sigmoid(x @ W.f + h_tm1 @ U.f + b.f)
    o = sigmoid(x @ W.o + h_tm1 @ U.o + b.o)
    c = f * c_tm1 + i * np.tanh(x @ W.g + h_tm1 @ U.g + b.g)
    h = (o * np.tanh(c)) @ params.P
    return (h, c), h


def mgu(params, x, carry):
    """Zhou et al. (2016), equations 11: one gate, the reset before the product."""
    (h_tm1,) = carry
    W, U, b = params.W, params.U, params.b
    f = sigmoid(x @ W.f + h_tm1 @ U.f + b.f)
    candidate = np.tanh(x @ W.n + (f * h_tm1) @ U.n + b.n)
    h = (1 - f) * h_tm1 + f * candidate
    return (h,), h


def flax_mgu(params, x, carry):
    """The documentation of flax.linen.MGUCell: the reset after the product, or none; f keeps."""
    (h_tm1,) = carry
    W, U, b = params.W, params.U, params.b
    f = sigmoid(x @ W.f + h_tm1 @ U.f + b.f)
    hidden = h_tm1 @ U.n if params.b_hn is None else f * (h_tm1 @ U.n + params.b_hn)
    h = (1 - f) * np.tanh(x @ W.n + b.n + hidden) + f * h_tm1
    return (h,), h


def two_biases(step):
    """A cell with a second bias for each gate but that of the candidate n, which the GRU has already."""

    def run(params, x, carry):
        b = [
            first if second is None else first + second for first, second in zip(params.cell.b, params.b_h, strict=True)
        ]
        return step(params.cell._replace(b=type(params.cell.b)(*b)), x, carry)

    return run


def gru_after(params, x, carry):
    """The cuDNN manual's GRU: the reset gate acts on the recurrent product and its bias."""
    (h_tm1,) = carry
    W, U, b = params.W, params.U, params.b
    r = sigmoid(x @ W.r + h_tm1 @ U.r + b.r)
    z = sigmoid(x @ W.z + h_tm1 @ U.z + b.z)
    n = np.tanh(x @ W.n + b.n + r * (h_tm1 @ U.n + params.b_hn))
    h = (1 - z) * n + z * h_tm1
    return (h,), h


def gru_before(params, x, carry):
    """Cho et al. (2014), equations 5 to 8: the reset gate acts on the state."""
    (h_tm1,) = carry
    W, U, b = params.W, params.U, params.b
    r = sigmoid(x @ W.r + h_tm1 @ U.r + b.r)
    z = sigmoid(x @ W.z + h_tm1 @ U.z + b.z)
    n = np.tanh(x @ W.n + (r * h_tm1) @ U.n + b.n)
    h = z * h_tm1 + (1 - z) * n
    return (h,), h


def leaky(activation, leak, noise=0.0):
    """Yang et al. (2019), equations 1 and 2, leak = dt / tau; xi is the standard normal draw of this step."""

    def step(params, x, carry, xi=0.0):
        (h_tm1,) = carry
        current = x @ params.W + h_tm1 @ params.U + params.b + noise * np.sqrt(2 / leak) * xi
        h = h_tm1 + leak * (activation(current) - h_tm1)
        return (h,), h

    return step


def lru(params, x, carry):
    """Orvieto et al. (2023), section 3: a diagonal complex state, as a pair (re, im), turned and shrunk."""
    re_tm1, im_tm1 = carry
    modulus, phase, scale = np.exp(-np.exp(params.nu)), np.exp(params.theta), np.exp(params.gamma)
    re = modulus * (np.cos(phase) * re_tm1 - np.sin(phase) * im_tm1) + scale * (x @ params.B_re)
    im = modulus * (np.sin(phase) * re_tm1 + np.cos(phase) * im_tm1) + scale * (x @ params.B_im)
    y = re @ params.C_re - im @ params.C_im + params.d * x
    return (re, im), y


def positive(a):
    """The g of Feng et al. (2024), appendix B."""
    return np.where(a.real >= 0, a + 0.5, sigmoid(a))


def mingru(activation):
    """Feng et al. (2024), section 3.1."""

    def step(params, x, carry):
        (h_tm1,) = carry
        z = sigmoid(x @ params.W.z + params.b.z)
        n = activation(x @ params.W.n + params.b.n)
        h = (1 - z) * h_tm1 + z * n
        return (h,), h

    return step


def zoneout(step, *rates):
    """Krueger et al. (2016), equations 4 and 5, in expectation; a y that is the state is as carried on."""

    def kept(params, x, carry):
        after, y = step(params, x, carry)
        mixed = tuple(rate * old + (1 - rate) * new for rate, old, new in zip(rates, carry, after, strict=True))
        return mixed, mixed[0] if y is after[0] else y

    return kept


def unroll(step, params, xs, carry, *, initial=None, mask=None, resets=None, reverse=False, noise=None):
    """One element after the other, one time after the other. xs, noise [T, B, ...], carry a tuple of [B, H].

    ``initial`` is the carry, without batch axis, that resets go back to: zeros unless given.
    """
    num_steps, batch_size = xs.shape[:2]
    mask = np.ones((num_steps, batch_size), bool) if mask is None else mask
    resets = np.zeros((num_steps, batch_size), bool) if resets is None else resets
    initial = tuple(np.zeros_like(part[0]) for part in carry) if initial is None else initial
    ys = [[None] * batch_size for _ in range(num_steps)]
    last = []
    for b in range(batch_size):
        h = tuple(part[b] for part in carry)
        for t in reversed(range(num_steps)) if reverse else range(num_steps):
            extra = () if noise is None else (noise[t, b],)
            after, y = step(params, xs[t, b], initial if resets[t, b] else h, *extra)
            h = after if mask[t, b] else h
            ys[t][b] = y if mask[t, b] else np.zeros_like(y)
        last.append(h)
    return tuple(map(np.array, zip(*last, strict=True))), np.array(ys)


def stack(steps, params, xs, carries, **when):
    """Layers one after the other: the outputs of each are the inputs of the next."""
    last = []
    for step, layer_params, carry in zip(steps, params, carries, strict=True):
        carry, xs = unroll(step, layer_params, xs, carry, **when)
        last.append(carry)
    return tuple(last), xs


def bidirectional(steps, params, xs, carries, *, mask, resets):
    """Schuster and Paliwal (1997): the states of both directions, ``(carries, (ys_forward, ys_backward))``.

    Each sequence is cut before every valid step that resets. The backward cell takes the segments from the
    last to the first, each from its end to its start: the last from the given carry, the others from zeros.
    """
    carry_forward, ys_forward = unroll(steps[0], params[0], xs, carries[0], mask=mask, resets=resets)
    num_steps, batch_size = xs.shape[:2]
    ys = [[None] * batch_size for _ in range(num_steps)]
    last = []
    for b in range(batch_size):
        h = tuple(part[b] for part in carries[1])
        fresh = tuple(np.zeros_like(part) for part in h)
        segments = [[]]
        for t in range(num_steps):
            if mask[t, b] and resets[t, b] and segments[-1]:
                segments.append([])
            if mask[t, b]:
                segments[-1].append(t)
            else:
                ys[t][b] = np.zeros_like(steps[1](params[1], xs[t, b], h)[1])
        for index, segment in enumerate(reversed(segments)):
            h = fresh if index else h
            for t in reversed(segment):
                h, ys[t][b] = steps[1](params[1], xs[t, b], h)
        last.append(h)
    return (carry_forward, tuple(map(np.array, zip(*last, strict=True)))), (ys_forward, np.array(ys))
