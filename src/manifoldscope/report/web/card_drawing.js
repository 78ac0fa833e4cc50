// The pictures of a card: a strip of all classes, a spectrum, a curve of robust accuracies, and attacked images.
import { CLASS_COLOURS, CLASS_SHAPES } from "./colours.js";
import { curve, logShares, viewData } from "./cards.js";
import { h, s } from "./dom.js";
import { explained, path, plot, points, SHAPES } from "./plot.js";
import { interval, number, percent } from "./words.js";

/**
 * @typedef {import("./facts.js").Facts} Facts
 * @typedef {import("./facts.js").Choice} Choice
 * @typedef {import("./cards.js").Triple} Triple
 * @typedef {{value: number, low: number | null, high: number | null, colour: string, shape: string, hollow?: boolean}} Mark
 */

const WIDE = 130;
const HIGH = 24;

/** Of more classes a strip shows where the middle half and the middle 95% of them are. */
const MOST_TICKS = 80;
const MOST_LINES = 24;

/**
 * The look of a class among those chosen, or of one that is not.
 * @param {Choice} choice
 * @param {number} position
 */
export function look(choice, position) {
  const place = Math.max(0, choice.classes.indexOf(position));
  return { colour: CLASS_COLOURS[place % CLASS_COLOURS.length], shape: CLASS_SHAPES[place % CLASS_SHAPES.length] };
}

/**
 * A tick for each of few classes, bands for many, and a mark with its interval for those that are looked at.
 * @param {(number | null)[]} all
 * @param {Mark[]} marks
 * @param {{domain: [number, number], label: string, centre?: number}} options
 */
export function strip(all, marks, options) {
  const [low, high] = options.domain;
  const inside = (/** @type {number} */ value) => Math.min(WIDE - 7, Math.max(7, 7 + ((value - low) / (high - low || 1)) * (WIDE - 14)));
  const middle = HIGH / 2;
  const known = /** @type {number[]} */ (all.filter((value) => value !== null)).sort((a, b) => a - b);
  const at = (/** @type {number} */ share) => inside(known[Math.round(share * (known.length - 1))]);
  const many = known.length > MOST_TICKS;
  const ticks = (many ? [known[0], known[known.length - 1]] : known).map((value) => `M${inside(value).toFixed(1)} ${middle - 4}v8`);
  const bands = (many ? [0.025, 0.25] : []).map((share) =>
    s("rect", { class: "share", x: at(share), width: at(1 - share) - at(share), y: middle - 4, height: 8 }),
  );
  const drawn = marks.flatMap((mark, i) => {
    const y = marks.length > 1 ? middle + (i - (marks.length - 1) / 2) * (10 / marks.length) : middle;
    const bar = mark.low !== null && mark.high !== null;
    const ends = bar ? [inside(Number(mark.low)), inside(Number(mark.high))] : [];
    const fill = mark.hollow ? { fill: "var(--card)", stroke: mark.colour, "stroke-width": 0.4 } : { fill: mark.colour };
    const form = SHAPES[mark.shape] ? s("path", { d: SHAPES[mark.shape], ...fill }) : s("circle", { r: 1, ...fill });
    return [
      bar && s("line", { x1: ends[0], x2: ends[1], y1: y, y2: y, stroke: mark.colour, "stroke-width": 2 }),
      s("g", { transform: `translate(${inside(mark.value).toFixed(1)} ${y.toFixed(1)}) scale(4.5)` }, form),
    ];
  });
  return s(
    "svg",
    { class: "strip", viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": options.label },
    s("line", { class: "axis", x1: 0, x2: WIDE, y1: middle, y2: middle }),
    options.centre !== undefined && s("path", { class: "centre", d: `M${inside(options.centre).toFixed(1)} 2V${HIGH - 2}` }),
    ...bands,
    s("path", { class: "ticks", d: ticks.join("") }),
    ...drawn,
  );
}

/**
 * A domain of some standard deviations around the mean, wide enough for every class.
 * @param {(number | null)[]} all
 * @param {number} mean
 * @param {number} deviation
 * @returns {[number, number]}
 */
export function around(all, mean, deviation) {
  const known = all.filter((value) => value !== null).map((value) => Math.abs(Number(value) - mean));
  const reach = Math.max(3 * deviation, ...known) || 1;
  return [mean - reach, mean + reach];
}

/**
 * The spectrum of a class in the chosen network and layer, beside those of all classes and of noise; null where there
 * is none.
 * @param {Facts} facts
 * @param {Choice} choice
 * @param {number} position
 * @param {number} width
 */
export function spectrum(facts, choice, position, width) {
  const cell = viewData(facts, "card")?.spectra[`${choice.network}.${choice.layer}`];
  const own = cell?.of[`${position}`];
  if (!own) return null;
  const at = cell.rank.map((/** @type {number} */ rank) => Math.log10(rank));
  const lines = { own: logShares(own), low: logShares(cell.low), middle: logShares(cell.middle), high: logShares(cell.high), noise: logShares(cell.noise) };
  const known = Object.values(lines).flat().filter((value) => value !== null);
  const floor = Math.max(-6, Math.min(-1, ...known.map(Number)));
  const right = Math.max(1, at[at.length - 1]);
  const name = facts.classes[position].name;
  const on = plot({
    width,
    height: 260,
    x: { domain: [0, right], label: "Principal component", ticks: Math.ceil(right), format: (value) => number(10 ** value) },
    y: { domain: [floor, 0], label: "Share of variance", ticks: Math.ceil(-floor), format: (value) => `${number(100 * 10 ** value)}%` },
    label: `spectrum of ${name}`,
  });
  const pairs = (/** @type {(number | null)[]} */ values) => values.map((value, i) => /** @type {[number, number | null]} */ ([at[i], value]));
  const { colour } = look(choice, position);
  const rank = cell.reached[`${position}`];
  const rise = interpolated(at, lines.own, Math.log10(rank));
  on.area.append(
    area(on, pairs(lines.low), pairs(lines.high)),
    path(on, pairs(lines.middle), { class: "middle" }),
    path(on, pairs(lines.noise), { class: "noise" }),
    path(on, pairs(lines.own), { stroke: colour, "stroke-width": 2.2 }),
  );
  if (rise !== null) points(on, [{ x: Math.log10(rank), y: rise, label: `${name}: 95% of its variance in ${number(rank)} components`, colour, chosen: true }], { label: "95% of the variance" });
  const keys = [
    h("span", { class: "own" }, name),
    cell.n_classes > 1 && h("span", { class: "middle" }, `median and middle 80% of ${number(cell.n_classes)} classes`),
    h("span", { class: "noise" }, "points without structure (Marchenko–Pastur)"),
  ];
  /** @type {HTMLElement} */ (keys[0]).style.setProperty("--key", colour);
  const said = `95% of its variance lies in ${number(rank)} components; ${number(cell.n_points)} points, ${number(cell.n_features)} features.`;
  return { figure: h("figure", {}, h("h4", {}, "Spectrum of variance"), on.svg, h("p", { class: "keys" }, ...keys), h("figcaption", {}, said)), lines, rank: cell.rank };
}

/**
 * @param {{x: import("./scales.js").Scale, y: import("./scales.js").Scale}} on
 * @param {[number, number | null][]} low
 * @param {[number, number | null][]} high
 */
function area(on, low, high) {
  const both = [...low, ...high.reverse()].filter(([, y]) => y !== null);
  const at = both.map(([x, y]) => `${on.x(x).toFixed(1)} ${on.y(Number(y)).toFixed(1)}`);
  return s("path", { class: "band", d: at.length ? `M${at.join("L")}Z` : "" });
}

/**
 * @param {number[]} x
 * @param {(number | null)[]} y
 * @param {number} at
 */
function interpolated(x, y, at) {
  const next = x.findIndex((each) => each >= at - 1e-9);
  const [a, b] = [y[next - 1] ?? null, y[next] ?? null];
  if (b === null || next < 1 || a === null) return b;
  return a + ((b - a) * (at - x[next - 1])) / (x[next] - x[next - 1]);
}

/**
 * Robust accuracy of a class at each strength of the chosen attack: of the chosen network with intervals, of others
 * as thin lines; null where nothing was attacked.
 * @param {Facts} facts
 * @param {Choice} choice
 * @param {number} position
 * @param {number} width
 * @param {(strength: number) => void} choose
 */
export function curves(facts, choice, position, width, choose) {
  const own = curve(facts, choice, choice.network, position);
  const attack = facts.attacks[choice.attack];
  if (!own.length || !attack) return null;
  const values = attack.strengths.map((each) => each.value);
  const name = facts.classes[position].name;
  const margin = 0.04 * (Math.max(...values) - Math.min(...values) || 1);
  const on = plot({
    width,
    height: 260,
    x: { domain: [Math.min(...values) - margin, Math.max(...values) + margin], label: attack.symbol === "ε" ? "Perturbation budget ε" : "Strength", ticks: 5 },
    y: { domain: [0, 1], label: "Robust accuracy", ticks: 5, format: (value) => percent(value) },
    label: `robust accuracy of ${name} by strength`,
  });
  const others = [...facts.networks.keys()].filter((place) => place !== choice.network).slice(0, MOST_LINES);
  for (const place of others) {
    const line = curve(facts, choice, place, position);
    const drawn = path(on, line.map((each) => [each.value, each.k / each.n]), { class: "other", stroke: facts.networks[place].colour, "stroke-dasharray": facts.networks[place].dash });
    explained(drawn, facts.networks[place].name);
    on.area.append(drawn);
  }
  const { colour, shape } = look(choice, position);
  on.area.append(path(on, own.map((each) => [each.value, each.k / each.n]), { stroke: colour, "stroke-width": 2.2 }));
  const items = own.map((each) => ({
    x: each.value,
    y: each.k / each.n,
    yLow: each.low,
    yHigh: each.high,
    label: `${attack.symbol} ${each.label}: ${each.k} of ${each.n} images are robust, ${interval(each.k / each.n, each.low, each.high, percent)}`,
    colour,
    shape,
    chosen: each.strength === choice.strength,
    key: each.strength,
  }));
  points(on, items, { onChoose: (item) => choose(Number(item.key)), label: `strengths of ${attack.label}` });
  const rest = facts.networks.length - 1 - others.length;
  const said = `${facts.networks[choice.network].name} with 95% Wilson intervals${others.length ? "; thin lines are the other networks" : ""}${rest ? ` (${rest} are not drawn)` : ""}. The larger mark is the chosen strength.`;
  return h("figure", {}, h("h4", {}, `${attack.label}, ${attack.iterates[choice.iterate]?.label ?? ""}`), on.svg, h("figcaption", {}, said));
}

/**
 * Original, perturbation and adversarial image, with what the network sees.
 * @param {Facts} facts
 * @param {Triple} triple
 */
export function images(facts, triple) {
  const uris = viewData(facts, "card").triples.images;
  const factor = triple.factor === null ? "" : ` × ${number(triple.factor, 2)}`;
  const texts = [`original image, seen as ${triple.before}`, `perturbation${factor}`, `adversarial image, seen as ${triple.after}`];
  const shown = triple.images.map((place, i) => h("img", { src: uris[place], alt: texts[i] }));
  return h(
    "figure",
    { class: "triple" },
    h("div", { class: "three" }, ...shown.map((image, i) => h("span", {}, image, i === 1 && h("small", {}, factor.trim() || "no change")))),
    h("figcaption", {}, "sees ", triple.before, " → ", triple.wrong ? h("b", {}, triple.after) : triple.after, h("small", {}, `${facts.networks[triple.network].name} · ${triple.under}`)),
  );
}
