// A point a class: a measure of its manifold against its robust accuracy, with the regression and its interval.
import { CLASS_SHAPES, classColour } from "../colours.js";
import { clear, h, s } from "../dom.js";
import { accuracy, cell, outcome, values } from "../facts.js";
import { keepingFocus, path, plot, points } from "../plot.js";
import { ranked } from "../ranked.js";
import { around } from "../scales.js";
import { behind } from "../table.js";
import { interval, number, percent } from "../words.js";

/** @typedef {import("../facts.js").Choice} Choice */

/** Above so many classes intervals are drawn of the chosen ones alone. */
const MOST_INTERVALS = 150;

export const view = {
  /**
   * @param {HTMLElement} host
   * @param {import("../facts.js").Page} page
   */
  mount(host, page) {
    const picture = h("div", { class: "picture" });
    const said = h("p", { class: "fact", "aria-live": "polite" });
    const rows = h("div");
    host.append(picture, said, rows);
    return {
      /** @param {Choice} choice */
      update(choice) {
        said.textContent = alone(page.facts, choice) || (cell(page.facts, choice)?.text ?? "No association was tested here.");
        keepingFocus(picture, () => drawn(clear(picture), page, choice));
        clear(rows).append(tabled(page, choice));
      },
    };
  },
};

/**
 * Why classes cannot be set against an accuracy here; empty where they can.
 * @param {import("../facts.js").Facts} facts
 * @param {Choice} choice
 */
function alone(facts, choice) {
  const [x, y] = [values(facts, choice), outcome(facts, choice)];
  if (x && y) return "";
  const name = facts.networks[choice.network]?.name ?? "This network";
  const shown = x || y ? " Classes are shown by rank." : "";
  if (!facts.attacks.length) return `Nothing was attacked in this study, so there is no robust accuracy to set the measure against.${shown}`;
  if (y) return `${name} has no value of this measure in this layer.${shown}`;
  return x ? `${name} was not attacked at this setting.${shown}` : `${name} was neither measured nor attacked at this setting.`;
}

/**
 * @param {HTMLElement} picture
 * @param {import("../facts.js").Page} page
 * @param {Choice} choice
 */
function drawn(picture, page, choice) {
  const { facts, store } = page;
  const [x, y] = [values(facts, choice), outcome(facts, choice)];
  const share = facts.outcomes[choice.outcome].name === "robust_accuracy";
  const format = (/** @type {number | null} */ value) => (share ? percent(value) : number(value));
  const measure = facts.measures[choice.measure]?.label ?? "";
  const width = Math.min(560, picture.clientWidth || 560); // text keeps its size where there is less room
  if (!x || !y) {
    if (x) picture.append(ranked(page, choice, x, { label: measure, width }));
    if (y) picture.append(ranked(page, choice, y, { label: facts.outcomes[choice.outcome].label, format, width, domain: share ? [-0.02, 1.02] : undefined }));
    return;
  }
  const frame = plot({
    width,
    height: Math.max(300, (5 / 7) * width),
    x: { domain: around([...x.value, ...few(x.low, choice, facts), ...few(x.high, choice, facts)]), label: measure },
    y: {
      domain: share ? [-0.02, 1.02] : around([...y.value, ...few(y.low, choice, facts), ...few(y.high, choice, facts)]),
      label: facts.outcomes[choice.outcome].label,
      format: (value) => (share ? percent(value) : number(value)),
    },
    label: `${measure} against ${facts.outcomes[choice.outcome].label}, a point a class`,
  });
  const line = cell(facts, choice)?.line;
  if (line) regression(frame, line);
  const ceiling = x.ceiling?.find((each) => each !== null);
  if (typeof ceiling === "number" && ceiling <= frame.x.domain[1]) {
    const at = frame.x(ceiling);
    frame.area.append(s("line", { class: "ceiling", x1: at, x2: at, y1: frame.top, y2: frame.bottom }));
  }
  const items = [];
  for (const [key, { name }] of facts.classes.entries()) {
    const [value, height] = [x.value[key], y.value[key]];
    if (value === null || height === null || value === undefined || height === undefined) continue;
    const chosen = choice.classes.includes(key);
    const bars = chosen || facts.classes.length <= MOST_INTERVALS;
    items.push({
      key,
      x: value,
      y: height,
      chosen,
      colour: classColour(choice, key) ?? undefined,
      shape: chosen ? CLASS_SHAPES[choice.classes.indexOf(key)] : "circle",
      size: facts.classes.length > 300 && !chosen ? 3 : undefined,
      xLow: bars ? x.low?.[key] : null,
      xHigh: bars ? x.high?.[key] : null,
      yLow: bars ? y.low[key] : null,
      yHigh: bars ? y.high[key] : null,
      label: `${name}: ${measure} ${interval(value, x.low?.[key], x.high?.[key])}; ${interval(height, y.low[key], y.high[key], format)}`,
    });
  }
  const { ringed } = points(frame, items, { label: "classes", onChoose: (item) => store.toggleClass(item.key ?? 0) });
  for (const item of items) if (item.chosen) name(frame, item, facts.classes[item.key].name);
  picture.append(frame.svg);
  if (ringed) picture.append(h("p", { class: "hint" }, "Classes at the same place stand in a ring around it."));
}

/**
 * Ends of intervals that are drawn.
 * @param {(number | null)[] | null} ends
 * @param {Choice} choice
 * @param {import("../facts.js").Facts} facts
 */
function few(ends, choice, facts) {
  if (!ends) return [];
  return facts.classes.length <= MOST_INTERVALS ? ends : choice.classes.map((key) => ends[key]);
}

/**
 * @param {ReturnType<typeof plot>} frame
 * @param {import("../facts.js").Line} line
 */
function regression(frame, line) {
  const [low, high] = frame.x.domain;
  const at = Array.from({ length: 41 }, (_, i) => low + ((high - low) * i) / 40);
  const middle = (/** @type {number} */ x) => line.intercept + line.slope * x;
  const band = (/** @type {number} */ x) => line.half * Math.sqrt(1 / line.n + (x - line.mean) ** 2 / line.spread);
  const edge = [...at.map((x) => [x, middle(x) + band(x)]), ...at.reverse().map((x) => [x, middle(x) - band(x)])];
  const d = edge.map(([x, y], i) => `${i ? "L" : "M"}${frame.x(x).toFixed(1)} ${frame.y(y).toFixed(1)}`).join("");
  frame.area.append(s("path", { class: "band", d: `${d}Z` }));
  frame.area.append(path(frame, [[low, middle(low)], [high, middle(high)]], { class: "regression" }));
}

/**
 * @param {ReturnType<typeof plot>} frame
 * @param {{x: number, y: number}} item
 * @param {string} text
 */
function name(frame, item, text) {
  const x = frame.x(item.x);
  const end = x > (frame.left + frame.right) / 2;
  const letters = [...text]; // an emoji is one of them, and is not cut in two
  const short = letters.length > 24 ? `${letters.slice(0, 23).join("")}…` : text;
  frame.over.append(
    s("text", { class: "named", x: x + (end ? -10 : 10), y: frame.y(item.y) - 8, "text-anchor": end ? "end" : "start" }, short),
  );
}

/**
 * @param {import("../facts.js").Page} page
 * @param {Choice} choice
 */
function tabled(page, choice) {
  const { facts } = page;
  const [x, counts, y] = [values(facts, choice), accuracy(facts, choice), outcome(facts, choice)];
  const rows = facts.classes.map((each, i) => [
    each.name,
    x?.value[i] ?? null,
    x?.low?.[i] ?? null,
    x?.high?.[i] ?? null,
    x?.ceiling?.[i] ?? null,
    ...(facts.attacks.length ? [counts?.n[i] ?? null, counts?.k[i] ?? null, y?.value[i] ?? null, y?.low[i] ?? null, y?.high[i] ?? null] : []),
  ]);
  const attacked = facts.attacks.length ? ["n_images", "n_robust", facts.outcomes[choice.outcome].name, "low", "high"] : [];
  return behind(["class", "value", "value_low", "value_high", "ceiling", ...attacked], rows, "classes");
}
