// What all pages share: where data scripts deliver, the state in the address, the theme's button.
"use strict";
const kdbench = {
  data: {},
  receive(name, value) { this.data[name] = value; },

  // Filters, sorting and choices live in the address after '#', so that they work from disk, too.
  state() { return new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : ""); },
  remember(changes) {
    const state = this.state();
    for (const [name, value] of Object.entries(changes)) value ? state.set(name, value) : state.delete(name);
    const text = state.toString();
    history.replaceState(null, "", text ? "#" + text : location.pathname + location.search);
  },
  onState(listener) {
    listener();
    addEventListener("hashchange", listener);
  },
  element(tag, text, attributes) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
    return made;
  },
};

addEventListener("DOMContentLoaded", () => {
  document.getElementById("theme").addEventListener("click", () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try { localStorage.setItem("kdbench-theme", theme); } catch (error) { /* only for this page, then */ }
    dispatchEvent(new Event("themechange"));
  });
  for (const select of document.querySelectorAll("[data-choose]")) {
    const sections = [...document.querySelectorAll("[data-chosen]")];
    kdbench.onState(() => {
      const wanted = kdbench.state().get("suite");
      if ([...select.options].some((option) => option.value === wanted)) select.value = wanted;
      for (const section of sections) section.hidden = section.dataset.chosen !== select.value;
    });
    select.addEventListener("change", () => {
      kdbench.remember({ suite: select.value });
      for (const section of sections) section.hidden = section.dataset.chosen !== select.value;
    });
  }
  document.addEventListener("click", (event) => closeMenus(event.target));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") closeMenus(null); });
});

function closeMenus(target) {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(target)) menu.open = false;
}
