// The score that runs are compared by: its numbers, its axis, its range.

const metric = found.metric;

// As the terminal writes them: results/metric.py describes each metric.
const number = (value) => (metric.factor * value).toLocaleString("en-US", {
  minimumFractionDigits: metric.decimals,
  maximumFractionDigits: metric.decimals,
  useGrouping: metric.grouped,
}) + metric.unit;
const share = metric.factor === 100;
const FORMAT = share ? `.${metric.decimals}%` : `.${metric.decimals}f`;
const TICKS = share ? ".0%" : "";
const axis = () => ({ title: { text: plain(metric.name) }, tickformat: TICKS });
const better = (a, b) => metric.minimize ? a - b : b - a;
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const interval = (of) => of.low === null
  ? `${number(of.mean)}, one run`
  : `${number(of.mean)}, ${number(of.low)} to ${number(of.high)}`;

// From the best to the worst score, or to where the worst are so far out that they would press
// all others together: one run that diverged does.
function span(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => sorted[Math.floor(share * (sorted.length - 1))];
  const [low, middle, high] = [sorted[0], at(0.5), sorted.at(-1)];
  return metric.minimize
    ? [low, Math.min(high, middle + 4 * (at(0.9) - middle) || high)]
    : [Math.max(low, middle - 4 * (middle - at(0.1)) || low), high];
}
