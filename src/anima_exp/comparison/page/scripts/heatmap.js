// The metric over two settings: the mean over all others; a pair never run stays empty.

function heatmap() {
  const [row, column] = [byId("heat-row"), byId("heat-column")];
  if (!row) return;
  const keys = found.settings.map((setting) => setting.key);
  const matters = found.effects.map((effect) => keys.indexOf(effect.key)).filter((at) => at >= 0);
  const [first = 0, second = first === 0 ? 1 : 0] = matters;
  fill(row, keys, second);
  fill(column, keys, first);
  for (const [changed, other] of [[row, column], [column, row]]) {
    let before = changed.value;
    const remember = () => { before = changed.value; };
    changed.addEventListener("focus", remember);
    changed.addEventListener("change", () => {
      if (changed.value === other.value) other.value = before; // a setting against itself: swap
      remember();
      redraw("heat-plot");
    });
  }
  plot("heat-plot", () => pairs(Number(row.value), Number(column.value)));
}

function pairs(row, column) {
  const [rows, columns] = [found.settings[row], found.settings[column]];
  const values = rows.levels.map(() => columns.levels.map(() => []));
  for (const cell of found.cells) {
    if (cell.mean === null || cell.at[row] === null || cell.at[column] === null) continue;
    values[cell.at[row]][cell.at[column]].push(cell.mean);
  }
  const means = values.map((line) => line.map((some) => some.length ? mean(some) : null));
  const level = (setting, at) => `${plain(setting.key)} ${plain(short(setting.levels[at], 60))}`;
  const { data, layout } = field("heat-plot", {
    rows: rows.levels, columns: columns.levels, values: means,
    ends: span(means.flat().filter((value) => value !== null)),
    stops: metric.minimize ? scale().map(([at, colour]) => [1 - at, colour]).reverse() : scale(),
    told: number,
    hover: (x, y, written) =>
      `${level(rows, y)}<br>${level(columns, x)}<br>${written}, mean of ${values[y][x].length}`,
    missing: "not run",
  });
  Object.assign(data[0], {
    showscale: true,
    colorbar: {
      thickness: 12, outlinewidth: 0, tickformat: TICKS,
      ...(page.clientWidth < 640 ? { orientation: "h", y: 1.02, yanchor: "bottom" } : {}),
    },
  });
  layout.height = Math.min(Math.max(300, layout.height + 10), 900);
  layout.xaxis.title = { text: plain(columns.short) };
  layout.yaxis.title = { text: plain(rows.short) };
  return { data, layout };
}
