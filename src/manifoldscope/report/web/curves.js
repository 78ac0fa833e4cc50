// What several pictures of curves share: bands, marks that are hollow, and the room that a picture has.
import { s } from "./dom.js";

/** @typedef {import("./scales.js").Scale} Scale */

/**
 * How wide a picture is drawn, so that its letters keep their size on a phone.
 * @param {HTMLElement} host
 * @param {number} [most]
 */
export function room(host, most = 640) {
  return Math.round(Math.max(320, Math.min(most, host.clientWidth || most)));
}

/**
 * The area between two curves; where one of them has nothing, it is interrupted.
 * @param {{x: Scale, y: Scale}} onto
 * @param {number[]} at
 * @param {(number | null)[]} low
 * @param {(number | null)[]} high
 * @param {Record<string, string | number | null>} look
 */
export function band(onto, at, low, high, look) {
  const known = [...at.keys()].filter((i) => low[i] !== null && high[i] !== null && low[i] !== undefined && high[i] !== undefined);
  const place = (/** @type {number} */ i, /** @type {(number | null)[]} */ ends) =>
    `${onto.x(at[i]).toFixed(1)} ${onto.y(/** @type {number} */ (ends[i])).toFixed(1)}`;
  const edge = [...known.map((i) => place(i, low)), ...known.reverse().map((i) => place(i, high))];
  return s("path", { ...look, d: edge.length ? `M${edge.join("L")}Z` : "" });
}

/**
 * An upright line through the whole height of a picture.
 * @param {{x: Scale, top: number, bottom: number}} frame
 * @param {number} value
 * @param {string} name the class that styles it
 */
export function upright(frame, value, name) {
  const x = frame.x(value).toFixed(1);
  return s("line", { class: name, x1: x, x2: x, y1: frame.top, y2: frame.bottom });
}

/**
 * Small squares, which tell the line of a class from that of a network.
 * @param {{x: Scale, y: Scale}} onto
 * @param {[number, number | null][]} at
 * @param {string | null} colour
 */
export function squares(onto, at, colour) {
  const known = at.filter(([, y]) => y !== null);
  const place = (/** @type {number} */ x, /** @type {number} */ y) => `M${(onto.x(x) - 2.8).toFixed(1)} ${(onto.y(y) - 2.8).toFixed(1)}h5.6v5.6h-5.6z`;
  return s("path", { class: "squares", fill: colour, d: known.map(([x, y]) => place(x, y ?? 0)).join("") });
}

/**
 * A mark with its colour as an outline alone.
 * @param {SVGElement} mark
 * @param {string} colour
 */
export function hollow(mark, colour) {
  mark.classList.add("hollow");
  mark.firstElementChild?.setAttribute("stroke", colour);
}

/**
 * Numbers of which the file has one for all.
 * @template Any
 * @param {Any | Any[]} value
 * @param {number} n
 * @returns {Any[]}
 */
export function each(value, n) {
  return Array.isArray(value) ? value : Array(n).fill(value);
}
