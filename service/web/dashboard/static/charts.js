// Draws each [data-chart] with uPlot: {at: [seconds], series: [{label, values}]}, in the page's colours.
const charts = new Map();

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function draw(place) {
  charts.get(place)?.destroy();
  const {at, series} = JSON.parse(place.dataset.chart);
  const axis = {stroke: colour('--quiet'), grid: {stroke: colour('--line'), width: 1}, ticks: {show: false}, font: '12px system-ui'};
  const lines = series.map(({label}, n) => ({
    label, stroke: colour(`--chart-${n + 1}`), width: 2, points: {show: false},
    fill: n ? undefined : `color-mix(in srgb, ${colour('--chart-1')} 14%, transparent)`,
  }));
  const options = {
    width: place.clientWidth, height: 240, legend: {show: false}, padding: [12, 8, 0, 0],
    cursor: {points: {size: 7}, drag: {x: false, y: false}}, plugins: [readout(series)],
    scales: {y: {range: (_, low, high) => [0, Math.max(high * 1.08, 4)]}},
    axes: [{...axis, size: 34, space: 70, values: moments}, {...axis, size: 52, values: (_, values) => values.map((one) => one % 1 ? '' : one.toLocaleString('en'))}],
    series: [{}, ...lines],
  };
  charts.set(place, new uPlot(options, [at, ...series.map((one) => one.values)], place));
}

// The marks of the axis of time: the hour, and the day where one begins.
function moments(plot, splits, axis, space, step) {
  const day = new Intl.DateTimeFormat('en-GB', {day: 'numeric', month: 'short'});
  const month = new Intl.DateTimeFormat('en-GB', {month: 'short', year: 'numeric'});
  const hour = new Intl.DateTimeFormat('en-GB', {hour: '2-digit', minute: '2-digit'});
  return splits.map((seconds) => {
    const at = new Date(seconds * 1000);
    if (step >= 28 * 86400) return month.format(at);
    return (step >= 86400 || !at.getHours() ? day : hour).format(at);
  });
}

// What the pointer is at, in words.
function readout(series) {
  const box = Object.assign(document.createElement('p'), {className: 'readout', hidden: true});
  const form = new Intl.DateTimeFormat('en-GB', {day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit'});
  return {hooks: {
    init: (plot) => plot.root.append(box),
    setCursor: (plot) => {
      const {idx} = plot.cursor;
      box.hidden = idx === null || idx === undefined;
      if (box.hidden) return;
      const values = series.map((one) => `${one.label} ${one.values[idx].toLocaleString('en')}`);
      box.textContent = [form.format(new Date(plot.data[0][idx] * 1000)), ...values].join(' · ');
    },
  }};
}

const all = () => document.querySelectorAll('[data-chart]').forEach(draw);
all();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', all);
const resized = new ResizeObserver((entries) => {
  for (const {target} of entries) charts.get(target)?.setSize({width: target.clientWidth, height: 240});
});
document.querySelectorAll('[data-chart]').forEach((one) => resized.observe(one));
