"use strict";
// Before the first paint: the theme that was chosen here, if one was; else the system's.
(() => {
  try {
    const chosen = localStorage.getItem("headrace-theme");
    if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  } catch (error) {
    console.warn("the chosen theme cannot be read", error);
  }
})();
