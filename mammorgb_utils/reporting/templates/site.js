"use strict";
const top_ = document.currentScript.dataset.top;
const kept = (name, value) => {  // a browser may keep nothing for a page that was opened as a file
  try {
    if (value) localStorage.setItem(name, value);
    return localStorage.getItem(name);
  } catch { return null; }
};
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
document.documentElement.dataset.theme = kept("theme") || (dark ? "dark" : "light");

document.addEventListener("DOMContentLoaded", () => {
  document.getElementById("theme").addEventListener("click", () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    kept("theme", theme);
  });
  if (matchMedia("(max-width: 50rem)").matches) document.querySelector("nav.pages details").open = false;
  search(document.getElementById("search"), document.getElementById("found"));
  zoom(document.getElementById("zoom"));
});

function search(field, list) {
  field.addEventListener("focus", () => {
    const script = document.createElement("script");
    script.src = `${top_}/assets/search.js`;
    script.onload = show;
    document.head.append(script);
  }, {once: true});
  field.addEventListener("input", show);
  field.addEventListener("keydown", event => {
    if (event.key === "Escape") { field.value = ""; show(); }
    if (event.key === "Enter") list.querySelector("a")?.click();
  });

  function show() {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    list.hidden = !words.length || !window.INDEX;
    if (list.hidden) return;
    const found = window.INDEX.map(entry => [score(entry, words), entry]).filter(([points]) => points);
    found.sort(([a], [b]) => b - a);
    list.replaceChildren(...(found.length ? found.slice(0, 15).map(([, entry]) => result(entry, words)) : [nothing()]));
  }

  function score({page, title, text}, words) {
    let points = 0;
    for (const word of words) {
      const inside = text.toLowerCase().split(word).length - 1;
      const named = `${page} ${title}`.toLowerCase().includes(word) ? 10 : 0;
      if (!inside && !named) return 0;
      points += Math.min(inside, 5) + named;
    }
    return points;
  }

  function result({page, to, title, text}, words) {
    const item = document.createElement("li"), link = document.createElement("a"), more = document.createElement("small");
    const start = Math.max(0, text.toLowerCase().indexOf(words[0]) - 60);
    link.href = `${top_}/${to}`;
    link.textContent = title && title !== page ? `${page} › ${title}` : page;
    more.textContent = (start ? "… " : "") + text.slice(start, start + 160);
    link.append(more);
    item.append(link);
    return item;
  }

  function nothing() {
    const item = document.createElement("li");
    item.textContent = "Nothing found";
    return item;
  }
}

function zoom(dialog) {
  const large = dialog.querySelector("img");
  for (const picture of document.querySelectorAll("main img")) {
    picture.tabIndex = 0;
    const open = event => {
      if (event.key && event.key !== "Enter") return;
      event.preventDefault();
      large.src = picture.src;
      large.alt = picture.alt;
      large.className = "";
      dialog.showModal();
    };
    picture.addEventListener("click", open);
    picture.addEventListener("keydown", open);
  }
  large.addEventListener("click", event => { event.stopPropagation(); large.classList.toggle("close"); });
  dialog.addEventListener("click", () => dialog.close());
}
