// Which rows and columns of a large matrix are shown, and in which order.
import { unpacked } from "./cards.js";

/**
 * @typedef {import("./facts.js").Facts} Facts
 * @typedef {import("./facts.js").Choice} Choice
 * @typedef {import("./cards.js").Counts} Counts
 */

/** At most so many classes are shown at once. */
export const MOST_SHOWN = 40;

/** Instead of a distance that there is not. */
const NONE = 65535;

/** How rows and columns can be sorted. */
export const ORDERS = /** @type {const} */ (["index", "robust", "distance"]);

/**
 * Positions of all classes in an order; by index where there is none of that kind.
 * @param {Facts} facts
 * @param {any} data of the view
 * @param {Choice} choice
 * @param {string} order one of `ORDERS`
 * @param {Counts} counts
 * @returns {number[]}
 */
export function ordered(facts, data, choice, order, counts) {
  const every = [...facts.classes.keys()];
  if (order === "distance") return data.orders[`${choice.network}.${choice.layer}`] ?? every;
  if (order !== "robust") return every;
  const share = every.map((place) => (counts.n[place] ? counts.correct[place] / counts.n[place] : 2));
  return every.sort((a, b) => share[a] - share[b] || a - b);
}

/**
 * The classes that are shown, in the given order: all of few, or else the most confused with those that are chosen,
 * those around one class, or a page.
 * @param {number[]} order
 * @param {string} which "confused", "around", or the number of a page from 0
 * @param {Counts} counts
 * @param {number[]} chosen
 * @returns {number[]}
 */
export function shown(order, which, counts, chosen) {
  if (order.length <= MOST_SHOWN) return order;
  if (which === "around" && chosen.length) {
    const middle = order.indexOf(chosen[chosen.length - 1]);
    const first = Math.max(0, Math.min(middle - MOST_SHOWN / 2, order.length - MOST_SHOWN));
    return order.slice(first, first + MOST_SHOWN);
  }
  if (which !== "confused" && which !== "around") return order.slice(MOST_SHOWN * Number(which), MOST_SHOWN * (Number(which) + 1));
  /** @type {Map<number, number>} */
  const sizes = new Map();
  for (let i = 0; i < counts.of.length; i += 3) {
    const [label, other, count] = counts.of.slice(i, i + 3);
    sizes.set(label, (sizes.get(label) ?? 0) + count);
    if (other >= 0) sizes.set(other, (sizes.get(other) ?? 0) + count);
  }
  const rank = (/** @type {number} */ place) => (chosen.includes(place) ? Infinity : (sizes.get(place) ?? 0));
  const most = [...order].sort((a, b) => (rank(a) === rank(b) ? a - b : rank(b) - rank(a))).slice(0, MOST_SHOWN);
  return order.filter((place) => most.includes(place));
}

/**
 * Counts of the shown classes, and last of each row what is classified as any other.
 * @param {Counts} counts
 * @param {number[]} places
 * @returns {number[][]}
 */
export function table(counts, places) {
  const column = new Map(places.map((place, i) => [place, i]));
  const rows = places.map((place, i) => {
    const row = Array(places.length + 1).fill(0);
    row[i] = counts.correct[place];
    row[places.length] = counts.n[place] - counts.correct[place];
    return row;
  });
  for (let i = 0; i < counts.of.length; i += 3) {
    const [row, other] = [column.get(counts.of[i]), column.get(counts.of[i + 1])];
    if (row === undefined || other === undefined) continue;
    rows[row][other] = counts.of[i + 2];
    rows[row][places.length] -= counts.of[i + 2];
  }
  return rows;
}

/**
 * The distance of two classes in a layer, for a function of their positions; null where it is not in the page.
 * @param {any} data of the view
 * @param {Choice} choice
 * @returns {((one: number, other: number) => number | null)}
 */
export function distances(data, choice) {
  const packed = data.distances[`${choice.network}.${choice.layer}`];
  if (!packed) return () => null;
  const levels = unpacked(packed.values);
  const n = packed.classes.length;
  const place = new Map(packed.classes.map((/** @type {number} */ each, /** @type {number} */ i) => [each, i]));
  return (one, other) => {
    const [a, b] = [place.get(one), place.get(other)].sort((p, q) => Number(p) - Number(q));
    if (a === undefined || b === undefined || a === b) return null;
    const level = levels[Number(a) * n - (Number(a) * (Number(a) + 1)) / 2 + Number(b) - Number(a) - 1];
    return level === NONE ? null : packed.low + packed.step * level;
  };
}
