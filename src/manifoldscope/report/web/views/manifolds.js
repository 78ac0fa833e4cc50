// A few manifolds in space, in axes that their classes share; the same images move from clean to attacked.
import { clear, h } from "../dom.js";
import { classesShown, pointsOf, sharedAxes, within } from "../manifolds_axes.js";
import { stage } from "../manifolds_stage.js";
import { thumbnail } from "../manifolds_thumbnail.js";
import { chip, described, placeOf, spoken, tabled, tints, told } from "../manifolds_words.js";
import { percent } from "../words.js";

/**
 * @typedef {import("../facts.js").Choice} Choice
 * @typedef {import("../facts.js").Page} Page
 * @typedef {import("../manifolds_words.js").Shown} Shown
 */

const SECONDS = 1.8;

export const view = {
  /**
   * @param {HTMLElement} host
   * @param {Page} page
   */
  mount(host, page) {
    const { facts, data } = page;
    let shown = /** @type {Shown | null} */ (null);
    let picked = /** @type {number | null} */ (null);
    let playing = 0;
    const still = matchMedia("(prefers-reduced-motion: reduce)");

    const pick = (/** @type {number | null} */ at) => {
      picked = at;
      scene.choose(at);
      clear(detail);
      if (at !== null && shown) detail.append(thumbnail(data, shown.network, shown.rows[at]), h("p", {}, described(shown, at)));
      else detail.append(h("p", {}, "Choose a point to see its image: click, or press n and p."));
    };
    const step = (/** @type {number} */ by) => {
      const n = shown?.rows.length ?? 0;
      if (n) pick(picked === null ? (by > 0 ? 0 : n - 1) : (picked + by + n) % n);
    };
    const scene = stage({ onPick: pick, onStep: step });
    const chips = h("div", { class: "row", role: "group", "aria-label": "classes in this picture" });
    const legend = h("p", { class: "files" });
    const colour = h("select", { "aria-label": "colour of points" }, ...["class", "outcome", "margin"].map((each) => h("option", { value: each }, each)));
    const slider = h("input", { type: "range", min: "0", max: "1", step: "0.01", value: "0", "aria-label": "from clean to attacked" });
    const play = h("button", { type: "button" }, "Play");
    const paths = h("input", { type: "checkbox", checked: true });
    const motion = h("div", { class: "row" }, h("span", {}, "clean"), slider, h("span", {}, "attacked"), play, h("label", {}, paths, " paths"));
    const button = (/** @type {string} */ text, /** @type {string} */ label, /** @type {() => void} */ act) =>
      h("button", { type: "button", "aria-label": label, title: label, onclick: act }, text);
    const looking = h(
      "div",
      { class: "row" },
      h("label", {}, "Colour by ", colour),
      button("−", "smaller", () => scene.magnify(-1)),
      button("+", "larger", () => scene.magnify(1)),
      button("Reset view", "Reset view", () => scene.reset()),
      button("‹ image", "previous image", () => step(-1)),
      button("image ›", "next image", () => step(1)),
    );
    const detail = h("div", { class: "row detail", "aria-live": "polite" });
    const said = h("p", { class: "fact" });
    const rest = h("div");
    for (const row of [chips, motion, looking, detail]) Object.assign(row.style, { display: "flex", flexWrap: "wrap", gap: ".3rem .7rem", alignItems: "center", margin: ".5rem 0" });
    Object.assign(slider.style, { flex: "1 1 8rem", maxWidth: "22rem", minWidth: "6rem" });
    detail.style.minHeight = "5rem";
    host.append(chips, scene.element, motion, looking, legend, detail, said, rest);

    const at = (/** @type {number} */ share) => {
      slider.value = String(share);
      scene.show({ share: Number(slider.value) });
    };
    const stop = () => {
      cancelAnimationFrame(playing);
      playing = 0;
      play.textContent = "Play";
    };
    const start = () => {
      const from = Number(slider.value) >= 1 ? 0 : Number(slider.value);
      if (still.matches) return at(Number(slider.value) >= 0.5 ? 0 : 1);
      const began = performance.now();
      play.textContent = "Pause";
      const frame = (/** @type {number} */ now) => {
        const share = Math.min(1, from + Math.max(0, now - began) / 1000 / SECONDS);
        at(share);
        if (share < 1 && host.isConnected) playing = requestAnimationFrame(frame);
        else stop();
      };
      playing = requestAnimationFrame(frame);
    };
    const coloured = () => {
      const now = shown;
      if (!now) return;
      const { colours, words } = tints(now, colour.value);
      const texts = now.axes.shares.map((share, k) => `axis ${k + 1} · ${percent(share)}`);
      scene.load({ ...scaled(now), colours, shapes: now.rows.map((row) => placeOf(now, row)) }, texts);
      clear(legend).append(...words);
    };
    play.addEventListener("click", () => (playing ? stop() : start()));
    slider.addEventListener("input", () => {
      stop();
      at(Number(slider.value));
    });
    paths.addEventListener("change", () => scene.show({ paths: paths.checked }));
    colour.addEventListener("change", coloured);

    return {
      /** @param {Choice} choice */
      update(choice) {
        const found = look(page, choice);
        for (const each of [scene.element, motion, looking, legend, detail]) each.style.display = found ? (each === scene.element || each === legend ? "block" : "flex") : "none";
        if (!found) {
          shown = null;
          clear(chips);
          said.textContent = `No points were kept of ${facts.networks[choice.network]?.name ?? "this network"}.`;
          clear(rest);
          return;
        }
        const same = shown !== null && shown.key === found.key;
        shown = found;
        clear(chips).append(...found.classes.map((position, place) => chip(page, choice, position, place)));
        motion.style.display = found.points.adversarial ? "flex" : "none";
        if (!found.points.adversarial) at(0);
        if (!same) {
          coloured();
          pick(null);
        }
        scene.element.setAttribute("aria-label", spoken(found));
        said.textContent = told(found, data.left_out, choice);
        clear(rest).append(tabled(found));
      },
    };
  },
};

/**
 * What is shown of a choice; null where no points were kept of the network. Of a layer without points another stands in.
 * @param {Page} page
 * @param {Choice} choice
 * @returns {Shown | null}
 */
function look(page, choice) {
  const network = page.data.networks[choice.network];
  if (!network) return null;
  const layers = Object.keys(network.layers);
  const layer = layers.includes(String(choice.layer)) ? String(choice.layer) : layers[layers.length - 1];
  const points = pointsOf(network, network.layers[layer]);
  const classes = classesShown(points, choice.classes, network.start);
  const axes = sharedAxes(points, classes);
  const rows = [...points.label.keys()].filter((row) => classes.includes(points.label[row]));
  const before = within(points, axes, rows, points.clean);
  const after = points.adversarial ? within(points, axes, rows, points.adversarial) : before;
  return { network, key: [choice.network, layer, ...classes].join(), layer: Number(layer), facts: page.facts, points, axes, classes, rows, before, after };
}

/**
 * Coordinates between -1 and 1, on one scale for all axes, and how far each axis reaches.
 * @param {Shown} shown
 */
function scaled({ before, after }) {
  let far = 0;
  const reach = [0, 0, 0];
  for (const part of [before, after]) {
    for (let i = 0; i < part.length; i += 3) {
      far = Math.max(far, Math.hypot(part[i], part[i + 1], part[i + 2]));
      for (let k = 0; k < 3; k += 1) reach[k] = Math.max(reach[k], Math.abs(part[i + k]));
    }
  }
  const scale = 1 / (far || 1);
  return { before: before.map((x) => x * scale), after: after.map((x) => x * scale), reach: reach.map((x) => x * scale) };
}
