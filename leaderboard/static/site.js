// What all pages share: where data scripts deliver, the state in the address, notes and menus, the theme's button.
"use strict";
const kdbench = {
  data: {},
  tables: [],
  receive(name, value) { this.data[name] = value; },

  // A script of the site, once; paths are made of checked parts.
  load(path) {
    this.loading = this.loading || {};
    this.loading[path] = this.loading[path] || new Promise((resolve, reject) => {
      const script = this.element("script", undefined, { src: document.documentElement.dataset.root + path });
      script.addEventListener("load", resolve);
      script.addEventListener("error", () => reject(new Error(path + " is missing")));
      document.head.append(script);
    });
    return this.loading[path];
  },

  // Filters, sorting and choices live in the address after '#', so that they work from disk, too.
  state() { return new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : ""); },
  remember(changes, quietly) {
    const state = this.state();
    for (const [name, value] of Object.entries(changes)) value ? state.set(name, value) : state.delete(name);
    const text = state.toString();
    if (text === this.state().toString()) return;
    history[quietly ? "replaceState" : "pushState"](null, "", text ? "#" + text : location.pathname + location.search);
    dispatchEvent(new Event("remembered"));
  },
  onState(listener) {
    listener();
    addEventListener("popstate", listener);
  },
  // Digits as Python's format has them: of two that are equally near, the even one.
  fixed(value, digits = 2) {
    const tie = (Math.abs(value) * 2 ** (digits + 1)) % 2 === 1;
    const below = Math.floor(Math.abs(value) * 10 ** digits);
    return (tie && below % 2 === 0 ? (Math.sign(value) * below) / 10 ** digits : value).toFixed(digits);
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
  const here = document.querySelector(".tabs.many [aria-current]");
  if (here) here.parentElement.scrollLeft = here.offsetLeft - here.parentElement.offsetLeft - 40;
  for (const select of document.querySelectorAll("[data-choose]")) {
    const sections = [...document.querySelectorAll("[data-chosen]")];
    const usual = select.value;
    kdbench.onState(() => {
      const wanted = kdbench.state().get("suite") || usual;
      if ([...select.options].some((option) => option.value === wanted)) select.value = wanted;
      for (const section of sections) section.hidden = section.dataset.chosen !== select.value;
    });
    select.addEventListener("change", () => {
      kdbench.remember({ suite: select.value });
      for (const section of sections) section.hidden = section.dataset.chosen !== select.value;
    });
  }
  document.addEventListener("click", (event) => {
    closeMenus(event.target);
    const tag = event.target.closest("button.tag");
    note(tag && tag !== noted ? tag : null);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    closeMenus(null);
    note(null);
  });
});

// Closes menus; one that held the focus gives it back to what opened it.
function closeMenus(target) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (menu.contains(target)) continue;
    const held = menu.contains(document.activeElement);
    menu.open = false;
    if (held && !target) menu.querySelector("summary").focus();
  }
}

// What a tag means, beneath it, for touch and keyboard; a mouse also has its tooltip.
let noted = null;
function note(tag) {
  const old = document.getElementById("noted");
  if (old) old.remove();
  if (noted) noted.removeAttribute("aria-describedby");
  noted = tag;
  if (!tag) return;
  const box = kdbench.element("div", tag.title, { id: "noted", role: "note", class: "noted" });
  document.body.append(box);
  const at = tag.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - box.offsetWidth - 8));
  box.style.left = left + scrollX + "px";
  box.style.top = at.bottom + scrollY + 4 + "px";
  tag.setAttribute("aria-describedby", "noted");
}
