// Every specification of a network by rank, and below it what each one is.
import { each, hollow, room, upright } from "../curves.js";
import { clear, h, s } from "../dom.js";
import { cut } from "../networks.js";
import { keepingFocus, plot, points } from "../plot.js";
import { behind } from "../table.js";
import { coefficient, interval, number } from "../words.js";

/**
 * @typedef {import("../facts.js").Choice} Choice
 * @typedef {import("../facts.js").Page} Page
 * @typedef {{name: string, title: string, labels: string[], at: (Record<string, number | string> | null)[]}} Part
 * @typedef {{given: string, method: string, text: string, answers: boolean, n: number, median: number | null, rank: number[] | null,
 *   r: number[], low: (number | null)[] | null, high: (number | null)[] | null, p: (number | null)[] | null, seen: string,
 *   chosen: Record<string, number[]>}} Curve
 * @typedef {ReturnType<typeof plot>} Frame
 */

/** The height of a row, and the width of a letter that is bold. */
const ROW = 15;
const LETTER = 7;

export const view = {
  /**
   * @param {HTMLElement} host
   * @param {Page} page
   */
  mount(host, page) {
    const given = h("div", { class: "given", role: "radiogroup", "aria-label": "what is held fixed" });
    const said = h("p", { class: "fact", "aria-live": "polite" });
    const picture = h("div", { class: "picture" });
    const rows = h("div");
    let place = 0;
    host.append(given, said, picture, rows, ...[page.data.at_chance, page.data.left_out].filter(Boolean).map((text) => h("p", { class: "hint" }, text)));
    const update = (/** @type {Choice} */ choice) => {
      /** @type {Curve[]} */
      const curves = page.data.networks[choice.network] ?? [];
      place = Math.min(place, Math.max(0, curves.length - 1));
      const choose = (/** @type {number} */ i) => {
        place = i;
        update(page.store.choice);
      };
      keepingFocus(given, () => clear(given).append(...curves.map((curve, i) => radio(curve, i, place, choose))));
      const curve = curves[place];
      said.textContent = curve?.text ?? "";
      keepingFocus(picture, () => drawn(clear(picture), page, choice, curve));
      clear(rows);
      if (curve?.r.length) rows.append(tabled(page, curve));
    };
    return { update };
  },
};

/**
 * @param {Curve} curve
 * @param {number} i
 * @param {number} place
 * @param {(i: number) => void} choose
 */
function radio(curve, i, place, choose) {
  const input = h("input", { type: "radio", name: "given", "data-key": `given-${i}`, checked: i === place, onchange: () => choose(i) });
  return h("label", {}, input, `${curve.given} (${curve.method})`);
}

/**
 * @param {HTMLElement} picture
 * @param {Page} page
 * @param {Choice} choice
 * @param {Curve | undefined} curve
 */
function drawn(picture, page, choice, curve) {
  const network = page.facts.networks[choice.network];
  if (!curve?.r.length) {
    const why = curve ? "there is no coefficient" : `${network?.name ?? "this network"} has no curve of four specifications or more, or is at chance level`;
    picture.append(h("p", { class: "missing" }, `Nothing to draw: ${why}.`));
    return;
  }
  const colour = curve.answers ? network.colour : "var(--soft)";
  const wide = room(picture, 760);
  const parts = /** @type {Part[]} */ (page.data.choices).filter((part) => varies(curve, part.name));
  const longest = Math.max(0, ...parts.flatMap((part) => used(curve, part).map((i) => cut(part.labels[i], 24).length)));
  const left = Math.round(Math.min(wide * 0.36, Math.max(58, 16 + LETTER * longest)));
  const margin = Math.max(0.7, 0.02 * curve.n);
  const frame = plot({
    width: wide,
    height: 280,
    left,
    x: { domain: [1 - margin, curve.n + margin], label: "Specification, by rising coefficient", ticks: wide < 500 ? 4 : 6, format: whole },
    y: { domain: [-1.05, 1.05], label: `Coefficient (${curve.method})`, ticks: 5, format: coefficient },
    label: `coefficients of ${network.name} under every specification, ${curve.given}`,
  });
  const across = (/** @type {number} */ value, /** @type {string} */ name) => s("line", { class: name, x1: frame.left, x2: frame.right, y1: frame.y(value), y2: frame.y(value) });
  const above = (/** @type {number} */ value, /** @type {string} */ text, /** @type {number} */ x, /** @type {string} */ anchor, dy = -5) =>
    frame.over.append(s("text", { class: "tick level", x, y: frame.y(value) + dy, "text-anchor": anchor }, text));
  frame.area.append(across(0, "zero"));
  if (wide >= 500) above(0, "no association", frame.right - 4, "end", 13);
  if (curve.median !== null) {
    frame.area.append(across(curve.median, "median"));
    if (wide >= 500) above(curve.median, `median ${coefficient(curve.median)}`, frame.left + 6, "start", curve.median < 0 ? 14 : -5);
  }
  const at = chosenPlace(page, choice, curve);
  if (at >= 0) frame.area.append(upright(frame, rank(curve, at), "cursor"));
  marks(frame, page, curve, at, colour);
  const below = raster(page, curve, parts, { frame, wide, at, colour });
  picture.append(frame.svg, ...(below ? [below] : []));
}

/** @param {number} value */
function whole(value) {
  return Number.isInteger(value) && value > 0 ? number(value) : "";
}

/**
 * @param {Curve} curve
 * @param {number} i
 */
function rank(curve, i) {
  return curve.rank ? curve.rank[i] : i + 1;
}

/**
 * @param {Curve} curve
 * @param {string} name
 */
function varies(curve, name) {
  return new Set(curve.chosen[name].filter((i) => i >= 0)).size > 1;
}

/**
 * The values that occur, by their order.
 * @param {Curve} curve
 * @param {Part} part
 */
function used(curve, part) {
  return [...new Set(curve.chosen[part.name])].filter((i) => i >= 0).sort((a, b) => a - b);
}

/**
 * What is to be chosen to see a specification; null where the page does not hold it.
 * @param {Page} page
 * @param {Curve} curve
 * @param {number} i
 * @returns {Partial<Choice> | null}
 */
function setting(page, curve, i) {
  /** @type {Record<string, any>} */
  const found = {};
  for (const part of /** @type {Part[]} */ (page.data.choices)) {
    const value = part.at[curve.chosen[part.name][i]];
    if (!value) return null;
    Object.assign(found, value);
  }
  found.iterate = page.facts.attacks[found.attack].iterates.findIndex((one) => one.name === found.iterate);
  return found.iterate < 0 ? null : found;
}

/**
 * Where the choice stands among the specifications; -1 where it is not among them.
 * @param {Page} page
 * @param {Choice} choice
 * @param {Curve} curve
 */
function chosenPlace(page, choice, curve) {
  return curve.r.findIndex((_, i) => {
    const found = setting(page, curve, i);
    return found !== null && Object.entries(found).every(([name, value]) => /** @type {any} */ (choice)[name] === value);
  });
}

/**
 * @param {Page} page
 * @param {Curve} curve
 * @param {number} i
 */
function named(page, curve, i) {
  const parts = /** @type {Part[]} */ (page.data.choices).filter((part) => part.labels[curve.chosen[part.name][i]]);
  return parts.map((part) => part.labels[curve.chosen[part.name][i]]).join(", ");
}

/**
 * @param {Frame} frame
 * @param {Page} page
 * @param {Curve} curve
 * @param {number} at
 * @param {string} colour
 */
function marks(frame, page, curve, at, colour) {
  const size = Math.max(2, Math.min(4.5, 500 / curve.r.length));
  const items = curve.r.map((r, i) => {
    const value = interval(r, curve.low?.[i], curve.high?.[i], coefficient);
    const p = typeof curve.p?.[i] === "number" ? `, p = ${number(curve.p[i], 2)}` : "";
    const there = setting(page, curve, i) ? "" : "; this page does not hold it";
    return {
      key: i,
      x: rank(curve, i),
      y: r,
      yLow: curve.low?.[i],
      yHigh: curve.high?.[i],
      colour,
      chosen: i === at,
      size: i === at ? 6.5 : size,
      label: `${named(page, curve, i)}: ${value}${p}${there}`,
    };
  });
  const drawn = points(frame, items, {
    label: "specifications",
    onChoose: (_, i) => {
      const found = setting(page, curve, i);
      if (found) page.store.set(found);
    },
  });
  for (const [i, mark] of drawn.marks.entries()) if (curve.seen[i] === "0" || !curve.answers) hollow(mark, colour);
}

/**
 * A row for each value of each choice, with a tick under the specifications that have it.
 * @param {Page} page
 * @param {Curve} curve
 * @param {Part[]} parts
 * @param {{frame: Frame, wide: number, at: number, colour: string}} look
 */
function raster(page, curve, parts, { frame, wide, at, colour }) {
  if (!parts.length) return null;
  const lines = [];
  const [first, last] = [frame.x(rank(curve, 0)), frame.x(rank(curve, curve.r.length - 1))];
  const tick = Math.max(0.8, Math.min(6, (0.8 * (last - first)) / Math.max(1, curve.r.length - 1)));
  let y = 4;
  for (const part of parts) {
    lines.push(s("text", { class: "tick part", x: 4, y: (y += ROW) - 3 }, part.title));
    for (const value of used(curve, part)) {
      const has = curve.chosen[part.name].map((each, i) => (each === value ? i : -1)).filter((i) => i >= 0);
      const d = has.map((i) => `M${frame.x(rank(curve, i)).toFixed(1)} ${y + 2}v${ROW - 4}`).join("");
      const mine = at >= 0 && curve.chosen[part.name][at] === value;
      const label = s("text", { class: mine ? "tick chosen" : "tick", x: frame.left - 7, y: y + ROW - 4, "text-anchor": "end" }, cut(part.labels[value], Math.floor((frame.left - 12) / LETTER)));
      label.append(s("title", {}, part.labels[value]));
      lines.push(s("line", { class: "grid", x1: frame.left, x2: frame.right, y1: y + ROW, y2: y + ROW }), s("path", { d, stroke: colour, "stroke-width": tick.toFixed(2) }), label);
      y += ROW;
    }
  }
  if (at >= 0) lines.unshift(s("line", { class: "cursor", x1: frame.x(rank(curve, at)), x2: frame.x(rank(curve, at)), y1: 0, y2: y + 4 }));
  const said = `which choices each specification makes; the table below has them`;
  return s("svg", { class: "plot raster", viewBox: `0 0 ${wide} ${y + 6}`, role: "img", "aria-label": said }, ...lines);
}

/**
 * @param {Page} page
 * @param {Curve} curve
 */
function tabled(page, curve) {
  const parts = /** @type {Part[]} */ (page.data.choices);
  const [low, high, p] = [curve.low, curve.high, curve.p].map((of) => each(of, curve.r.length));
  const rows = curve.r.map((r, i) => [
    rank(curve, i),
    ...parts.map((part) => part.labels[curve.chosen[part.name][i]] ?? null),
    r,
    low[i],
    high[i],
    p[i],
    curve.seen[i] === "1",
  ]);
  return behind(["rank", ...parts.map((part) => part.name), "coefficient", "low", "high", "p_adjusted", "below 0.05"], rows, "specifications");
}
