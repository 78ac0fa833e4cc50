// The stage on which points stand: it is turned and magnified by mouse, touch and keys, and drawn when something changed.
import { h, s } from "./dom.js";
import { scene, turned } from "./manifolds_scene.js";
import { labelled, nearest, still } from "./manifolds_still.js";

/**
 * @typedef {import("./manifolds_scene.js").Cloud} Cloud
 * @typedef {import("./manifolds_scene.js").Look} Look
 */

const START = turned(turned([[1, 0, 0], [0, 1, 0], [0, 0, 1]], -0.6, 0), 0, 0.4);
const TURN = Math.PI / 24;
const ZOOM = { least: 0.5, most: 12, step: 1.2 };

/**
 * @param {{onPick: (row: number | null) => void, onStep: (by: number) => void}} listeners
 */
export function stage(listeners) {
  const canvas = h("canvas", { "aria-hidden": "true" });
  const drawing = s("g");
  const writing = s("g");
  const svg = s("svg", { "aria-hidden": "true" }, drawing, writing);
  const element = h("div", { class: "stage", tabindex: "0", role: "application", "aria-roledescription": "picture in space" }, canvas, svg);
  Object.assign(element.style, { position: "relative", width: "100%", overflow: "hidden", touchAction: "pan-y", cursor: "grab", userSelect: "none" });
  Object.assign(element.style, { border: "1px solid var(--line)", borderRadius: "8px", background: "var(--card)" });
  for (const layer of [canvas, svg]) Object.assign(layer.style, { position: "absolute", left: "0", top: "0", display: "block" });
  Object.assign(svg.style, { pointerEvents: "none", width: "100%", height: "100%" });

  const drawn = scene(canvas);
  /** @type {Look} */
  const look = { rotation: START, zoom: 1, share: 0, paths: true, ring: [1, 1, 1] };
  /** @type {Cloud} */
  let cloud = { before: new Float32Array(), after: new Float32Array(), colours: new Float32Array(), shapes: [], reach: [1, 1, 1] };
  const state = { width: 0, height: 0, texts: /** @type {string[]} */ ([]), chosen: /** @type {number | null} */ (null), asked: false, paper: false };

  const flat = () => state.paper || !drawn || drawn.lost;
  const draw = () => {
    state.asked = false;
    if (!state.width) return;
    canvas.hidden = flat();
    canvas.style.display = flat() ? "none" : "block";
    if (flat()) still(drawing, cloud, look, state.width, state.height);
    else {
      drawing.replaceChildren();
      drawn?.draw(look);
    }
    labelled(writing, cloud, look, state.texts, state.chosen, state.width, state.height);
    element.dataset.drawn = flat() ? "svg" : "webgl";
  };
  const ask = () => {
    if (state.asked) return;
    state.asked = true;
    requestAnimationFrame(draw);
  };
  const fit = () => {
    const width = element.clientWidth;
    if (!width) return;
    const height = Math.round(Math.max(260, Math.min(0.8 * width, 560)));
    if (width === state.width && height === state.height) return;
    Object.assign(state, { width, height });
    element.style.height = `${height + 2}px`;
    drawn?.resize(width, height);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    ask();
  };
  new ResizeObserver(fit).observe(element);
  canvas.addEventListener("webglcontextlost", ask);
  const coloured = () => {
    look.ring = parts(getComputedStyle(document.documentElement).getPropertyValue("--card").trim()) ?? [1, 1, 1];
    ask();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", coloured);
  const paper = (/** @type {boolean} */ on) => {
    state.paper = on;
    if (on) draw();
    else ask();
  };
  addEventListener("beforeprint", () => paper(true));
  addEventListener("afterprint", () => paper(false));

  const turn = (/** @type {number} */ right, /** @type {number} */ down) => {
    look.rotation = turned(look.rotation, right, down);
    ask();
  };
  const magnify = (/** @type {number} */ factor) => {
    look.zoom = Math.min(ZOOM.most, Math.max(ZOOM.least, look.zoom * factor));
    ask();
  };
  const reset = () => {
    Object.assign(look, { rotation: START, zoom: 1 });
    ask();
  };
  pointed(element, { turn, magnify, pick: (x, y) => listeners.onPick(nearest(cloud, look, state.width, state.height, { x, y })) });
  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowLeft: () => turn(-TURN, 0),
      ArrowRight: () => turn(TURN, 0),
      ArrowUp: () => turn(0, -TURN),
      ArrowDown: () => turn(0, TURN),
      "+": () => magnify(ZOOM.step),
      "=": () => magnify(ZOOM.step),
      "-": () => magnify(1 / ZOOM.step),
      0: reset,
      n: () => listeners.onStep(1),
      p: () => listeners.onStep(-1),
      Escape: () => listeners.onPick(null),
    };
    const act = Object.hasOwn(keys, event.key) ? keys[event.key] : null;
    if (!act) return;
    event.preventDefault();
    act();
  });

  return {
    element,
    /**
     * @param {Cloud} points
     * @param {string[]} texts beside the axes
     */
    load(points, texts) {
      cloud = points;
      state.texts = texts;
      drawn?.load(points);
      coloured();
      fit();
    },
    /** @param {Partial<Look>} changes */
    show(changes) {
      Object.assign(look, changes);
      ask();
    },
    /** @param {number | null} row */
    choose(row) {
      state.chosen = row;
      ask();
    },
    magnify: (/** @type {number} */ steps) => magnify(ZOOM.step ** steps),
    reset,
  };
}

/**
 * Dragging turns, two fingers and the wheel magnify, and a click picks; the wheel only once the stage has the focus, so
 * that a page can be scrolled past it. A finger that moves up or down scrolls the page as well.
 * @param {HTMLElement} element
 * @param {{turn: (right: number, down: number) => void, magnify: (factor: number) => void, pick: (x: number, y: number) => void}} acts
 */
function pointed(element, acts) {
  /** @type {Map<number, {x: number, y: number}>} */
  const down = new Map();
  let moved = 0;
  element.addEventListener("pointerdown", (event) => {
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    moved = down.size > 1 ? Infinity : 0;
    element.setPointerCapture(event.pointerId);
    element.focus({ preventScroll: true });
  });
  element.addEventListener("pointermove", (event) => {
    const last = down.get(event.pointerId);
    if (!last) return;
    const now = { x: event.clientX, y: event.clientY };
    const [dx, dy] = [now.x - last.x, now.y - last.y];
    const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
    if (other) acts.magnify(Math.hypot(now.x - other.x, now.y - other.y) / Math.max(1, Math.hypot(last.x - other.x, last.y - other.y)));
    else acts.turn(dx / 140, dy / 140);
    moved += Math.hypot(dx, dy);
    down.set(event.pointerId, now);
  });
  const up = (/** @type {PointerEvent} */ event) => {
    const was = down.delete(event.pointerId);
    if (!was || down.size || moved > 4 || event.type === "pointercancel") return;
    const box = element.getBoundingClientRect();
    acts.pick(event.clientX - box.left - element.clientLeft, event.clientY - box.top - element.clientTop);
  };
  element.addEventListener("pointerup", up);
  element.addEventListener("pointercancel", up);
  const wheel = (/** @type {WheelEvent} */ event) => {
    if (document.activeElement !== element && !event.ctrlKey) return;
    event.preventDefault();
    acts.magnify(Math.exp(-Math.sign(event.deltaY) * Math.min(120, Math.abs(event.deltaY)) / 600));
  };
  element.addEventListener("wheel", wheel, { passive: false });
}

/**
 * The three parts of a colour such as "#1b1f24", each between 0 and 1.
 * @param {string} text
 * @returns {number[] | null}
 */
export function parts(text) {
  const long = /^#([0-9a-f])([0-9a-f])([0-9a-f])$/i.test(text) ? text.replace(/[0-9a-f]/gi, "$&$&") : text;
  const hex = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(long);
  if (hex) return hex.slice(1).map((part) => parseInt(part, 16) / 255);
  const rgb = /^rgb\((\d+),\s*(\d+),\s*(\d+)\)$/.exec(text);
  return rgb ? rgb.slice(1).map((part) => Number(part) / 255) : null;
}
