// Which line is which network: a button each, which chooses it.
import { h, s } from "./dom.js";

/**
 * @typedef {import("./facts.js").Page} Page
 * @typedef {import("./facts.js").Choice} Choice
 */

/** So many networks have a button; the list above has all. */
const MOST_BUTTONS = 12;

/**
 * The networks of a picture with their colours and dashes; the chosen one is always among them.
 * @param {Page} page
 * @param {Choice} choice
 * @param {number[]} positions of the networks that are drawn
 * @returns {HTMLElement}
 */
export function networks(page, choice, positions) {
  const shown = positions.slice(0, MOST_BUTTONS);
  if (positions.includes(choice.network) && !shown.includes(choice.network)) shown[shown.length - 1] = choice.network;
  const more = positions.length - shown.length;
  const button = (/** @type {number} */ n) => {
    const { name, colour, dash } = page.facts.networks[n];
    return h(
      "button",
      { type: "button", "data-key": `network-${n}`, "aria-pressed": String(n === choice.network), onclick: () => page.store.set({ network: n }) },
      s("svg", { viewBox: "0 0 26 8", "aria-hidden": "true" }, s("line", { x1: 1, x2: 25, y1: 4, y2: 4, stroke: colour, "stroke-width": 2.5, "stroke-dasharray": dash })),
      cut(name, 28),
    );
  };
  return h("div", { class: "networks", role: "group", "aria-label": "networks" }, ...shown.map(button), more > 0 && h("span", {}, `and ${more} more in the list of networks`));
}

/**
 * A name that fits.
 * @param {string} text
 * @param {number} most letters
 */
export function cut(text, most) {
  const letters = [...text];
  return letters.length <= most ? text : `${letters.slice(0, most - 1).join("")}…`;
}
