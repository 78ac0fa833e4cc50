// What is chosen, in one place; the address says it too, so that a link shows what one saw.
import { MOST_CLASSES, Steps, read, written } from "./address.js";

/** @typedef {import("./facts.js").Facts} Facts */
/** @typedef {import("./facts.js").Choice} Choice */

export class Store {
  /** @type {Choice} */
  #choice;
  /** @type {((choice: Choice) => void)[]} */
  #listeners = [];
  /** @type {Facts} */
  #facts;
  #steps = new Steps();
  #unheld = "";

  /** @param {Facts} facts */
  constructor(facts) {
    this.#facts = facts;
    this.#choice = this.#linked();
    addEventListener("hashchange", () => {
      this.#steps.moved();
      this.#become(this.#linked());
    });
  }

  get choice() {
    return this.#choice;
  }

  /** What the address named and the page does not hold, in a sentence, until something else is chosen. */
  get unheld() {
    return this.#unheld;
  }

  /**
   * Choose something else; what does not go with it any more becomes what there is. Back undoes it.
   * @param {Partial<Choice>} changes
   */
  set(changes) {
    const before = written(this.#facts, this.#choice);
    this.#unheld = "";
    this.#become({ ...this.#choice, ...changes });
    const address = written(this.#facts, this.#choice);
    if (address !== before) this.#steps.write(address, Object.keys(changes).join());
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

  /** What the address names, and of the rest what the page begins with. */
  #linked() {
    const { choice, unheld } = read(this.#facts, location.hash);
    this.#unheld = unheld;
    return { ...this.#facts.start, ...choice };
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
