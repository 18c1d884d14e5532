// The theme is set before the page is drawn: the visitor's choice, else the system's.
(function () {
  let chosen = null;
  try { chosen = localStorage.getItem("kdbench-theme"); } catch (error) { /* no storage here: the system decides */ }
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  document.documentElement.classList.add("js");
})();
