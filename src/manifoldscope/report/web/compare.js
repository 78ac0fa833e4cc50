// Studies side by side: a class that is chosen, in a panel, in a table or by its name, lights up everywhere.
import { MOST_CLASSES, Steps, askedFor, classesOf, notHeld, quoted, tooMany } from "./address.js";
import { clear, h } from "./dom.js";
import { pageOf } from "./folded.js";

/** Where each class is in the page, and which are chosen; the address has their names. */
class Chosen {
  /** @type {number[]} */
  places = [];
  /** What is said beside the search. */
  said = "";
  #steps = new Steps();

  /** @param {string[]} names of all classes, by position */
  constructor(names) {
    this.names = names;
    /** @type {NodeListOf<HTMLElement | SVGElement>} */
    this.marks = document.querySelectorAll("[data-class]");
  }

  /** @param {number} place */
  toggle(place) {
    const without = this.places.filter((each) => each !== place);
    const all = without.length < this.places.length ? without : [...this.places, place];
    const gone = all.length > MOST_CLASSES ? all.shift() : undefined;
    this.said = gone === undefined ? "" : `${MOST_CLASSES} classes at most: ${this.names[gone]} was let go.`;
    this.places = all;
    const classes = this.places.map((each) => ["class", this.names[each]]);
    this.#steps.write(String(new URLSearchParams(classes.length ? classes : [["class", ""]])), "class"); // none is a choice too
    this.show();
  }

  /** Choose what the address names, and say what of it is not there. */
  read() {
    const asked = askedFor(location.hash);
    const { places, missing, n } = classesOf(asked, this.names);
    this.places = places;
    const others = [...new Set(asked.keys())].filter((part) => part !== "class").map(quoted);
    this.said = [notHeld([...missing.map((name) => `the class ${quoted(name)}`), ...others]), tooMany(n)].filter(Boolean).join(" ");
    this.#steps.moved();
    this.show();
  }

  show() {
    document.body.classList.toggle("choosing", this.places.length > 0);
    for (const mark of this.marks) {
      const colour = this.places.indexOf(Number(mark.dataset.class));
      for (let each = 0; each < MOST_CLASSES; each++) mark.classList.toggle(`c${each}`, each === colour);
      mark.classList.toggle("on", colour >= 0);
      if (mark instanceof SVGElement) mark.setAttribute("aria-pressed", String(colour >= 0));
    }
    const list = /** @type {HTMLElement} */ (document.querySelector(".chooser .chosen"));
    const item = (/** @type {number} */ place, /** @type {number} */ colour) => {
      const label = `let go of ${this.names[place]}`;
      const button = { type: "button", "aria-label": label, onclick: () => this.toggle(place) };
      return h("li", {}, h("button", button, h("span", { class: `dot c${colour}` }), this.names[place], " ×"));
    };
    clear(list).append(...this.places.map(item));
    this.say(this.said);
  }

  /** @param {string} text beside the search */
  say(text) {
    const line = /** @type {HTMLElement} */ (document.querySelector(".chooser .said"));
    line.textContent = text;
  }
}

/** @returns {string[]} the names of the classes, by position */
function namesOfClasses() {
  const options = /** @type {NodeListOf<HTMLOptionElement>} */ (document.querySelectorAll("#class-names option"));
  return Array.from(options, (option) => option.value);
}

/**
 * Points can be reached by Tab, a panel at a time; arrows move between them, Enter and Space choose.
 * @param {Element} panel
 * @param {Chosen} chosen
 */
function byKeyboard(panel, chosen) {
  const points = /** @type {SVGElement[]} */ (Array.from(panel.querySelectorAll(".point")));
  points.forEach((point, place) => {
    point.setAttribute("role", "button");
    point.setAttribute("tabindex", place === 0 ? "0" : "-1");
    point.addEventListener("click", () => chosen.toggle(Number(point.dataset.class)));
    point.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (step !== undefined) {
        const next = points[(place + step + points.length) % points.length];
        for (const each of points) each.setAttribute("tabindex", each === next ? "0" : "-1");
        next.focus();
      } else if (event.key === "Enter" || event.key === " ") chosen.toggle(Number(point.dataset.class));
      else return;
      event.preventDefault();
    });
  });
}

/**
 * A class by its name, as far as it is typed.
 * @param {Chosen} chosen
 */
function bySearch(chosen) {
  const chooser = /** @type {HTMLElement} */ (document.querySelector(".chooser"));
  const input = /** @type {HTMLInputElement} */ (chooser.querySelector("input"));
  chooser.hidden = false;
  const choose = () => {
    const typed = input.value.trim().toLowerCase();
    if (!typed) return;
    const exact = chosen.names.findIndex((name) => name.toLowerCase() === typed);
    const place = exact >= 0 ? exact : chosen.names.findIndex((name) => name.toLowerCase().startsWith(typed));
    if (place < 0) return chosen.say(`No class of this page is called ${quoted(input.value.trim())}.`);
    input.value = "";
    if (chosen.places.includes(place)) chosen.say(`${chosen.names[place]} is chosen already.`);
    else chosen.toggle(place);
  };
  input.addEventListener("change", choose);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") choose();
  });
}

export function main() {
  pageOf(document);
  const names = namesOfClasses();
  if (!names.length) return;
  const chosen = new Chosen(names);
  document.body.classList.add("with-script");
  for (const panel of document.querySelectorAll("svg.paired")) byKeyboard(panel, chosen);
  for (const row of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("tr[data-class]"))) {
    row.addEventListener("click", () => chosen.toggle(Number(row.dataset.class)));
  }
  bySearch(chosen);
  addEventListener("hashchange", () => chosen.read());
  chosen.read();
}
