// One view at a time beside the scatter: tabs, of which only the one that is open is drawn.
import { h } from "./dom.js";

/**
 * @typedef {import("./facts.js").Choice} Choice
 * @typedef {{update: (choice: Choice) => void}} Mounted
 */

/**
 * @param {HTMLElement} host
 * @param {import("./facts.js").Facts} facts
 * @param {import("./choice.js").Store} store
 * @param {(name: string, panel: HTMLElement) => Mounted} mount
 * @returns {(choice: Choice) => void} what is to be called with each choice
 */
export function tabs(host, facts, store, mount) {
  const list = h("div", { role: "tablist", class: "tabs", "aria-label": "views" });
  const panels = h("div", { class: "panels" });
  host.append(list, panels, ...leftOut(facts));
  /** @type {Map<string, {tab: HTMLElement, panel: HTMLElement, mounted?: Mounted}>} */
  const shown = new Map();
  for (const [place, { name, title, caption }] of facts.views.filter((each) => each.data !== null).entries()) {
    const tab = h("button", { type: "button", role: "tab", id: `tab-${place}`, "aria-controls": `panel-${place}`, onclick: () => store.set({ view: name }) }, title);
    const panel = h("div", { role: "tabpanel", id: `panel-${place}`, "aria-labelledby": `tab-${place}`, "data-view": name, hidden: true });
    panel.append(h("div", { class: "view" }), h("p", { class: "caption" }, caption));
    list.append(tab);
    panels.append(panel);
    shown.set(name, { tab, panel });
  }
  list.addEventListener("keydown", (event) => {
    const names = [...shown.keys()];
    const at = names.indexOf(store.choice.view);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[event.key];
    if (to === undefined) return;
    const next = names[(to + names.length) % names.length];
    store.set({ view: next });
    shown.get(next)?.tab.focus();
    event.preventDefault();
  });
  return (choice) => {
    for (const [name, each] of shown) {
      const open = name === choice.view;
      each.tab.setAttribute("aria-selected", String(open));
      each.tab.setAttribute("tabindex", open ? "0" : "-1");
      each.panel.hidden = !open;
      if (!open) continue;
      each.mounted ??= mount(name, /** @type {HTMLElement} */ (each.panel.querySelector(".view")));
      each.mounted.update(choice);
    }
  };
}

/**
 * The views that have nothing to show of this study, and why.
 * @param {import("./facts.js").Facts} facts
 */
function leftOut(facts) {
  const none = facts.views.filter((each) => each.data === null);
  if (!none.length) return [];
  const what = none.length === 1 ? "One view has" : `${none.length} views have`;
  const items = none.map(({ title, missing }) => h("li", {}, `${title}: ${missing}.`));
  return [h("details", { class: "behind" }, h("summary", {}, `${what} nothing to show for this study`), h("ul", {}, ...items))];
}
