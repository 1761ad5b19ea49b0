"""How long a run will still take, by what was measured: earlier runs of the kind, and this one so far.

Standard library only.
"""

from __future__ import annotations

import bisect

LEAST_SHARE, LEAST_SECONDS = 0.05, 2.0  # from which a run's own pace says something
SLOWER, FASTER = 4.0, 0.4  # how far this run's pace may differ from the earlier one's
MOST_KINDS = 64

Curve = tuple[tuple[float, float], ...]  # finished share and seconds since the start, both rising


class Remaining:
    """Watches one run."""

    def __init__(self, earlier: Curve = ()) -> None:
        """``earlier`` is what a run of the same kind took."""
        self._earlier = earlier
        self._points: list[tuple[float, float]] = [(0.0, 0.0)]

    def note(self, share: float, seconds: float) -> None:
        """Remember when a share was reached."""
        last_share, last_seconds = self._points[-1]
        if share > last_share and seconds >= last_seconds:
            self._points.append((share, seconds))

    def seconds_left(self, seconds: float) -> float | None:
        """An estimate ``seconds`` after the start; None while nothing is known."""
        share, reached_at = self._points[-1]
        if not self._earlier:
            if share < LEAST_SHARE or seconds < LEAST_SECONDS:
                return None
            whole = reached_at / share
            return max(whole - seconds, 0.0)
        whole, then = self._earlier[-1][1], _seconds_at(self._earlier, share)
        pace = 1.0
        if then > LEAST_SECONDS:
            pace = min(max(reached_at / then, FASTER), SLOWER)
        return max((whole - then) * pace - (seconds - reached_at), 0.0)

    def curve(self, seconds: float) -> Curve:
        """The whole run, which took ``seconds``."""
        return (*(point for point in self._points if point[0] < 1.0), (1.0, seconds))


class History:
    """What runs of each kind took, the newest of each."""

    def __init__(self) -> None:
        self._curves: dict[str, Curve] = {}

    def begin(self, kind: str) -> Remaining:
        """Watch a run of a kind."""
        return Remaining(self._curves.get(kind, ()))

    def end(self, kind: str, run: Remaining, seconds: float) -> None:
        """Remember a run that ended well."""
        self._curves.pop(kind, None)
        self._curves[kind] = run.curve(seconds)
        while len(self._curves) > MOST_KINDS:
            del self._curves[next(iter(self._curves))]


def _seconds_at(curve: Curve, share: float) -> float:
    """When a share was reached, between the points that were noted."""
    after = bisect.bisect_left(curve, (share, 0.0))
    if after == 0:
        return curve[0][1]
    if after == len(curve):
        return curve[-1][1]
    (low, start), (high, end) = curve[after - 1], curve[after]
    return start + (end - start) * (share - low) / max(high - low, 1e-9)


def time_text(seconds: float | None) -> str:
    """An estimate as people read it, such as "about 40 s left"."""
    if seconds is None:
        return "time not known yet"
    if seconds < 1.5:
        return "nearly done"
    if seconds < 90:
        step = 1 if seconds < 10 else 5
        return f"about {max(round(seconds / step) * step, 1)} s left"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min left"
    return f"about {seconds / 3600:.1f} h left"
