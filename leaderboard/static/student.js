// Student's t distribution, as kdbench/records/distributions.py has it; and Holm's correction.
"use strict";

const LANCZOS = [0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7];

function logGamma(x) {
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  const y = x - 1;
  const sum = LANCZOS.reduce((total, c, i) => (i ? total + c / (y + i) : c), 0);
  const t = y + 7.5;
  return 0.5 * Math.log(2 * Math.PI) + (y + 0.5) * Math.log(t) - t + Math.log(sum);
}

// The regularised incomplete beta function I_x(a, b), by its continued fraction (Lentz's method); x + rest = 1.
function incompleteBeta(x, rest, a, b) {
  if (x <= 0 || rest <= 0) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(rest, x, b, a);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log(rest));
  const tiny = 1e-300;
  let c = 1, d = 1 / ((1 - ((a + b) * x) / (a + 1)) || tiny), fraction = d;
  for (let m = 1; m < 1000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    for (const term of [even, odd]) {
      d = 1 / ((1 + term * d) || tiny);
      c = (1 + term / c) || tiny;
      fraction *= c * d;
    }
    if (Math.abs(c * d - 1) < 1e-15) break;
  }
  return (front / a) * fraction;
}

// P(|T| >= |t|).
function studentTails(t, df) { return incompleteBeta(df / (df + t * t), (t * t) / (df + t * t), df / 2, 0.5); }

// The value below which T falls with probability p >= 1/2, by bisection.
function studentQuantile(p, df) {
  let low = 0, high = 1;
  while (studentTails(high, df) > 2 * (1 - p)) high *= 2;
  for (let i = 0; i < 200 && high - low > 1e-12 * high; i++) {
    const middle = (low + high) / 2;
    if (studentTails(middle, df) > 2 * (1 - p)) low = middle; else high = middle;
  }
  return (low + high) / 2;
}

const LEVEL = 0.05, POWER = 0.8;
const MATTERS = 1; // percentage points, as in kdbench/records/standings.py

// A difference of two rows: interval, p-value, and what would be told from 0 four times in five at a p-value of `limit`.
function contrastOf(mean, error, freedom, limit = LEVEL) {
  if (error === null) return { mean, low: null, high: null, p: null, detectable: null };
  const half = studentQuantile(0.975, freedom) * error;
  const p = error === 0 ? (mean === 0 ? 1 : 0) : studentTails(mean / error, freedom);
  const detectable = error * (studentQuantile(1 - limit / 2, freedom) + studentQuantile(POWER, freedom));
  return { mean, low: mean - half, high: mean + half, p, detectable };
}

// Holm's adjusted p-values; null stays null and counts.
function holm(ps) {
  const found = ps.map(() => null);
  let floor = 0;
  ps.map((p, i) => [p, i]).filter(([p]) => p !== null).sort((x, y) => x[0] - y[0]).forEach(([p, i], rank) => {
    floor = Math.max(floor, Math.min(1, (ps.length - rank) * p));
    found[i] = floor;
  });
  return found;
}

// What is said of a difference: as `kdbench compare` says it.
function verdictOf({ mean, low, high }, p) {
  if (p === null) return "none";
  if (p <= LEVEL && mean !== 0) return mean > 0 ? "better" : "worse";
  return low <= -MATTERS || high >= MATTERS ? "open" : "level";
}
