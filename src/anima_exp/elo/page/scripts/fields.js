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
  const [low, high] = kind === "net" ? [-most, most] : [Math.min(...known), Math.max(...known)];
  const stops = kind === "net"
    ? (dark() ? DARK_DIVERGING : DIVERGING).map((colour, at) => [at / 4, colour])
    : scale();
  const told = (value) => kind === "net"
    ? `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}` : value.toFixed(0);
  const room = (byId(`${name}-plot`).clientWidth - 180) / columns.length; // of one column
  const longest = Math.max(...columns.map((text) => short(text, 18).length));
  const labels = { x: [], y: [], text: [], textfont: { size: 12, color: [] } };
  const empty = { x: [], y: [] };
  values.forEach((line, y) => line.forEach((value, x) => {
    if (value === null) {
      if (kind !== "net" || x !== y) { // nobody meets itself
        empty.x.push(x);
        empty.y.push(y);
      }
      return;
    }
    if (room <= 34) return;
    const share = high > low ? (value - low) / (high - low) : 0.5;
    labels.x.push(x);
    labels.y.push(y);
    labels.text.push(told(value));
    labels.textfont.color.push(readable(between(stops, share)));
  }));
  const named = (texts) => ({
    type: "linear", showgrid: false, zeroline: false,
    tickvals: texts.map((_, at) => at), // plotly leaves labels out where they collide
    ticktext: texts.map((text) => plain(short(text, 18))),
  });
  return {
    data: [{
      type: "heatmap", z: values, zmin: low, zmax: high, xgap: 2, ygap: 2, hoverongaps: false,
      colorscale: stops, showscale: false,
      customdata: values.map((line, y) => line.map((value, x) => value === null ? ""
        : `${plain(short(rows[y], 60))}<br>${plain(short(columns[x], 60))}<br>${told(value)}`)),
      hovertemplate: "%{customdata}<extra></extra>",
    }, {
      type: "scatter", mode: "text", hoverinfo: "skip", ...labels,
    }, {
      type: "scatter", mode: "markers", ...empty, hoverinfo: "skip",
      marker: { symbol: "x-thin", size: 8, line: { width: 1, color: ink("soft") } },
    }],
    layout: {
      height: 34 * rows.length + 120,
      xaxis: {
        ...named(columns), range: [-0.5, columns.length - 0.5],
        tickangle: 7 * longest < room ? 0 : -40,
      },
      yaxis: { ...named(rows), range: [rows.length - 0.5, -0.5] }, // the best on top
    },
  };
}

// The colour at `share` of a scale's stops.
function between(stops, share) {
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const at = Math.min(Math.floor(place), stops.length - 2);
  const part = (stop, from) => parseInt(stops[stop][1].slice(from, from + 2), 16);
  const parts = [1, 3, 5].map((from) => {
    const [left, right] = [part(at, from), part(at + 1, from)];
    return Math.round(left + (right - left) * (place - at));
  });
  return `rgb(${parts.join(",")})`;
}
