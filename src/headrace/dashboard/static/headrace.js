"use strict";
(() => {
  const away = () => document.getElementById("away");
  const isDark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };

  // Dark or light.
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-switch]")) return;
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("headrace-theme", theme);
    } catch (error) {
      console.warn("the theme cannot be kept", error);
    }
    document.dispatchEvent(new Event("headrace:theme"));
  });

  // Forms whose address is the page's state: a change shows it.
  const submit = (form) => {
    for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
    form.requestSubmit();
  };
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-auto]");
    if (form) submit(form);
  });
  document.addEventListener("input", (event) => {
    const slider = event.target;
    if (!slider.dataset.times) return;
    const times = JSON.parse(slider.dataset.times);
    const time = times[Number(slider.value)] || "";
    slider.form.elements.as_of.value = time;
    const text = time ? time.slice(0, 16).replace("T", " ") : "now";
    slider.closest("label").querySelector("output").textContent = text;
    slider.setAttribute("aria-valuetext", text);
  });

  // A slash begins a search, as in many tools.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select")) return;
    const search = document.querySelector("input[type=search]");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  });

  // What is being read or filled in is not replaced under the reader's hands.
  const isBusy = (part) => {
    const active = document.activeElement;
    if (part.contains(active) && active.matches("input, textarea, select")) return true;
    return Boolean(part.querySelector("details[open]")) || String(getSelection()).length > 0;
  };
  document.addEventListener("htmx:beforeRequest", (event) => {
    const part = event.detail.elt;
    if (part.id === "live" && isBusy(part)) event.preventDefault();
  });
  // A page that could not be shown, or whose work is over, comes back whole, with its charts.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr } = event.detail;
    const isBack = target.querySelector(".refused[data-again]");
    const isOver = target.querySelector("[data-under-way]") && !xhr.responseText.includes("data-under-way");
    if (!(isBack || isOver) || xhr.status !== 200) return;
    event.detail.shouldSwap = false;
    location.reload();
  });
  let focused = "";
  document.addEventListener("htmx:beforeSwap", (event) => {
    const active = document.activeElement;
    focused = event.detail.target.contains(active) ? active.getAttribute("href") || "" : "";
  });
  document.addEventListener("htmx:afterSettle", () => {
    if (!focused) return;
    const link = [...document.querySelectorAll("#live a[href]")].find((a) => a.getAttribute("href") === focused);
    if (link) link.focus({ preventScroll: true });
    focused = "";
  });

  // Where no answer comes, the page says so, and goes on asking.
  let since = "";
  const trouble = (event) => {
    const status = event.detail.xhr ? event.detail.xhr.status : 0;
    since = since || new Date().toISOString().slice(11, 16);
    away().textContent = `▲ No answer since ${since} UTC${status ? ` (status ${status})` : ""}: what you see is from before. Asking again by itself.`;
    away().hidden = false;
  };
  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) document.addEventListener(name, trouble);
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!event.detail.successful) return;
    since = "";
    away().hidden = true;
  });
})();
