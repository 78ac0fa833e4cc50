// What is chosen, in one place; the address says it too, so that a link shows what one saw.

/** @typedef {import("./facts.js").Facts} Facts */
/** @typedef {import("./facts.js").Choice} Choice */

/** At most so many classes are chosen together. */
export const MOST_CLASSES = 6;

/** Choices of the same kind that follow each other faster are one step of the browser's history, in milliseconds. */
const AT_ONCE = 800;

/** What has one position among its names, and how these are found. */
const SINGLE = ["network", "layer", "measure", "attack", "strength", "iterate", "outcome"];

export class Store {
  /** @type {Choice} */
  #choice;
  /** @type {((choice: Choice) => void)[]} */
  #listeners = [];
  /** @type {Facts} */
  #facts;
  #last = { part: "", at: -Infinity };

  /** @param {Facts} facts */
  constructor(facts) {
    this.#facts = facts;
    this.#choice = { ...facts.start, ...read(facts, location.hash) };
    addEventListener("hashchange", () => {
      this.#last = { part: "", at: -Infinity }; // what is chosen after Back is a step of its own
      this.#become({ ...facts.start, ...read(facts, location.hash) });
    });
  }

  get choice() {
    return this.#choice;
  }

  /**
   * Choose something else; what does not go with it any more becomes what there is. Back undoes it.
   * @param {Partial<Choice>} changes
   */
  set(changes) {
    const before = written(this.#facts, this.#choice);
    this.#become({ ...this.#choice, ...changes });
    const address = written(this.#facts, this.#choice);
    if (address === before) return;
    const [part, at] = [Object.keys(changes).join(), performance.now()];
    const goesOn = part === this.#last.part && at - this.#last.at < AT_ONCE;
    this.#last = { part, at };
    history[goesOn ? "replaceState" : "pushState"](null, "", `#${address}`);
  }

  /**
   * Choose a class, or let it go.
   * @param {number} position
   */
  toggleClass(position) {
    const { classes } = this.#choice;
    const without = classes.filter((each) => each !== position);
    this.set({ classes: without.length < classes.length ? without : [...classes, position].slice(-MOST_CLASSES) });
  }

  /** @param {(choice: Choice) => void} listener */
  subscribe(listener) {
    this.#listeners.push(listener);
  }

  /** @param {Choice} choice */
  #become(choice) {
    const attack = this.#facts.attacks[choice.attack];
    const last = (attack?.strengths.length ?? 1) - 1;
    this.#choice = {
      ...choice,
      strength: Math.max(0, Math.min(choice.strength, last)),
      iterate: Math.max(0, Math.min(choice.iterate, (attack?.iterates.length ?? 1) - 1)),
    };
    for (const listener of this.#listeners) listener(this.#choice);
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
 * The choice that an address names; what it does not name, or names wrongly, is left out.
 * @param {Facts} facts
 * @param {string} hash
 * @returns {Partial<Choice>}
 */
export function read(facts, hash) {
  if (!isChoice(hash)) return {};
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  /** @type {any} */
  const found = {};
  for (const part of SINGLE) {
    const name = asked.get(part);
    const place = name === null ? -1 : (named(facts, { ...facts.start, ...found })[part]?.indexOf(name) ?? -1);
    if (place >= 0) found[part] = place;
  }
  const names = addresses(facts);
  const classes = asked.getAll("class").map((name) => names.indexOf(name));
  if (asked.has("class")) found.classes = [...new Set(classes.filter((place) => place >= 0))].slice(0, MOST_CLASSES);
  const view = facts.views.find((each) => each.name === asked.get("view"));
  if (view) found.view = view.name;
  return found;
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
