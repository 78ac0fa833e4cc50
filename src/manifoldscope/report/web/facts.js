// What the page holds: names, numbers and sentences that were made when the report was written.

/**
 * @typedef {{name: string, colour: string, dash: string, at_chance: boolean}} Network
 * @typedef {{name: string, depths: (number | null)[]}} Layer
 * @typedef {{name: string, parameters: string, label: string}} Measure
 * @typedef {{value: number, label: string}} Strength
 * @typedef {{name: string, label: string, symbol: string, strengths: Strength[], iterates: {name: string, label: string}[]}} Attack
 * @typedef {{index: number, name: string}} Class
 * @typedef {(number | null)[]} Numbers
 * @typedef {{value: Numbers, low: Numbers | null, high: Numbers | null, ceiling: Numbers | null, n: Numbers | null}} Values
 * @typedef {{n: number[], k: Numbers, low: Numbers, high: Numbers, clean: Numbers, odds: Numbers, odds_half: Numbers}} Accuracy
 * @typedef {{slope: number, intercept: number, half: number, n: number, mean: number, spread: number}} Line
 * @typedef {{text: string, line: Line | null}} Cell
 * @typedef {{network: number, layer: number, measure: number, attack: number, strength: number, iterate: number,
 *   outcome: number, classes: number[], view: string}} Choice
 * @typedef {{name: string, title: string, caption: string, missing: string, data: any}} ViewFacts
 * @typedef {{name: string, question: string, networks: Network[], layers: Layer[], measures: Measure[],
 *   attacks: Attack[], classes: Class[], outcomes: {name: string, label: string}[], geometry: Record<string, Values>,
 *   accuracy: Record<string, Accuracy>, cells: Record<string, Cell>, start: Choice, left_out: string,
 *   views: ViewFacts[]}} Facts
 * @typedef {import("./choice.js").Store} Store
 * @typedef {{facts: Facts, data: any, store: Store}} Page
 * @typedef {{mount: (host: HTMLElement, page: Page) => {update: (choice: Choice) => void}}} View
 */

/**
 * The facts of this page: JSON, compressed, as text.
 * @param {string} id of the element that holds them
 * @returns {Promise<Facts>}
 */
export async function facts(id) {
  const text = document.getElementById(id)?.textContent ?? "";
  const letters = atob(text.trim());
  const bytes = new Uint8Array(letters.length);
  for (let place = 0; place < letters.length; place += 1) bytes[place] = letters.charCodeAt(place); // many times faster than from()
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return spread(JSON.parse(await new Response(stream).text()));
}

/**
 * What is written once in the file, for every class: ceilings and numbers of images that all share, and intervals.
 * @param {any} packed
 * @returns {Facts}
 */
export function spread(packed) {
  const n = packed.classes.length;
  const all = (/** @type {any} */ value) => (Array.isArray(value) ? value : value === null ? null : Array(n).fill(value));
  for (const values of Object.values(packed.geometry)) {
    const { value, half } = values;
    values.low = half && value.map((/** @type {number | null} */ each, /** @type {number} */ i) => moved(each, half[i], -1));
    values.high = half && value.map((/** @type {number | null} */ each, /** @type {number} */ i) => moved(each, half[i], 1));
    values.ceiling = all(values.ceiling);
    values.n = all(values.n);
  }
  for (const counts of Object.values(packed.accuracy)) {
    counts.n = all(counts.n);
    const ends = counts.k.map((/** @type {number} */ k, /** @type {number} */ i) => packed.intervals[`${k}/${counts.n[i]}`] ?? [null, null]);
    counts.low = ends.map((/** @type {number[]} */ both) => both[0]);
    counts.high = ends.map((/** @type {number[]} */ both) => both[1]);
  }
  return packed;
}

/**
 * @param {number | null} value
 * @param {number | null} half
 * @param {number} sign
 */
function moved(value, half, sign) {
  return value === null || half === null ? null : value + sign * half;
}

/**
 * The values of the chosen measure over the classes; undefined where there are none.
 * @param {Facts} all
 * @param {Choice} choice
 * @returns {Values | undefined}
 */
export function values(all, choice) {
  return all.geometry[`${choice.network}.${choice.layer}.${choice.measure}`];
}

/**
 * How many images of each class are robust under the chosen attack; undefined where it was not run.
 * @param {Facts} all
 * @param {Choice} choice
 * @returns {Accuracy | undefined}
 */
export function accuracy(all, choice) {
  return all.accuracy[`${choice.network}.${choice.attack}.${choice.strength}.${choice.iterate}`];
}

/**
 * The chosen outcome over the classes, with its interval; undefined where the attack was not run.
 * @param {Facts} all
 * @param {Choice} choice
 * @returns {{value: Numbers, low: Numbers, high: Numbers} | undefined}
 */
export function outcome(all, choice) {
  const counts = accuracy(all, choice);
  if (!counts) return undefined;
  if (all.outcomes[choice.outcome].name === "robust_accuracy") {
    const value = counts.k.map((k, i) => (k === null || !counts.n[i] ? null : k / counts.n[i]));
    return { value, low: counts.low, high: counts.high };
  }
  const { odds, odds_half: half } = counts;
  return { value: odds, low: odds.map((each, i) => moved(each, half[i], -1)), high: odds.map((each, i) => moved(each, half[i], 1)) };
}

/**
 * What is known of the association in the chosen cell; undefined where it was not tested.
 * @param {Facts} all
 * @param {Choice} choice
 * @returns {Cell | undefined}
 */
export function cell(all, choice) {
  const { network, layer, measure, attack, strength, iterate, outcome } = choice;
  return all.cells[[network, layer, measure, attack, strength, iterate, outcome].join(".")];
}
