// The page comes to life: facts are read, lists and views are put in their places, and follow the choice.
import { isChoice } from "./address.js";
import { Store } from "./choice.js";
import { classes, controls } from "./controls.js";
import { h } from "./dom.js";
import { facts } from "./facts.js";
import { pageOf, show } from "./folded.js";
import { sortable } from "./table.js";
import { tabs } from "./tabs.js";

/** @typedef {import("./facts.js").Facts} Facts */

/**
 * @param {Record<string, import("./facts.js").View>} views by name; the linker hands over those that the page has
 */
export async function main(views) {
  pageOf(document);
  for (const grid of document.querySelectorAll("table")) sortable(grid);
  const explore = document.getElementById("explorer");
  if (explore) {
    try {
      await begin(explore, views);
      const [visit] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType("navigation"));
      if (isChoice(location.hash) && visit?.type === "navigate") show("#explore", "instant"); // a reload stays where it was
    } catch (error) {
      explore.replaceChildren(h("p", { class: "missing" }, "This browser cannot show the interactive part; every figure and table is below."));
      console.error(error);
    }
  }
  document.documentElement.dataset.ready = "true";
}

/**
 * @param {HTMLElement} explore
 * @param {Record<string, import("./facts.js").View>} views
 */
async function begin(explore, views) {
  const all = await facts("facts");
  const store = new Store(all);
  const note = h("p", { class: "note", role: "status" });
  const lists = h("div", { class: "lists" });
  const search = h("div", { class: "classes" });
  const scatter = h("section", { class: "scatter", "aria-label": "classes" });
  const beside = h("div", { class: "beside" });
  const choices = h("div", { class: "choices" }, lists, search);
  explore.replaceChildren(note, choices, h("div", { class: "linked" }, scatter, beside));
  new ResizeObserver(() => {
    scatter.style.top = `${choices.offsetHeight + 8}px`;
  }).observe(choices);
  controls(lists, all, store);
  classes(search, all, store);
  const data = (/** @type {string} */ name) => all.views.find((each) => each.name === name)?.data ?? null;
  const central = views.scatter.mount(scatter, { facts: all, data: null, store });
  const follow = tabs(beside, all, store, (name, host) => views[name].mount(host, { facts: all, data: data(name), store }));
  const update = (/** @type {import("./facts.js").Choice} */ choice) => {
    note.textContent = store.unheld;
    central.update(choice);
    follow(choice);
  };
  store.subscribe(update);
  update(store.choice);
}
