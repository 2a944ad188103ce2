"""MR signal by stepping magnetisation through the sequence, pulse after pulse, until it repeats itself.

No closed formula of a steady state is used: a spin echo train, an inversion-prepared gradient echo and a spoiled
gradient echo are run in time for each tissue, from equilibrium, for as many repetitions as the state needs to settle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.unseen.tissues import Tissue

__all__ = ["Sequence", "level"]


@dataclass(frozen=True)
class Sequence:
    """What the scanner plays.

    Attributes:
        kind: ``spin_echo`` (a train of `echoes`, the centre of k-space at `te_ms`), ``mprage`` (inversion, then
            `echoes` shots `tr_shot_ms` apart, the centre of k-space at `ti_ms`) or ``flash`` (spoiled gradient echo).
        tesla: 1.5 or 3.
        tr_ms: Repetition time, of the inversion for ``mprage``.
        te_ms: Effective echo time.
        flip_deg: Of the excitation.
        ti_ms: Inversion time.
        echoes: In a train.
        spacing_ms: Of the echoes or shots in a train.
        refocus_deg: Of the refocusing pulses.
    """

    kind: str
    tesla: float
    tr_ms: float
    te_ms: float
    flip_deg: float = 90.0
    ti_ms: float = 0.0
    echoes: int = 1
    spacing_ms: float = 10.0
    refocus_deg: float = 150.0


def level(tissue: Tissue, sequence: Sequence) -> float:
    """Signal of a tissue in units of that of fully relaxed water."""
    if tissue.pd == 0:
        return 0.0
    field = 0 if sequence.tesla < 2 else 1
    t1, t2 = tissue.t1_ms[field], tissue.t2_ms[field]
    played = {"spin_echo": _spin_echo, "mprage": _mprage, "flash": _flash}[sequence.kind]
    return tissue.pd * abs(played(sequence, t1, t2))


def _relaxed(mz: float, time_ms: float, t1_ms: float) -> float:
    return 1 + (mz - 1) * float(np.exp(-max(time_ms, 0.0) / t1_ms))


def _spin_echo(s: Sequence, t1: float, t2: float) -> float:
    """A train of spin echoes as coherences (extended phase graph): refocusing pulses of less than 180 degrees."""
    orders, echoes = s.echoes + 2, s.echoes
    half1, half2 = np.exp(-s.spacing_ms / 2 / t1), np.exp(-s.spacing_ms / 2 / t2)
    a = np.deg2rad(s.refocus_deg)
    c, r, q = np.cos(a / 2) ** 2, np.sin(a / 2) ** 2, np.sin(a)
    pulse = np.array([[c, r, -1j * q], [r, c, 1j * q], [-0.5j * q, 0.5j * q, np.cos(a)]])
    flip, mz, signal = np.deg2rad(s.flip_deg), 1.0, 0.0
    for _ in range(10):  # repetitions, until the state repeats itself
        state = np.zeros((3, orders), dtype=complex)  # F+, F-, Z by order
        state[0, 0] = state[1, 0] = mz * np.sin(flip)
        state[2, 0] = mz * np.cos(flip)
        for echo in range(1, echoes + 1):
            state = _dephased(state, half1, half2)
            state = _dephased(pulse @ state, half1, half2)
            if echo == max(1, round(s.te_ms / s.spacing_ms)):
                signal = abs(state[0, 0])
        mz = _relaxed(float(state[2, 0].real), s.tr_ms - echoes * s.spacing_ms, t1)
    return float(signal)


def _dephased(state: npt.NDArray[np.complex128], decay1: float, decay2: float) -> npt.NDArray[np.complex128]:
    """Half an echo spacing: relaxation, then every transverse order grows by one."""
    plus, minus, z = decay2 * state[0], decay2 * state[1], decay1 * state[2]
    z[0] += 1 - decay1
    up, down = np.roll(plus, 1), np.roll(minus, -1)
    down[-1] = 0
    up[0] = np.conj(down[0])
    return np.stack([up, down, z])


def _mprage(s: Sequence, t1: float, t2: float) -> float:
    flip = np.deg2rad(s.flip_deg)
    shots = max(1, s.echoes)
    before = s.ti_ms - shots // 2 * s.spacing_ms
    mz, signal = 1.0, 0.0
    for _ in range(8):
        mz = _relaxed(-0.96 * mz, before, t1)
        for shot in range(shots):
            if shot == shots // 2:
                signal = float(mz * np.sin(flip) * np.exp(-s.te_ms / t2))
            mz = _relaxed(mz * float(np.cos(flip)), s.spacing_ms, t1)
        mz = _relaxed(mz, s.tr_ms - before - shots * s.spacing_ms, t1)
    return signal


def _flash(s: Sequence, t1: float, t2: float) -> float:
    flip = np.deg2rad(s.flip_deg)
    mz = 1.0
    for _ in range(int(6 * t1 / s.tr_ms) + 20):
        mz = _relaxed(mz * float(np.cos(flip)), s.tr_ms, t1)
    return float(mz * np.sin(flip) * np.exp(-s.te_ms / t2))
