// Classes within networks, each with its line, and the means of networks with theirs.
import { classColour } from "../colours.js";
import { room } from "../curves.js";
import { clear, h, s } from "../dom.js";
import { cell, outcome, values } from "../facts.js";
import { cut, networks } from "../networks.js";
import { explained, keepingFocus, path, plot, points } from "../plot.js";
import { around } from "../scales.js";
import { behind } from "../table.js";
import { number, percent } from "../words.js";

/**
 * @typedef {import("../facts.js").Choice} Choice
 * @typedef {import("../facts.js").Page} Page
 * @typedef {import("../facts.js").Line} Line
 * @typedef {ReturnType<typeof plot>} Frame
 * @typedef {{n: number, at: {key: number, x: number, y: number}[], line: Line, text: string}} Network
 * @typedef {{n: number, members: Network[], x: number, y: number}} Mean
 */

/** Of more networks, chosen classes are marked in the chosen network alone. */
const MOST_MARKED = 12;

export const view = {
  /**
   * @param {HTMLElement} host
   * @param {Page} page
   */
  mount(host, page) {
    const said = h("p", { class: "fact", "aria-live": "polite" });
    const picture = h("div", { class: "picture" });
    const legend = h("div");
    const rows = h("div");
    host.append(picture, legend, said, rows, ...[page.data.said, page.data.left_out].filter(Boolean).map((text) => h("p", { class: "hint" }, text)));
    return {
      /** @param {Choice} choice */
      update(choice) {
        const known = counted(page, choice);
        said.textContent = fact(page, choice)?.text ?? "No association within and between networks was tested here.";
        keepingFocus(picture, () => drawn(clear(picture), page, choice, known));
        keepingFocus(legend, () => clear(legend).append(networks(page, choice, known.map(({ n }) => n))));
        clear(rows).append(tabled(page, choice, known));
      },
    };
  },
};

/**
 * @param {Page} page
 * @param {Choice} choice
 * @returns {{text: string, within: number, between: number | null, reversal: boolean} | undefined}
 */
function fact(page, choice) {
  const { layer, measure, attack, strength, iterate, outcome: o } = choice;
  return page.data.settings[[layer, measure, attack, strength, iterate, o].join(".")];
}

/**
 * The networks that have an association across their classes, with these.
 * @param {Page} page
 * @param {Choice} choice
 * @returns {Network[]}
 */
function counted(page, choice) {
  const found = [];
  for (const n of page.facts.networks.keys()) {
    const here = { ...choice, network: n };
    const [x, y, known] = [values(page.facts, here), outcome(page.facts, here), cell(page.facts, here)];
    if (!x || !y || !known?.line) continue;
    const at = [];
    for (const key of page.facts.classes.keys()) {
      const [value, height] = [x.value[key], y.value[key]];
      if (typeof value === "number" && typeof height === "number") at.push({ key, x: value, y: height });
    }
    found.push({ n, at, line: known.line, text: known.text });
  }
  return found;
}

/**
 * The mean of each network over its classes; replicates have one together.
 * @param {Page} page
 * @param {Network[]} known
 * @param {Choice} choice
 * @returns {Mean[]}
 */
function means(page, known, choice) {
  /** @type {Map<number, Network[]>} */
  const groups = new Map();
  for (const each of known) groups.set(page.data.groups[each.n], [...(groups.get(page.data.groups[each.n]) ?? []), each]);
  return [...groups.values()].map((members) => {
    const all = members.flatMap(({ at }) => at);
    const mean = (/** @type {number[]} */ of) => of.reduce((sum, value) => sum + value, 0) / of.length;
    const chosen = members.find(({ n }) => n === choice.network) ?? members[0];
    return { n: chosen.n, members, x: mean(all.map(({ x }) => x)), y: mean(all.map(({ y }) => y)) };
  });
}

/**
 * @param {HTMLElement} picture
 * @param {Page} page
 * @param {Choice} choice
 * @param {Network[]} known
 */
function drawn(picture, page, choice, known) {
  const { facts } = page;
  if (known.length < 2) {
    picture.append(h("p", { class: "missing" }, "Nothing to draw: fewer than two networks have an association across their classes here."));
    return;
  }
  const share = facts.outcomes[choice.outcome].name === "robust_accuracy";
  const format = (/** @type {number | null} */ value) => (share ? percent(value) : number(value));
  const all = known.flatMap(({ at }) => at);
  const measure = facts.measures[choice.measure].label;
  const said = facts.outcomes[choice.outcome].label;
  const frame = plot({
    width: room(picture),
    x: { domain: around(all.map(({ x }) => x)), label: measure, ticks: 5 },
    y: { domain: heights(all, share), label: said, format },
    label: `${measure} against ${said}, within and between networks`,
  });
  const ordered = [...known].sort((a, b) => Number(a.n === choice.network) - Number(b.n === choice.network));
  for (const each of ordered) within(frame, page, choice, each, all.length);
  const large = means(page, known, choice);
  const line = fact(page, choice)?.between === null || !fact(page, choice) ? null : fitted(large);
  if (line) frame.area.append(path(frame, line, { class: "between" }));
  const items = large.map((each) => ({
    key: each.n,
    x: each.x,
    y: each.y,
    colour: facts.networks[each.n].colour,
    chosen: each.n === choice.network,
    size: each.n === choice.network ? 9 : large.length > 15 ? 6 : 7.5,
    label: `${page.data.group_names[each.n]}: mean ${number(each.x)}, ${format(each.y)}${each.members.length > 1 ? ` over ${each.members.length} trainings` : ""}; ${each.members.find(({ n }) => n === each.n)?.text ?? ""}`,
  }));
  chosenClasses(frame, page, choice, known);
  points(frame, items, { label: "networks", onChoose: ({ key }) => page.store.set({ network: key ?? 0 }) });
  for (const each of known) if (each.n === choice.network) named(frame, page, choice, each);
  picture.append(frame.svg);
}

/**
 * The range of an outcome; that of a share stays within its bounds.
 * @param {{y: number}[]} all
 * @param {boolean} share
 * @returns {[number, number]}
 */
function heights(all, share) {
  const [low, high] = around(all.map(({ y }) => y));
  return share ? [Math.max(-0.02, low), Math.min(1.02, high)] : [low, high];
}

/**
 * The classes of a network as one path of round dots, and its line over their range.
 * @param {Frame} frame
 * @param {Page} page
 * @param {Choice} choice
 * @param {Network} network
 * @param {number} total points of all networks
 */
function within(frame, page, choice, { n, at, line }, total) {
  const { colour } = page.facts.networks[n];
  const name = n === choice.network ? "dots chosen" : "dots";
  const d = at.map(({ x, y }) => `M${frame.x(x).toFixed(1)} ${frame.y(y).toFixed(1)}h0`).join("");
  const ends = [Math.min(...at.map(({ x }) => x)), Math.max(...at.map(({ x }) => x))];
  const fit = ends.map((x) => /** @type {[number, number]} */ ([x, line.intercept + line.slope * x]));
  const lined = path(frame, fit, { class: n === choice.network ? "fit chosen" : "fit", stroke: colour });
  explained(lined, page.facts.networks[n].name);
  frame.area.append(s("path", { class: name, d, stroke: colour, "stroke-width": total > 1000 ? 3 : 5 }), lined);
}

/**
 * Least squares through the means, over their range.
 * @param {Mean[]} large
 * @returns {[number, number][] | null}
 */
function fitted(large) {
  const [x, y] = [large.reduce((sum, each) => sum + each.x, 0) / large.length, large.reduce((sum, each) => sum + each.y, 0) / large.length];
  const spread = large.reduce((sum, each) => sum + (each.x - x) ** 2, 0);
  if (large.length < 3 || !(spread > 0)) return null;
  const slope = large.reduce((sum, each) => sum + (each.x - x) * (each.y - y), 0) / spread;
  return [Math.min, Math.max].map((end) => {
    const at = end(...large.map((each) => each.x));
    return [at, y + slope * (at - x)];
  });
}

/**
 * The chosen classes in every network, in their colours.
 * @param {Frame} frame
 * @param {Page} page
 * @param {Choice} choice
 * @param {Network[]} known
 */
function chosenClasses(frame, page, choice, known) {
  const where = known.length > MOST_MARKED ? known.filter(({ n }) => n === choice.network) : known;
  for (const key of choice.classes) {
    for (const { n, at } of where) {
      const found = at.find((each) => each.key === key);
      if (!found) continue;
      const [x, y] = [frame.x(found.x), frame.y(found.y)];
      const mark = s("circle", { class: "of-class", cx: x.toFixed(1), cy: y.toFixed(1), r: n === choice.network ? 4.5 : 3, fill: classColour(choice, key) });
      explained(mark, `${page.facts.classes[key].name}, ${page.facts.networks[n].name}`);
      frame.area.append(mark);
    }
  }
}

/**
 * The names of the chosen classes, above everything else.
 * @param {Frame} frame
 * @param {Page} page
 * @param {Choice} choice
 * @param {Network} network
 */
function named(frame, page, choice, { at }) {
  for (const { key, x: value, y } of at.filter((each) => choice.classes.includes(each.key))) {
    const x = frame.x(value);
    const end = x > (frame.left + frame.right) / 2;
    const place = { x: x + (end ? -8 : 8), y: frame.y(y) - 7, "text-anchor": end ? "end" : "start" };
    frame.over.append(s("text", { class: "named", ...place }, cut(page.facts.classes[key].name, 20)));
  }
}

/**
 * @param {Page} page
 * @param {Choice} choice
 * @param {Network[]} known
 */
function tabled(page, choice, known) {
  const mean = (/** @type {number[]} */ of) => of.reduce((sum, value) => sum + value, 0) / of.length;
  const chosen = choice.classes.filter((key) => page.facts.classes[key]);
  const rows = known.map(({ n, at, line, text }) => [
    page.facts.networks[n].name,
    at.length,
    mean(at.map(({ x }) => x)),
    mean(at.map(({ y }) => y)),
    line.slope,
    text,
    ...chosen.flatMap((key) => {
      const found = at.find((each) => each.key === key);
      return [found?.x ?? null, found?.y ?? null];
    }),
  ]);
  const names = chosen.flatMap((key) => ["value", page.facts.outcomes[choice.outcome].name].map((what) => `${what} of ${page.facts.classes[key].name}`));
  return behind(["network", "n_classes", "mean value", `mean ${page.facts.outcomes[choice.outcome].name}`, "slope", "association", ...names], rows, "networks");
}
