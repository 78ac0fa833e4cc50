// Classes by one number alone, in its order, where there is no other number to set it against.
import { CLASS_SHAPES, classColour } from "./colours.js";
import { s } from "./dom.js";
import { cut } from "./networks.js";
import { plot, points } from "./plot.js";
import { around } from "./scales.js";
import { interval, number } from "./words.js";

/**
 * @typedef {import("./facts.js").Choice} Choice
 * @typedef {import("./facts.js").Page} Page
 * @typedef {{value: import("./facts.js").Numbers, low: import("./facts.js").Numbers | null, high: import("./facts.js").Numbers | null}} Known
 */

/** Up to so many classes have their names beside the axis, and intervals. */
const MOST_NAMED = 25;
const MOST_INTERVALS = 150;

/** Letters of a name beside the axis, and the width of one. */
const LETTERS = 16;
const LETTER = 6.6;

/**
 * A point a class, the largest value above.
 * @param {Page} page
 * @param {Choice} choice
 * @param {Known} known the number of each class, by position
 * @param {{label: string, domain?: [number, number], format?: (value: number | null) => string, width: number}} look
 * @returns {SVGElement}
 */
export function ranked(page, choice, known, { label, domain, format = number, width }) {
  const { facts, store } = page;
  const value = (/** @type {number} */ key) => /** @type {number} */ (known.value[key]);
  const order = [...facts.classes.keys()].filter((key) => typeof known.value[key] === "number").sort((a, b) => value(a) - value(b) || b - a);
  const named = order.length <= MOST_NAMED;
  const barred = order.filter((key) => order.length <= MOST_INTERVALS || choice.classes.includes(key));
  const reach = [...order.map(value), ...barred.flatMap((key) => [known.low?.[key] ?? null, known.high?.[key] ?? null])];
  const longest = Math.max(0, ...order.map((key) => cut(facts.classes[key].name, LETTERS).length));
  const frame = plot({
    width,
    height: named ? Math.max(180, 80 + 20 * order.length) : 400,
    left: named ? Math.round(34 + LETTER * longest) : 58,
    x: { domain: domain ?? around(reach), label, format },
    y: { domain: [0.2, order.length + 0.8], label: named ? "" : "Rank of the class", format: (at) => (named || !Number.isInteger(at) ? "" : number(order.length + 1 - at)) },
    label: `${label}, a point a class, by rank`,
  });
  const items = order.map((key, place) => {
    const { name } = facts.classes[key];
    const chosen = choice.classes.includes(key);
    const bars = barred.includes(key);
    if (named) frame.over.append(s("text", { class: "tick", x: frame.left - 8, y: frame.y(place + 1) + 4, "text-anchor": "end" }, cut(name, LETTERS)));
    return {
      key,
      x: value(key),
      y: place + 1,
      chosen,
      colour: classColour(choice, key) ?? undefined,
      shape: chosen ? CLASS_SHAPES[choice.classes.indexOf(key)] : "circle",
      xLow: bars ? known.low?.[key] : null,
      xHigh: bars ? known.high?.[key] : null,
      label: `${name}: ${label} ${interval(value(key), known.low?.[key], known.high?.[key], format)}; rank ${order.length - place} of ${order.length}`,
    };
  });
  points(frame, items, { label: "classes", onChoose: (item) => store.toggleClass(item.key ?? 0) });
  return frame.svg;
}
