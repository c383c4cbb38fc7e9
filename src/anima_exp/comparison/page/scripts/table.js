// The leaderboard: sorted by any column, filtered by words.

function leaderboard() {
  const table = byId("leaderboard-table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    head.querySelector("button")?.addEventListener("click", () => sort(column));
  });

  function sort(column) {
    const head = heads[column];
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = rows.map((row) => [row.cells[column].dataset.key, row]);
    const numeric = keyed.every(([key]) => key === "" || !Number.isNaN(Number(key)));
    keyed.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === ""); // nothing measured: always last
      const order = numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
      return down ? -order : order;
    });
    body.append(...keyed.map(([, row]) => row));
  }

  const said = byId("leaderboard-shown");
  const box = byId("leaderboard-filter");
  const texts = rows.map((row) => `${row.dataset.text} `.toLowerCase());
  function filter() {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, at) => {
      // rank=8 must not find rank=80.
      const text = texts[at];
      row.hidden = !words.every((word) => text.includes(word.includes("=") ? `${word} ` : word));
      shown += !row.hidden;
    });
    said.textContent = words.length ? `${shown} of ${rows.length} shown` : "";
  }
  box.addEventListener("input", filter);
}
