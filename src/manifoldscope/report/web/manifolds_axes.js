// Points in the principal axes of the classes that are chosen, and which share of their variance these axes show.

/**
 * Points of one network in one layer, as `explore/views/manifolds.py` packs them.
 * @typedef {{n: number, d: number, features: number, label: Int16Array, prediction: Int32Array,
 *   attacked: Int32Array | null, margin: Float32Array, step: number[], clean: Int16Array, adversarial: Int16Array | null,
 *   classes: number[], counts: number[], means: Float32Array, covariances: Float32Array, variance: number[],
 *   distances: Float32Array, movedWithin: number | null}} Points
 * @typedef {{centre: number[], axes: number[][], shares: number[], spanned: number}} Axes
 */

export const SHOWN = 3;

/** @type {Record<string, (buffer: ArrayBuffer) => any>} */
const KINDS = {
  i2: (buffer) => new Int16Array(buffer),
  i4: (buffer) => new Int32Array(buffer),
  f4: (buffer) => new Float32Array(buffer),
};

/**
 * The numbers in a base64 text of little-endian values.
 * @param {string} text
 * @param {"i2" | "i4" | "f4"} kind
 */
export function unpacked(text, kind) {
  return KINDS[kind](Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

/**
 * The points of a network in a layer.
 * @param {any} network its part of the data
 * @param {any} layer its part of that
 * @returns {Points}
 */
export function pointsOf(network, layer) {
  const attacked = network.adversarial_prediction;
  return {
    n: network.n,
    d: layer.d,
    features: layer.n_features,
    label: unpacked(network.label, "i2"),
    prediction: unpacked(network.prediction, "i4"),
    attacked: attacked === null ? null : unpacked(attacked, "i4"),
    margin: unpacked(network.margin, "f4"),
    step: layer.step,
    clean: unpacked(layer.clean, "i2"),
    adversarial: layer.adversarial === null ? null : unpacked(layer.adversarial, "i2"),
    classes: network.classes,
    counts: network.counts,
    means: unpacked(layer.means, "f4"),
    covariances: unpacked(layer.covariances, "f4"),
    variance: layer.variance,
    distances: unpacked(layer.distances, "f4"),
    movedWithin: layer.moved_within,
  };
}

/**
 * The squared distance between the means of two classes, by their places.
 * @param {Points} points
 * @param {number} one
 * @param {number} other
 */
export function distance(points, one, other) {
  if (one === other) return 0;
  const [low, high] = one < other ? [one, other] : [other, one];
  const count = points.classes.length;
  return points.distances[low * count - (low * (low + 1)) / 2 + high - low - 1];
}

/**
 * Positions of the classes to show: those that are chosen and have points; where they are fewer than two, the nearest
 * ones as well; where there are none, those that the page starts with.
 * @param {Points} points
 * @param {number[]} chosen
 * @param {number[]} start
 * @param {number} [fewest]
 */
export function classesShown(points, chosen, start, fewest = 2) {
  const known = chosen.filter((position) => position >= 0 && points.classes.includes(position));
  if (!known.length) return start;
  if (known.length >= fewest) return known;
  const place = points.classes.indexOf(known[0]);
  const order = points.classes.map((_, other) => other).filter((other) => other !== place && points.classes[other] >= 0);
  order.sort((a, b) => distance(points, place, a) - distance(points, place, b));
  return [known[0], ...order.slice(0, fewest - 1).map((other) => points.classes[other])];
}

/**
 * The principal axes of all points of some classes together, and the share of their variance along each: of that in all
 * features of the layer, within the classes and between their means.
 * @param {Points} points
 * @param {number[]} positions of the classes
 * @returns {Axes}
 */
export function sharedAxes(points, positions) {
  const { d, counts, means, variance } = points;
  const places = positions.map((position) => points.classes.indexOf(position));
  const all = places.reduce((sum, place) => sum + counts[place], 0);
  const weight = places.map((place) => counts[place] / all);
  const centre = Array.from({ length: d }, (_, i) => places.reduce((sum, place, c) => sum + weight[c] * means[place * d + i], 0));
  const matrix = Array.from({ length: d }, () => new Array(d).fill(0));
  let total = 0;
  for (const [c, place] of places.entries()) {
    let at = (place * d * (d + 1)) / 2;
    for (let i = 0; i < d; i += 1) {
      for (let j = i; j < d; j += 1) {
        const apart = (means[place * d + i] - centre[i]) * (means[place * d + j] - centre[j]);
        matrix[i][j] += weight[c] * (points.covariances[at] + apart);
        matrix[j][i] = matrix[i][j];
        at += 1;
      }
    }
    total += weight[c] * variance[place];
    for (const [o, other] of places.entries()) total += (weight[c] * weight[o] * distance(points, place, other)) / 2;
  }
  const trace = matrix.reduce((sum, row, i) => sum + row[i], 0);
  const { values, vectors } = eigen(matrix);
  const axes = Array.from({ length: SHOWN }, (_, k) => oriented(vectors[k] ?? new Array(d).fill(0)));
  const shares = axes.map((_, k) => (total > 0 ? Math.min(1, Math.max(0, values[k] ?? 0) / total) : 0));
  return { centre, axes, shares, spanned: total > 0 ? Math.min(1, trace / total) : 0 };
}

/**
 * Coordinates of some images in shared axes, three each.
 * @param {Points} points
 * @param {Axes} shared
 * @param {number[]} rows
 * @param {Int16Array | null} coordinates clean or attacked
 */
export function within(points, shared, rows, coordinates) {
  const { d, step } = points;
  const found = new Float32Array(rows.length * SHOWN);
  if (!coordinates) return found;
  for (const [r, row] of rows.entries()) {
    for (let i = 0; i < d; i += 1) {
      const value = coordinates[row * d + i] * step[i] - shared.centre[i];
      for (let k = 0; k < SHOWN; k += 1) found[r * SHOWN + k] += value * shared.axes[k][i];
    }
  }
  return found;
}

/**
 * The axis in the direction in which its largest coordinate is positive.
 * @param {number[]} axis
 */
function oriented(axis) {
  const largest = axis.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0);
  return largest < 0 ? axis.map((value) => -value) : axis;
}

/**
 * Eigenvalues, falling, and eigenvectors of a symmetric matrix, by cyclic Jacobi rotations.
 * @param {number[][]} matrix
 * @returns {{values: number[], vectors: number[][]}}
 */
export function eigen(matrix) {
  const n = matrix.length;
  const a = matrix.map((row) => [...row]);
  const v = a.map((_, i) => a.map((_, j) => Number(i === j)));
  const size = a.reduce((sum, row) => row.reduce((part, value) => part + value * value, sum), 0);
  for (let sweep = 0; sweep < 60; sweep += 1) {
    let off = 0;
    for (let i = 0; i < n; i += 1) for (let j = 0; j < i; j += 1) off += a[i][j] ** 2;
    if (off <= 1e-26 * size) break;
    for (let p = 0; p < n; p += 1) for (let q = p + 1; q < n; q += 1) rotate(a, v, p, q);
  }
  const order = a.map((_, i) => i).sort((i, j) => a[j][j] - a[i][i]);
  return { values: order.map((i) => a[i][i]), vectors: order.map((i) => v.map((row) => row[i])) };
}

/**
 * One Jacobi rotation, which makes an element zero.
 * @param {number[][]} a
 * @param {number[][]} v
 * @param {number} p
 * @param {number} q
 */
function rotate(a, v, p, q) {
  if (a[p][q] === 0) return;
  const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
  const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
  const c = 1 / Math.hypot(t, 1);
  const s = t * c;
  for (const row of a) [row[p], row[q]] = [c * row[p] - s * row[q], s * row[p] + c * row[q]];
  const [first, second] = [[...a[p]], [...a[q]]];
  for (let k = 0; k < a.length; k += 1) {
    a[p][k] = c * first[k] - s * second[k];
    a[q][k] = s * first[k] + c * second[k];
  }
  for (const row of v) [row[p], row[q]] = [c * row[p] - s * row[q], s * row[p] + c * row[q]];
}
