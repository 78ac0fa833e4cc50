// From data to places on the page.

/** @typedef {((value: number) => number) & {domain: [number, number], ticks: (n: number) => number[], invert: (place: number) => number}} Scale */

/**
 * A linear scale; a domain without extent maps to the middle.
 * @param {[number, number]} domain
 * @param {[number, number]} range
 * @returns {Scale}
 */
export function linear(domain, range) {
  const [low, high] = domain;
  const extent = high - low || 1;
  const middle = high === low;
  /** @param {number} value */
  const scale = (value) => range[0] + (middle ? 0.5 : (value - low) / extent) * (range[1] - range[0]);
  return Object.assign(scale, {
    domain,
    /** @param {number} n */
    ticks: (n) => ticks(low, high, n),
    /** @param {number} place */
    invert: (place) => low + ((place - range[0]) / (range[1] - range[0] || 1)) * extent,
  });
}

/**
 * A domain a little wider than the numbers; never without extent.
 * @param {(number | null | undefined)[]} values
 * @param {number} [margin] a share of the extent
 * @returns {[number, number]}
 */
export function around(values, margin = 0.06) {
  const known = values.filter((value) => typeof value === "number" && Number.isFinite(value));
  const numbers = /** @type {number[]} */ (known);
  if (!numbers.length) return [0, 1];
  let low = numbers[0];
  let high = numbers[0];
  for (const value of numbers) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const extent = high - low || Math.abs(high) || 1;
  return [low - margin * extent, high + margin * extent];
}

/**
 * Round numbers between two ends, about `n` of them.
 * @param {number} low
 * @param {number} high
 * @param {number} n
 */
function ticks(low, high, n) {
  const raw = (high - low) / Math.max(1, n);
  if (!(raw > 0)) return [low];
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * unit).find((each) => each >= raw * 0.999) ?? unit;
  const found = [];
  for (let place = Math.ceil(low / step - 1e-9); place * step <= high + 1e-9 * step; place += 1) {
    found.push(Number((place * step).toPrecision(12)));
  }
  return found;
}
