// Okabe and Ito's colours, which people with any kind of colour vision can tell apart, and ramps for matrices.

/** Of chosen classes, in the order in which they were chosen. */
export const CLASS_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];

/** Markers for the same, so that no colour has to be told. */
export const CLASS_SHAPES = ["circle", "square", "triangle", "diamond", "down", "cross"];

/**
 * The colour of a class among those chosen; null if it is not.
 * @param {{classes: number[]}} choice
 * @param {number} position
 */
export function classColour(choice, position) {
  const place = choice.classes.indexOf(position);
  return place < 0 ? null : CLASS_COLOURS[place % CLASS_COLOURS.length];
}

/**
 * From light to dark blue, for a share between 0 and 1.
 * @param {number} share
 */
export function ramp(share) {
  return mixed([240, 244, 248], [0, 60, 110], clamped(share));
}

/**
 * From blue through white to vermilion, for a number between -1 and 1.
 * @param {number} value
 */
export function diverging(value) {
  const size = clamped(Math.abs(value));
  return mixed([247, 247, 247], value < 0 ? [0, 114, 178] : [213, 94, 0], size);
}

/** @param {number} value */
function clamped(value) {
  return Math.min(1, Math.max(0, value));
}

/**
 * @param {number[]} one
 * @param {number[]} other
 * @param {number} share
 */
function mixed(one, other, share) {
  return `rgb(${one.map((part, place) => Math.round(part + (other[place] - part) * share)).join(",")})`;
}
