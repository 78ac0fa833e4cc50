// A measure through the layers of each network: means over classes, the band of the chosen network, the chosen classes.
import { classColour } from "../colours.js";
import { band, each, hollow, room, squares, upright } from "../curves.js";
import { clear, h, s } from "../dom.js";
import { cut, networks } from "../networks.js";
import { explained, keepingFocus, path, plot, points } from "../plot.js";
import { around } from "../scales.js";
import { behind } from "../table.js";
import { interval, number } from "../words.js";

/**
 * @typedef {import("../facts.js").Choice} Choice
 * @typedef {import("../facts.js").Page} Page
 * @typedef {{text: string, layer: number[], depth: number[], mean: number[], low: (number | null)[], high: (number | null)[],
 *   tenth: number[], ninetieth: number[], ceiling: (number | null)[], n: number[], compared: number[], of_sample: number[]}} Profile
 * @typedef {ReturnType<typeof plot>} Frame
 */

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
    host.append(picture, legend, said, rows, h("p", { class: "hint" }, page.data.left_out));
    return {
      /** @param {Choice} choice */
      update(choice) {
        const profile = profileOf(page, choice.network, choice.measure);
        said.textContent = profile?.text ?? "";
        keepingFocus(picture, () => drawn(clear(picture), page, choice, profile));
        const others = [...page.facts.networks.keys()].filter((n) => profileOf(page, n, choice.measure));
        keepingFocus(legend, () => clear(legend).append(networks(page, choice, others)));
        clear(rows);
        if (profile) rows.append(tabled(page, choice, profile));
      },
    };
  },
};

/**
 * @param {Page} page
 * @param {number} network
 * @param {number} measure
 * @returns {Profile | null}
 */
function profileOf(page, network, measure) {
  const found = page.data.profiles[`${network}.${measure}`];
  if (!found) return null;
  const n = found.layer.length;
  const all = { ceiling: each(found.ceiling, n), n: each(found.n, n), compared: each(found.compared, n), of_sample: each(found.of_sample, n) };
  return { ...found, ...all };
}

/**
 * @param {HTMLElement} picture
 * @param {Page} page
 * @param {Choice} choice
 * @param {Profile | null} profile
 */
function drawn(picture, page, choice, profile) {
  const { facts } = page;
  const measure = facts.measures[choice.measure]?.label ?? "";
  if (!profile) {
    const name = facts.networks[choice.network]?.name ?? "this network";
    picture.append(h("p", { class: "missing" }, `No profile of ${measure}: ${name} has too few layers that were measured and pooled alike, or it is not in this page.`));
    return;
  }
  const others = [...facts.networks.keys()].filter((n) => n !== choice.network).map((n) => ({ n, of: profileOf(page, n, choice.measure) }));
  const classes = choice.classes.map((key) => ({ key, at: ofClass(page, choice, profile, key) }));
  const values = [profile.tenth, profile.ninetieth, profile.low, profile.high, ...others.map(({ of }) => (of ? joined(of) : []).map(([, y]) => y)), ...classes.map(({ at }) => at.map(([, y]) => y))].flat();
  const [low, high] = around(values);
  const ceilings = /** @type {number[]} */ (profile.ceiling.filter((value) => value !== null));
  const near = ceilings.filter((value) => value <= high + 0.6 * (high - low));
  const wide = room(picture);
  const frame = plot({
    width: wide,
    x: { domain: [-0.03, 1.03], label: "Relative depth (0: the first layer, 1: the last)", ticks: 6 },
    y: { domain: [low, Math.max(high, ...near.map((value) => value + 0.04 * (high - low)))], label: cut(measure, 46) },
    label: `${measure} through the layers of ${facts.networks[choice.network].name}`,
  });
  const { colour, dash } = facts.networks[choice.network];
  for (const [i, value] of profile.ceiling.entries()) if (value !== null) frame.area.append(ceiling(frame, profile.depth[i], value));
  if (ceilings.length && !near.length) frame.over.append(s("text", { class: "tick", x: frame.right - 4, y: frame.top + 12, "text-anchor": "end" }, `ceiling from ${number(Math.min(...ceilings))} ↑`));
  const compared = [...profile.layer.keys()].filter((i) => profile.compared[i]);
  const pick = (/** @type {(number | null)[]} */ of) => compared.map((i) => of[i]);
  frame.area.append(band(frame, compared.map((i) => profile.depth[i]), pick(profile.tenth), pick(profile.ninetieth), { class: "spread", fill: colour }));
  for (const { n, of } of others) if (of) frame.area.append(path(frame, joined(of), { class: "other", stroke: facts.networks[n].colour, "stroke-dasharray": facts.networks[n].dash }));
  for (const { key, at } of classes) lineOfClass(frame, page, choice, key, at);
  frame.area.append(path(frame, joined(profile), { class: "main", stroke: colour, "stroke-dasharray": dash }));
  const chosen = profile.layer.indexOf(choice.layer);
  if (chosen >= 0) frame.area.prepend(upright(frame, profile.depth[chosen], "cursor"));
  layers(frame, page, choice, profile);
  picture.append(frame.svg);
}

/**
 * The layers that are compared, as a curve.
 * @param {Profile} profile
 * @returns {[number, number | null][]}
 */
function joined(profile) {
  return [...profile.layer.keys()].filter((i) => profile.compared[i]).map((i) => [profile.depth[i], profile.mean[i]]);
}

/**
 * The values of one class in the layers of the page, of those that are compared.
 * @param {Page} page
 * @param {Choice} choice
 * @param {Profile} profile
 * @param {number} key
 * @returns {[number, number | null][]}
 */
function ofClass(page, choice, profile, key) {
  const { facts } = page;
  const held = [...profile.layer.keys()].filter((i) => profile.compared[i] && profile.layer[i] < facts.layers.length);
  return held.map((i) => [profile.depth[i], facts.geometry[`${choice.network}.${profile.layer[i]}.${choice.measure}`]?.value[key] ?? null]);
}

/**
 * @param {Frame} frame
 * @param {Page} page
 * @param {Choice} choice
 * @param {number} key
 * @param {[number, number | null][]} at
 */
function lineOfClass(frame, page, choice, key, at) {
  const colour = classColour(choice, key);
  const name = page.facts.classes[key].name;
  const line = path(frame, at, { class: "class", stroke: colour });
  explained(line, name);
  frame.area.append(line);
  const known = at.filter(([, y]) => y !== null);
  const last = known.at(-1);
  if (!last) return;
  frame.area.append(squares(frame, known, colour));
  const [x, y] = [frame.x(last[0]), frame.y(/** @type {number} */ (last[1]))];
  frame.over.append(s("text", { class: "named", x: x - 6, y: y - 7, "text-anchor": "end", fill: colour }, cut(name, 20)));
}

/**
 * @param {Frame} frame
 * @param {number} depth
 * @param {number} value
 */
function ceiling(frame, depth, value) {
  return s("line", { class: "ceiling", x1: frame.x(depth) - 9, x2: frame.x(depth) + 9, y1: frame.y(value), y2: frame.y(value) });
}

/**
 * The layers of the chosen network as marks that choose them.
 * @param {Frame} frame
 * @param {Page} page
 * @param {Choice} choice
 * @param {Profile} profile
 */
function layers(frame, page, choice, profile) {
  const held = page.facts.layers.length;
  const colour = page.facts.networks[choice.network].colour;
  const items = profile.layer.map((layer, i) => ({
    key: layer,
    x: profile.depth[i],
    y: profile.mean[i],
    yLow: profile.low[i],
    yHigh: profile.high[i],
    colour,
    chosen: layer === choice.layer,
    shape: profile.compared[i] ? "circle" : "cross",
    label: told(page, profile, i) + (layer < held ? "" : "; this page does not hold its classes"),
  }));
  const { marks } = points(frame, items, {
    label: "layers",
    onChoose: ({ key }) => key !== undefined && key < held && page.store.set({ layer: key }),
  });
  for (const [i, mark] of marks.entries()) if (profile.of_sample[i]) hollow(mark, colour);
}

/**
 * @param {Page} page
 * @param {Profile} profile
 * @param {number} i
 */
function told(page, profile, i) {
  const name = page.data.layers[profile.layer[i]];
  const ceiling = profile.ceiling[i] === null ? "" : `; ceiling ${number(profile.ceiling[i])}`;
  const sample = profile.of_sample[i] ? "; most values describe the sample or the width of the layer" : "";
  const otherwise = profile.compared[i] ? "" : "; pooled otherwise";
  const spread = `middle 80% of ${number(profile.n[i])} classes ${number(profile.tenth[i])} to ${number(profile.ninetieth[i])}`;
  return `${name}: mean ${interval(profile.mean[i], profile.low[i], profile.high[i])}; ${spread}${ceiling}${sample}${otherwise}`;
}

/**
 * @param {Page} page
 * @param {Choice} choice
 * @param {Profile} profile
 */
function tabled(page, choice, profile) {
  const chosen = choice.classes.filter((key) => page.facts.classes[key]);
  const values = (/** @type {number} */ layer) => page.facts.geometry[`${choice.network}.${layer}.${choice.measure}`]?.value;
  const rows = profile.layer.map((layer, i) => [
    page.data.layers[layer],
    profile.depth[i],
    profile.mean[i],
    profile.low[i],
    profile.high[i],
    profile.tenth[i],
    profile.ninetieth[i],
    profile.ceiling[i],
    profile.n[i],
    Boolean(profile.compared[i]),
    ...chosen.map((key) => values(layer)?.[key] ?? null),
  ]);
  const columns = ["layer", "depth", "mean", "low", "high", "tenth", "ninetieth", "ceiling", "n_classes", "compared"];
  return behind([...columns, ...chosen.map((key) => page.facts.classes[key].name)], rows, "layers");
}
