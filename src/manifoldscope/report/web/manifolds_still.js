// The same points as SVG: where there is no WebGL, and on paper; and what is written over the points in either case.
import { clear, s } from "./dom.js";
import { between, placed } from "./manifolds_scene.js";

/**
 * @typedef {import("./manifolds_scene.js").Cloud} Cloud
 * @typedef {import("./manifolds_scene.js").Look} Look
 */

/** Marks around the origin, for a radius of one, in the order of `CLASS_SHAPES`. */
export const MARKS = [
  "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0z",
  "M-.88-.88H.88V.88H-.88z",
  "M0-1.2L1.04.6H-1.04z",
  "M0-1.2L1.2 0 0 1.2-1.2 0z",
  "M0 1.2L1.04-.6H-1.04z",
  "M-.37-1.1H.37V-.37H1.1V.37H.37V1.1H-.37V.37H-1.1V-.37H-.37z",
];

/**
 * Where points stand in a picture of so many units.
 * @param {Look} look
 * @param {number} width
 * @param {number} height
 */
export function onto(look, width, height) {
  const half = Math.min(width, height) / 2;
  return (/** @type {ArrayLike<number>} */ point) => {
    const [x, y, z] = placed(look, point);
    return { x: width / 2 + x * half, y: height / 2 - y * half, z };
  };
}

/**
 * Draw the points, their ways from clean to attacked and the axes.
 * @param {SVGElement} group
 * @param {Cloud} cloud
 * @param {Look} look
 * @param {number} width
 * @param {number} height
 */
export function still(group, cloud, look, width, height) {
  const at = onto(look, width, height);
  clear(group);
  for (const k of [0, 1, 2]) {
    const [from, to] = [-1, 1].map((sign) => at([0, 1, 2].map((i) => (i === k ? sign * cloud.reach[k] : 0))));
    group.append(s("line", { x1: from.x, y1: from.y, x2: to.x, y2: to.y, stroke: "var(--soft)" }));
  }
  const points = cloud.shapes.map((shape, place) => ({ shape, place, ...at(between(cloud, place, look.share)) }));
  const colour = (/** @type {number} */ place) => `rgb(${[0, 1, 2].map((k) => Math.round(255 * cloud.colours[3 * place + k])).join(",")})`;
  if (look.paths && look.share > 0) {
    for (const { place, x, y } of points) {
      const from = at(between(cloud, place, 0));
      group.append(s("line", { x1: from.x, y1: from.y, x2: x, y2: y, stroke: colour(place), "stroke-width": 0.7, opacity: 0.5 }));
    }
  }
  const size = 4.2 * Math.min(1.6, Math.sqrt(look.zoom));
  for (const { shape, place, x, y, z } of points.sort((a, b) => a.z - b.z)) {
    const where = `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${(size * (1 + 0.2 * z)).toFixed(2)})`;
    group.append(s("path", { d: MARKS[shape], transform: where, fill: colour(place), stroke: "var(--card)", "stroke-width": 0.3 }));
  }
}

/**
 * Write beside each axis what it is, and mark the image that is chosen.
 * @param {SVGElement} group
 * @param {Cloud} cloud
 * @param {Look} look
 * @param {string[]} texts
 * @param {number | null} chosen
 * @param {number} width
 * @param {number} height
 */
export function labelled(group, cloud, look, texts, chosen, width, height) {
  const at = onto(look, width, height);
  clear(group);
  for (const [k, text] of texts.entries()) {
    const end = at([0, 1, 2].map((i) => (i === k ? 1.06 * cloud.reach[k] : 0)));
    const room = 3.6 * text.length;
    const x = Math.min(width - room, Math.max(room, end.x));
    const y = Math.min(height - 6, Math.max(14, end.y));
    group.append(s("text", { x, y, "text-anchor": "middle", "font-size": 12.5, fill: "var(--ink)", stroke: "var(--card)", "stroke-width": 3.5, "paint-order": "stroke" }, text));
  }
  if (chosen !== null) {
    const { x, y } = at(between(cloud, chosen, look.share));
    group.append(s("circle", { cx: x, cy: y, r: 10, fill: "none", stroke: "var(--ink)", "stroke-width": 2 }));
  }
}

/**
 * The image nearest to a place in the picture, of those in front first; null where none is near.
 * @param {Cloud} cloud
 * @param {Look} look
 * @param {number} width
 * @param {number} height
 * @param {{x: number, y: number}} place
 * @param {number} [most] units away
 */
export function nearest(cloud, look, width, height, place, most = 14) {
  const at = onto(look, width, height);
  let [best, found] = [Infinity, /** @type {number | null} */ (null)];
  for (const row of cloud.shapes.keys()) {
    const { x, y, z } = at(between(cloud, row, look.share));
    const away = Math.hypot(x - place.x, y - place.y);
    if (away <= most && away - 3 * z < best) [best, found] = [away - 3 * z, row];
  }
  return found;
}
