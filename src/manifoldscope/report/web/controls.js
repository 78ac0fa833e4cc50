// What can be chosen: one list each, and a search for classes.
import { MOST_CLASSES, quoted } from "./address.js";
import { CLASS_COLOURS } from "./colours.js";
import { clear, h } from "./dom.js";
import { number } from "./words.js";

/**
 * @typedef {import("./facts.js").Facts} Facts
 * @typedef {import("./facts.js").Choice} Choice
 * @typedef {import("./choice.js").Store} Store
 */

/** A search shows so many classes at once. */
const MOST_FOUND = 12;

/**
 * Lists for everything that has more than one value, kept in step with the choice.
 * @param {HTMLElement} host
 * @param {Facts} facts
 * @param {Store} store
 */
export function controls(host, facts, store) {
  const parts = /** @type {[keyof Choice, string, (choice: Choice) => string[]][]} */ ([
    ["network", "Network", () => facts.networks.map((each) => each.name)],
    ["layer", "Layer and pooling", () => facts.layers.map((each) => each.name)],
    ["measure", "Measure", () => facts.measures.map((each) => each.label)],
    ["attack", "Attack", () => facts.attacks.map((each) => each.label)],
    ["strength", "Strength", (choice) => strengths(facts, choice)],
    ["iterate", "Iterate", (choice) => (facts.attacks[choice.attack]?.iterates ?? []).map((each) => each.label)],
    ["outcome", "Outcome", () => (facts.attacks.length ? facts.outcomes : []).map((each) => each.label)],
  ]);
  for (const [part, title, names] of parts) {
    const list = h("select", { name: part, onchange: () => store.set({ [part]: Number(list.value) }) });
    const label = h("label", {}, h("span", {}, title), list);
    host.append(label);
    const update = (/** @type {Choice} */ choice) => {
      const now = names(choice);
      const same = now.length === list.options.length && now.every((name, i) => list.options[i].text === name);
      if (!same) clear(list).append(...now.map((name, i) => h("option", { value: i }, name)));
      list.value = String(choice[part]);
      label.hidden = now.length < 2;
    };
    store.subscribe(update);
    update(store.choice);
  }
}

/**
 * @param {Facts} facts
 * @param {Choice} choice
 */
function strengths(facts, choice) {
  const attack = facts.attacks[choice.attack];
  return (attack?.strengths ?? []).map((each) => (attack.symbol === "ε" ? `ε = ${each.label}` : `${attack.symbol} ${each.label}`));
}

/**
 * The chosen classes, each with a button that lets it go, and a search that finds others: a combobox with a list.
 * @param {HTMLElement} host
 * @param {Facts} facts
 * @param {Store} store
 */
export function classes(host, facts, store) {
  const chosen = h("ul", { class: "chosen", "aria-label": "chosen classes" });
  const said = h("span", { class: "said", role: "status" });
  const found = h("ul", { class: "found", id: "found", role: "listbox", "aria-label": "classes found", hidden: true });
  const field = h("input", {
    type: "search",
    role: "combobox",
    placeholder: "Choose a class",
    "aria-label": "choose a class",
    "aria-expanded": "false",
    "aria-controls": "found",
    "aria-autocomplete": "list",
    autocomplete: "off",
    spellcheck: "false",
    oninput: () => look(field.value),
    onfocus: () => look(field.value),
    onblur: () => setTimeout(leave, 150),
    onkeydown: (/** @type {KeyboardEvent} */ event) => move(event),
  });
  let at = 0;
  let more = "";
  host.append(h("div", { class: "search" }, field, found), chosen, said);

  const take = (/** @type {number} */ position) => {
    field.value = "";
    show([]);
    store.toggleClass(position);
  };
  const look = (/** @type {string} */ text) => {
    const wanted = text.trim().toLowerCase();
    const fits = [...facts.classes.keys()].filter((key) => facts.classes[key].name.toLowerCase().includes(wanted));
    const begins = (/** @type {number} */ key) => Number(!facts.classes[key].name.toLowerCase().startsWith(wanted));
    show(fits.sort((a, b) => begins(a) - begins(b) || a - b).slice(0, MOST_FOUND));
    more = fits.length > MOST_FOUND ? `The first ${MOST_FOUND} of ${number(fits.length)} classes; type more of the name.` : "";
    said.textContent = fits.length ? more : `No class in this page is called ${quoted(text.trim())}.`;
  };
  const leave = () => {
    show([]);
    if (said.textContent === more) said.textContent = "";
  };
  const show = (/** @type {number[]} */ keys) => {
    at = 0;
    found.hidden = !keys.length;
    field.setAttribute("aria-expanded", String(keys.length > 0));
    const option = (/** @type {number} */ key, /** @type {number} */ i) =>
      h(
        "li",
        {
          id: `found-${i}`,
          role: "option",
          "data-key": key,
          "aria-selected": String(i === 0),
          onmousedown: (/** @type {Event} */ event) => {
            event.preventDefault();
            take(key);
          },
        },
        facts.classes[key].name,
      );
    clear(found).append(...keys.map(option));
    mark();
  };
  const mark = () => {
    for (const [i, each] of [...found.children].entries()) each.setAttribute("aria-selected", String(i === at));
    if (found.children[at]) field.setAttribute("aria-activedescendant", found.children[at].id);
    else field.removeAttribute("aria-activedescendant");
  };
  const move = (/** @type {KeyboardEvent} */ event) => {
    const n = found.children.length;
    if (event.key === "ArrowDown" && n) at = (at + 1) % n;
    else if (event.key === "ArrowUp" && n) at = (at + n - 1) % n;
    else if (event.key === "Enter" && found.children[at]) take(Number(found.children[at].getAttribute("data-key")));
    else if (event.key === "Escape") leave();
    else return;
    event.preventDefault();
    mark();
  };

  let before = store.choice.classes;
  const update = (/** @type {Choice} */ choice) => {
    const gone = before.filter((key) => !choice.classes.includes(key));
    const full = before.length === MOST_CLASSES && choice.classes.length === MOST_CLASSES;
    said.textContent = full && gone.length === 1 && gone[0] === before[0] ? `${MOST_CLASSES} classes at most: ${facts.classes[gone[0]].name} was let go.` : "";
    before = choice.classes;
    const item = (/** @type {number} */ key, /** @type {number} */ place) => {
      const dot = h("span", { class: "dot", "aria-hidden": "true" });
      dot.style.background = CLASS_COLOURS[place];
      const name = facts.classes[key].name;
      const button = h("button", { type: "button", "aria-label": `let ${name} go`, onclick: () => store.toggleClass(key) }, "×");
      return h("li", {}, dot, name, button);
    };
    clear(chosen).append(...choice.classes.map(item));
  };
  store.subscribe(update);
  update(store.choice);
}
