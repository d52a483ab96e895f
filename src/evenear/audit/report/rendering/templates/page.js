// SPDX-License-Identifier: Apache-2.0
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");

  document.getElementById("theme").addEventListener("click", () => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = root.dataset.theme || (dark ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
  });

  document.getElementById("download").addEventListener("click", () => {
    const text = JSON.stringify(JSON.parse(document.getElementById("audit").textContent), null, 2);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text + "\n"], { type: "application/json" }));
    link.download = "audit.json";
    link.click();
    URL.revokeObjectURL(link.href);
  });

  const filter = document.getElementById("filter");
  if (filter) {
    const articles = document.querySelectorAll("article.utterance");
    filter.addEventListener("change", () => {
      for (const article of articles) {
        const own = article.dataset.cohorts.split("\n");
        article.hidden = filter.value !== "" && !own.includes(filter.value);
      }
    });
  }

  const compare = (kind) => (a, b) => {
    if (kind === "text") return a.localeCompare(b);
    if (a === "" || b === "") return (a === "") - (b === "");
    return Number(b) - Number(a);
  };

  for (const table of document.querySelectorAll("table.cohorts")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (!head.dataset.sort) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const again = head.getAttribute("aria-sort") === "descending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", again ? "ascending" : "descending");
        const key = (row) => row.cells[column].dataset.value || "";
        const by = compare(head.dataset.sort);
        const rows = [...table.tBodies[0].rows].sort((a, b) => by(key(a), key(b)));
        table.tBodies[0].append(...(again ? rows.reverse() : rows));
      });
    });
  }

  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details")) one.open = true;
  });
})();
