"use strict";
// Tables: a click on a column's name sorts by the exact values. Without this script they are in the order of the file.
for (const table of document.querySelectorAll(".table table")) {
  const body = table.tBodies[0];
  if (body.rows.length < 2) continue;
  table.querySelectorAll("thead th").forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const falls = header.getAttribute("aria-sort") !== "descending";
      const key = (row) => {
        const cell = row.cells[column];
        const data = cell.querySelector("data");
        return data ? Number(data.value) : cell.textContent.trim();
      };
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        const numeric = typeof x === "number" && typeof y === "number";
        return numeric ? x - y : typeof x === typeof y ? x.localeCompare(y) : typeof x === "number" ? 1 : -1;
      };
      for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", falls ? "descending" : "ascending");
      body.append(...[...body.rows].sort((a, b) => (falls ? compare(b, a) : compare(a, b))));
    });
  });
}
// A pointer over a number shows all its digits.
for (const data of document.querySelectorAll("data")) data.title = data.value;
