// A plot with axes, and points in it that can be reached by mouse and by keyboard.
import { apart } from "./apart.js";
import { h, s } from "./dom.js";
import { linear } from "./scales.js";
import { number } from "./words.js";

/**
 * @typedef {{domain: [number, number], label: string, format?: (value: number) => string, ticks?: number, names?: string[]}} Axis
 * @typedef {{x: number, y: number, label: string, colour?: string, shape?: string, chosen?: boolean, size?: number,
 *   key?: number, xLow?: number | null, xHigh?: number | null, yLow?: number | null, yHigh?: number | null}} Item
 * @typedef {import("./scales.js").Scale} Scale
 */

const SIZE = { width: 560, height: 400, left: 58, right: 14, top: 12, bottom: 48 };
/** Of a mark, in pixels. */
const RADIUS = 4.5;

let clips = 0;

/**
 * Axes, grid and labels; what is drawn goes into `area`, which ends at the axes, or `over`, which does not.
 * @param {{width?: number, height?: number, left?: number, x: Axis, y: Axis, label: string}} options
 */
export function plot(options) {
  const size = { ...SIZE, ...options };
  const right = size.width - size.right;
  const bottom = size.height - size.bottom;
  const x = linear(options.x.domain, [size.left, right]);
  const y = linear(options.y.domain, [bottom, size.top]);
  const clip = `clip-${(clips += 1)}`;
  const area = s("g", { "clip-path": `url(#${clip})` });
  const over = s("g");
  const svg = s(
    "svg",
    { class: "plot", viewBox: `0 0 ${size.width} ${size.height}`, role: "group", "aria-label": options.label },
    s("clipPath", { id: clip }, s("rect", { x: size.left, y: size.top, width: right - size.left, height: bottom - size.top })),
    ...across(options.x, x, size.top, bottom),
    ...upwards(options.y, y, size.left, right),
    s("line", { class: "axis", x1: size.left, x2: right, y1: bottom, y2: bottom }),
    s("line", { class: "axis", x1: size.left, x2: size.left, y1: size.top, y2: bottom }),
    s("text", { class: "label", x: (size.left + right) / 2, y: size.height - 8, "text-anchor": "middle" }, options.x.label),
    s("text", { class: "label", transform: `translate(14 ${(size.top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, options.y.label),
    area,
    over,
  );
  return { svg, x, y, area, over, left: size.left, right, top: size.top, bottom };
}

/**
 * @param {Axis} axis
 * @param {Scale} x
 * @param {number} top
 * @param {number} bottom
 */
function across(axis, x, top, bottom) {
  return x.ticks(axis.ticks ?? 6).flatMap((value) => [
    s("line", { class: "grid", x1: x(value), x2: x(value), y1: top, y2: bottom }),
    s("text", { class: "tick", x: x(value), y: bottom + 16, "text-anchor": "middle" }, said(axis, value)),
  ]);
}

/**
 * @param {Axis} axis
 * @param {Scale} y
 * @param {number} left
 * @param {number} right
 */
function upwards(axis, y, left, right) {
  return y.ticks(axis.ticks ?? 6).flatMap((value) => [
    s("line", { class: "grid", x1: left, x2: right, y1: y(value), y2: y(value) }),
    s("text", { class: "tick", x: left - 7, y: y(value) + 4, "text-anchor": "end" }, said(axis, value)),
  ]);
}

/**
 * @param {Axis} axis
 * @param {number} value
 */
function said(axis, value) {
  return axis.format ? axis.format(value) : number(value);
}

/** The shape of a marker around the origin, for a radius of one. */
export const SHAPES = /** @type {Record<string, string>} */ ({
  square: "M-.9-.9h1.8v1.8h-1.8z",
  triangle: "M0-1.15L1.05.8H-1.05z",
  diamond: "M0-1.25L1.25 0 0 1.25-1.25 0z",
  down: "M0 1.15L1.05-.8H-1.05z",
  cross: "M-.4-1.2h.8v.8h.8v.8h-.8v.8h-.8v-.8h-.8v-.8h.8z",
});

/**
 * Points with their intervals: one stop of the Tab key, then arrows from point to point, and Enter to choose. `ringed`
 * says whether some are at one place and stand around it.
 * @param {{area: SVGElement, over: SVGElement, x: Scale, y: Scale}} onto
 * @param {Item[]} items
 * @param {{onChoose?: (item: Item, place: number) => void, label?: string}} [options]
 */
export function points(onto, items, options = {}) {
  const group = s("g", { class: "points", role: "listbox", "aria-label": options.label ?? "points", "aria-multiselectable": true });
  const order = items.map((_, place) => place).sort((a, b) => items[a].x - items[b].x || items[a].y - items[b].y);
  /** @type {SVGElement[]} */
  const marks = [];
  const drawn = [...items.keys()].sort((a, b) => Number(items[a].chosen ?? false) - Number(items[b].chosen ?? false));
  const moves = apart(items.map(({ x, y }) => [onto.x(x), onto.y(y)]), Math.min(RADIUS, ...items.map(({ size }) => size ?? RADIUS)));
  for (const place of drawn) {
    const item = items[place];
    for (const bar of intervals(onto, item)) onto.area.append(bar);
    const mark = marker(onto, item, moves[place]);
    marks[place] = mark;
    mark.addEventListener("click", () => options.onChoose?.(item, place));
    explained(mark, item.label);
    group.append(mark);
  }
  onto.over.append(group);
  let current = order.find((place) => items[place].chosen) ?? order[0];
  if (current !== undefined) marks[current].setAttribute("tabindex", "0");
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    const focused = marks.indexOf(/** @type {SVGElement} */ (document.activeElement));
    if (focused >= 0) current = focused;
    if (step && current !== undefined) {
      marks[current].setAttribute("tabindex", "-1");
      current = order[(order.indexOf(current) + step + order.length) % order.length];
      marks[current].setAttribute("tabindex", "0");
      marks[current].focus();
    } else if ((event.key === "Enter" || event.key === " ") && current !== undefined) {
      options.onChoose?.(items[current], current);
    } else return;
    event.preventDefault();
  });
  return { group, marks, ringed: moves.some(([dx]) => dx !== 0) };
}

/**
 * @param {{x: Scale, y: Scale}} onto
 * @param {Item} item
 * @param {[number, number]} move
 */
function marker(onto, item, [dx, dy]) {
  const size = item.size ?? (item.chosen ? 6.5 : RADIUS);
  const place = `translate(${(onto.x(item.x) + dx).toFixed(2)} ${(onto.y(item.y) + dy).toFixed(2)})`;
  const attributes = {
    class: item.chosen ? "point chosen" : "point",
    role: "option",
    tabindex: "-1",
    transform: place,
    "data-key": item.key,
    "aria-selected": String(Boolean(item.chosen)),
    "aria-label": item.label,
  };
  const shape = SHAPES[item.shape ?? ""];
  const form = shape ? s("path", { d: shape, transform: `scale(${size})` }) : s("circle", { r: size });
  if (item.colour) form.setAttribute("fill", item.colour);
  return s("g", attributes, form);
}

/**
 * @param {{x: Scale, y: Scale}} onto
 * @param {Item} item
 */
function intervals(onto, item) {
  const bars = [];
  const [x, y] = [onto.x(item.x), onto.y(item.y)];
  const look = { class: item.chosen ? "interval chosen" : "interval", stroke: item.colour };
  if (typeof item.yLow === "number" && typeof item.yHigh === "number") {
    bars.push(s("line", { ...look, x1: x, x2: x, y1: onto.y(item.yLow), y2: onto.y(item.yHigh) }));
  }
  if (typeof item.xLow === "number" && typeof item.xHigh === "number") {
    bars.push(s("line", { ...look, x1: onto.x(item.xLow), x2: onto.x(item.xHigh), y1: y, y2: y }));
  }
  return bars;
}

/**
 * Say something of a mark while the mouse or the focus is on it.
 * @param {Element} mark
 * @param {string} text
 */
export function explained(mark, text) {
  const show = () => {
    const tip = tooltip();
    tip.textContent = text;
    tip.hidden = false;
    const box = mark.getBoundingClientRect();
    const wide = tip.offsetWidth;
    tip.style.left = `${Math.max(4, Math.min(box.left + box.width / 2 - wide / 2, innerWidth - wide - 4))}px`;
    const above = box.top - tip.offsetHeight - 8;
    tip.style.top = `${above > 4 ? above : box.bottom + 8}px`;
  };
  const hide = () => {
    tooltip().hidden = true;
  };
  mark.addEventListener("mouseenter", show);
  mark.addEventListener("mouseleave", hide);
  if (!mark.hasAttribute("tabindex")) return; // a listener for the focus would make a stop of any line
  mark.addEventListener("focus", show);
  mark.addEventListener("blur", hide);
}

/** @returns {HTMLElement} the one tooltip of the page */
function tooltip() {
  const found = document.getElementById("tooltip");
  if (found) return found;
  const made = h("div", { id: "tooltip", "aria-hidden": "true", hidden: true });
  document.body.append(made);
  addEventListener("scroll", () => (made.hidden = true), { passive: true });
  addEventListener("keydown", (event) => event.key === "Escape" && (made.hidden = true));
  return made;
}

/**
 * A line through points; a missing one interrupts it.
 * @param {{x: Scale, y: Scale}} onto
 * @param {[number, number | null][]} at
 * @param {Record<string, string | number | null>} look
 */
export function path(onto, at, look) {
  let d = "";
  let down = false;
  for (const [x, y] of at) {
    if (y === null || !Number.isFinite(y)) {
      down = false;
      continue;
    }
    d += `${down ? "L" : "M"}${onto.x(x).toFixed(2)} ${onto.y(y).toFixed(2)}`;
    down = true;
  }
  return s("path", { fill: "none", ...look, d });
}

/**
 * Draw something anew, and leave the keyboard where it was.
 * @param {HTMLElement} host
 * @param {() => void} redraw
 */
export function keepingFocus(host, redraw) {
  const focused = document.activeElement;
  const key = focused && host.contains(focused) ? focused.getAttribute("data-key") : null;
  redraw();
  if (key === null) return;
  const again = /** @type {HTMLElement | null} */ (host.querySelector(`[data-key="${CSS.escape(key)}"]`));
  for (const mark of again?.closest(".points")?.querySelectorAll('[tabindex="0"]') ?? []) mark.setAttribute("tabindex", "-1");
  again?.setAttribute("tabindex", "0");
  again?.focus();
}
