// What every part of every page uses: the data, safe text, the theme, drawing.

const page = document.documentElement;
const found = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

// A fault is shown to the reader, and left where a test can find it.
function fault(message) {
  page.dataset.faults = `${page.dataset.faults || ""}${message}\n`;
  byId("fault").hidden = false;
}
addEventListener("error", (event) => fault(event.message));
addEventListener("unhandledrejection", (event) => fault(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => {
  fault(`${event.violatedDirective}: ${event.blockedURI}`);
});

// plotly reads <b>, <a href> and &entities; in every text that it draws.
function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function short(text, length = 24) {
  const letters = Array.from(String(text));
  return letters.length > length ? `${letters.slice(0, length - 1).join("")}…` : String(text);
}

function element(tag, text = "", name = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = name;
  return made;
}

function fill(select, texts, chosen = 0) {
  select.replaceChildren(...texts.map((text, at) => {
    const option = element("option", text);
    option.value = at;
    return option;
  }));
  select.value = chosen;
}

// Colours. Categories: Okabe and Ito's, which colour-blind readers can tell apart; their yellow,
// sky blue and black are moved towards the middle: 3:1 or more on white and on black.
const CATEGORIES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#3f97cf", "#7f7f7f"];
const DARK_CATEGORIES = [
  "#56b4e9", "#f08a3c", "#2fc79c", "#e39bc4", "#e3c34b", "#8aa7ff", "#a0a0a0",
];
const SCALE = ["#dcebea", "#a3d0cf", "#57a6b3", "#1f7095", "#123a66"];
const DARK_SCALE = ["#20303a", "#22536b", "#287e9c", "#57b5c9", "#c5eced"];
const darkness = matchMedia("(prefers-color-scheme: dark)");
const dark = () => darkness.matches && !page.classList.contains("paper");
const ink = (name) => getComputedStyle(page).getPropertyValue(`--${name}`).trim();
const categories = () => dark() ? DARK_CATEGORIES : CATEGORIES;
const stopsOf = (colours) => colours.map((colour, at) => [at / (colours.length - 1), colour]);
// Stops of a colour scale that runs from worse to better.
const scale = () => stopsOf(dark() ? DARK_SCALE : SCALE);

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

// Lines start past the palest part of the scale: at 3:1 or more against what they are drawn on.
const along = (share) => between(scale(), 0.55 + 0.45 * share);

// Black or white, whichever has more contrast with the colour: 4.5:1 or more on any (WCAG 2).
function readable(background) {
  const [red, green, blue] = background.match(/\d+/g).map(Number).map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000000" : "#ffffff";
}

// Drawing: each plot has a task of its own, so that the page answers while it fills.
const plots = new Map();
const waiting = new Set();

function plot(id, build, afterwards = () => {}) {
  if (!byId(id)) return;
  plots.set(id, { build, afterwards });
  redraw(id);
}

function redraw(...ids) {
  if (waiting.size === 0) setTimeout(drawNext);
  for (const id of ids) waiting.add(id);
  delete page.dataset.drawn;
}

function drawNext() {
  const [id] = waiting;
  waiting.delete(id);
  try {
    draw(id);
  } catch (error) {
    fault(`${id}: ${error.message}`);
  }
  if (waiting.size > 0) setTimeout(drawNext);
  else page.dataset.drawn = plots.size;
}

function draw(id) {
  const { build, afterwards } = plots.get(id);
  const { data, layout } = build();
  const first = !byId(id).on; // plotly's, from its first drawing on
  const paper = page.classList.contains("paper");
  const line = { gridcolor: ink("line"), zerolinecolor: ink("line"), linecolor: ink("line") };
  const axes = {};
  for (const name of ["xaxis", "yaxis"]) {
    axes[name] = { ...line, automargin: true, ...layout[name] };
  }
  Plotly.react(byId(id), data, {
    autosize: true,
    height: 380,
    margin: { l: 48, r: 12, t: 10, b: 40 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: ink("text"), size: 13, color: ink("ink") },
    hoverlabel: {
      align: "left", bgcolor: ink("card"), bordercolor: ink("line"),
      font: { family: ink("text"), size: 13, color: ink("ink") },
    },
    hovermode: "closest",
    showlegend: false,
    // A finger that scrolls the page must not draw a box instead.
    dragmode: matchMedia("(hover: none)").matches ? false : "zoom",
    ...layout,
    ...axes,
    width: paper ? Math.min(byId(id).clientWidth, PAPER_WIDE) : undefined,
  }, {
    responsive: true,
    displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg", filename: id },
  });
  if (first) afterwards();
}

darkness.addEventListener("change", () => redraw(...plots.keys()));

// On paper all is light and no wider than a sheet. The printer does not wait: no tasks here.
const PAPER_WIDE = 680;
addEventListener("beforeprint", () => {
  page.classList.add("paper");
  for (const id of plots.keys()) draw(id);
});
addEventListener("afterprint", () => {
  page.classList.remove("paper");
  redraw(...plots.keys());
});
