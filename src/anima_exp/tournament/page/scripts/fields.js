// Fields in rows and columns: who beats whom, and what each reached by category.

const DIVERGING = ["#b5510f", "#eec39c", "#f4f4f1", "#a3cfdc", "#0a6a86"];
const DARK_DIVERGING = ["#f0a267", "#7a4a22", "#20262b", "#1f5a6b", "#63c3dc"];

function fields() {
  for (const [name, field] of Object.entries(found.fields)) {
    plot(`${name}-plot`, () => coloured(name, field));
  }
}

function coloured(name, { rows, columns, values, kind }) {
  const known = values.flat().filter((value) => value !== null);
  const most = Math.max(...known.map(Math.abs), 0.01);
  const net = kind === "net";
  return field(`${name}-plot`, {
    rows, columns, values,
    ends: net ? [-most, most] : [Math.min(...known), Math.max(...known)],
    stops: net ? stopsOf(dark() ? DARK_DIVERGING : DIVERGING) : scale(),
    told: (value) => net
      ? `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}` : value.toFixed(0),
    hover: (x, y, written) =>
      `${plain(short(rows[y], 60))}<br>${plain(short(columns[x], 60))}<br>${written}`,
    missing: "not judged",
    crossed: (x, y) => !net || x !== y, // nobody meets itself
    downwards: true, // the best on top
  });
}
