// The address says what is chosen, so that a link shows what one saw, and what of a link the page does not hold is said.

/** @typedef {import("./facts.js").Facts} Facts */
/** @typedef {import("./facts.js").Choice} Choice */

/** At most so many classes are chosen together. */
export const MOST_CLASSES = 6;

/** Choices of the same kind that follow each other faster are one step of the browser's history, in milliseconds. */
const AT_ONCE = 800;

/** Letters of a name that a link has and the page has not, and how many such names are said. */
const MOST_LETTERS = 40;
const MOST_NAMES = 6;

/** What has one position among its names, and how these are found. */
const SINGLE = ["network", "layer", "measure", "attack", "strength", "iterate", "outcome"];

/** The steps of the browser's history: Back undoes a choice. */
export class Steps {
  #last = { part: "", at: -Infinity };

  /**
   * Write a choice into the address.
   * @param {string} address without its hash sign
   * @param {string} part what of the choice is another one
   */
  write(address, part) {
    const at = performance.now();
    const goesOn = part === this.#last.part && at - this.#last.at < AT_ONCE;
    this.#last = { part, at };
    history[goesOn ? "replaceState" : "pushState"](null, "", `#${address}`);
  }

  /** What is chosen after Back is a step of its own. */
  moved() {
    this.#last = { part: "", at: -Infinity };
  }
}

/**
 * Whether an address names a choice, and no place in the page.
 * @param {string} hash
 */
export function isChoice(hash) {
  return hash.includes("=");
}

/**
 * What an address asks for, part by part.
 * @param {string} hash
 */
export function askedFor(hash) {
  return new URLSearchParams(isChoice(hash) ? hash.replace(/^#/, "") : "");
}

/**
 * The choice that an address names; what it does not name, or names wrongly, is left out. `unheld` says the latter.
 * @param {Facts} facts
 * @param {string} hash
 * @returns {{choice: Partial<Choice>, unheld: string}}
 */
export function read(facts, hash) {
  const asked = askedFor(hash);
  /** @type {any} */
  const found = {};
  /** @type {string[]} */
  const wrong = [];
  for (const part of SINGLE) {
    const name = asked.get(part);
    const place = name === null ? -1 : (named(facts, { ...facts.start, ...found })[part]?.indexOf(name) ?? -1);
    if (place >= 0) found[part] = place;
    else if (name) wrong.push(`the ${part} ${quoted(name)}`);
  }
  const { places, missing, n } = classesOf(asked, addresses(facts));
  if (asked.has("class")) found.classes = places;
  const view = facts.views.find((each) => each.data !== null && each.name === asked.get("view"));
  if (view) found.view = view.name;
  else if (asked.get("view")) wrong.push(`the view ${quoted(asked.get("view") ?? "")}`);
  for (const part of new Set(asked.keys())) if (!SINGLE.includes(part) && part !== "class" && part !== "view") wrong.push(quoted(part));
  const every = [...missing.map((name) => `the class ${quoted(name)}`), ...wrong];
  return { choice: found, unheld: [notHeld(every, facts.left_out ? "This page holds a part of the study." : ""), tooMany(n)].filter(Boolean).join(" ") };
}

/**
 * The classes that an address names: their positions, as many as can be chosen; names that the page does not have; and how
 * many there were of those that it has.
 * @param {URLSearchParams} asked
 * @param {string[]} names of all classes in an address
 */
export function classesOf(asked, names) {
  const wanted = [...new Set(asked.getAll("class"))];
  const known = wanted.filter((name) => names.includes(name));
  const places = known.slice(0, MOST_CLASSES).map((name) => names.indexOf(name));
  return { places, missing: wanted.filter((name) => name && !names.includes(name)), n: known.length };
}

/**
 * A sentence on what a link names and the page does not hold; empty where that is nothing.
 * @param {string[]} parts such as `the layer “conv9”`
 * @param {string} [why]
 */
export function notHeld(parts, why = "") {
  if (!parts.length) return "";
  const more = parts.length > MOST_NAMES ? [`${parts.length - MOST_NAMES} more`] : [];
  const all = [...parts.slice(0, MOST_NAMES), ...more];
  const listed = all.length < 2 ? all[0] : `${all.slice(0, -1).join(", ")} and ${all[all.length - 1]}`;
  return `The link names ${listed}, which this page does not have. ${why}`.trim();
}

/**
 * A sentence on a link with more classes than can be chosen; empty where they are not more.
 * @param {number} n
 */
export function tooMany(n) {
  return n > MOST_CLASSES ? `The link names ${n} classes; the first ${MOST_CLASSES} are shown, the most that can be chosen.` : "";
}

/**
 * A name of a link, as long as a sentence takes.
 * @param {string} name
 */
export function quoted(name) {
  const letters = [...name];
  return `“${letters.length > MOST_LETTERS ? `${letters.slice(0, MOST_LETTERS - 1).join("")}…` : name}”`;
}

/**
 * @param {Facts} facts
 * @param {Choice} choice
 * @returns {Record<string, string[]>} the names that each part of a choice can have
 */
function named(facts, choice) {
  const attack = facts.attacks[choice.attack];
  return {
    network: facts.networks.map((each) => each.name),
    layer: facts.layers.map((each) => each.name),
    measure: facts.measures.map((each) => [each.name, each.parameters].filter(Boolean).join(" ")),
    attack: facts.attacks.map((each) => each.name),
    strength: attack ? attack.strengths.map((each) => String(each.value)) : [],
    iterate: attack ? attack.iterates.map((each) => each.name) : [],
    outcome: facts.outcomes.map((each) => each.name),
  };
}

/**
 * A choice as the address has it.
 * @param {Facts} facts
 * @param {Choice} choice
 */
export function written(facts, choice) {
  const names = named(facts, choice);
  const said = new URLSearchParams();
  const classes = addresses(facts);
  for (const place of choice.classes) said.append("class", classes[place]);
  if (!choice.classes.length) said.append("class", ""); // none is a choice too
  for (const part of SINGLE) {
    const name = names[part][/** @type {any} */ (choice)[part]];
    if (name !== undefined) said.set(part, name);
  }
  said.set("view", choice.view);
  return said.toString();
}

/**
 * What each class is called in an address: its name, and its index where others have the same.
 * @param {Facts} facts
 */
function addresses(facts) {
  /** @type {Map<string, number>} */
  const times = new Map();
  for (const { name } of facts.classes) times.set(name, (times.get(name) ?? 0) + 1);
  return facts.classes.map(({ name, index }) => (times.get(name) === 1 ? name : `${name} (${index})`));
}
