"use strict";
// Charts: each reads its columns from its own address, draws them, and looks again while the page is open.
(() => {
  const REFRESH = 30000;
  const drawn = new Map();
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const NAIVE = ["naive-0", "naive-1", "naive-2"];
  const BORDERS = ["dashed", "dotted", "double"];
  const OTHER = ["naive-0", "naive-1", "naive-2"];
  const DASHES = [[6, 4], [2, 3], [8, 3, 2, 3]];

  const shown = (value, share) => {
    if (value === null || value === undefined) return "–";
    if (share) return `${(value * 100).toFixed(1)} %`;
    const size = Math.abs(value);
    return size >= 1000 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(4)).toString();
  };
  const brief = (value, share) => {
    if (share) return `${Number((value * 100).toPrecision(4))}%`;
    const size = Math.abs(value);
    for (const [unit, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
      if (size >= unit) return `${Number((value / unit).toPrecision(4))}${letter}`;
    }
    return Number(value.toPrecision(4)).toString();
  };
  const two = (number) => String(number).padStart(2, "0");
  const clock = (seconds) => {
    const at = new Date(seconds * 1000);
    return `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())} ${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
  };
  const tick = (seconds, step) => {
    const text = clock(seconds);
    if (step >= 300 * 86400) return text.slice(0, 4);
    if (step < 60) return new Date(seconds * 1000).toISOString().slice(11, 19);
    return step >= 86400 || text.slice(11) === "00:00" ? text.slice(5, 10) : text.slice(11);
  };

  // A label that says the same as the one before it, within a second or a day, is left out.
  const once = (labels) => labels.map((label, at) => (label === labels[at - 1] ? "" : label));

  // Lines across: the nominal one, and events.
  const across = (data) => (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.fillStyle = ctx.strokeStyle = color("muted");
    if (data.nominal) {
      const y = u.valToPos(data.nominal.value, "y", true);
      ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      ctx.setLineDash([]);
      const wide = ctx.measureText(data.nominal.label).width + 8 * devicePixelRatio;
      const high = 15 * devicePixelRatio;
      ctx.fillStyle = color("paper");
      ctx.fillRect(bbox.left + 6, y - high / 2, wide, high);
      ctx.fillStyle = color("ink");
      ctx.textAlign = "left";
      ctx.textBaseline = "middle";
      ctx.fillText(data.nominal.label, bbox.left + 6 + 4 * devicePixelRatio, y);
    }
    for (const mark of data.marks) {
      const x = u.valToPos(mark.x, "x", true);
      if (!(x >= bbox.left && x <= bbox.left + bbox.width)) continue;
      ctx.strokeStyle = ctx.fillStyle = color(mark.kind === "raised" ? "bad" : mark.kind === "promoted" ? "good" : "muted");
      ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.setLineDash([]);
      ctx.beginPath();
      ctx.moveTo(x - 5 * devicePixelRatio, bbox.top);
      ctx.lineTo(x + 5 * devicePixelRatio, bbox.top);
      ctx.lineTo(x, bbox.top + 7 * devicePixelRatio);
      ctx.fill();
    }
    ctx.restore();
  };

  const build = (figure, data) => {
    const plot = figure.querySelector(".plot");
    plot.replaceChildren();
    let naive = 0;
    let other = 0;
    // One of several of our own is solid; where there are such, baselines are grey, and dashed as always.
    const many = data.lines.some((line) => line.role === "other");
    const paint = (line, order, edge) => {
      if (edge) return color("band");
      if (line.role === "other") return color(OTHER[other++ % OTHER.length]);
      if (order >= 0) return many ? color("muted") : color(NAIVE[order]);
      return color(line.role);
    };
    const series = [{ value: (u, x) => (x === null ? "" : data.over === "time" ? clock(x) : shown(x)), label: data.over === "time" ? "time, UTC" : data.name }];
    const bands = [];
    const columns = [data.x];
    const borders = ["solid"];
    let lower = -1;
    for (const line of data.lines) {
      const at = columns.push(line.y) - 1;
      const edge = line.role === "lower" || line.role === "upper";
      if (line.role === "lower") lower = at;
      if (line.role === "upper" && lower > 0) bands.push({ series: [at, lower], fill: color("band") });
      const order = line.role === "naive" ? naive++ % NAIVE.length : -1;
      borders.push(order >= 0 ? BORDERS[order] : "solid");
      series.push({
        label: line.label,
        stroke: paint(line, order, edge),
        dash: order >= 0 ? DASHES[order] : undefined,
        width: edge || (many && order >= 0) ? 1 : 2,
        points: { show: !edge && !(many && order >= 0) && data.x.length < 40, size: 5 },
        value: (u, value, at, place) => (place === null ? "" : shown(value, data.share)),
      });
    }
    const width = Math.max(200, plot.clientWidth);
    const scale = parseFloat(getComputedStyle(document.documentElement).fontSize) / 15;
    const axis = { font: `${12 * scale}px system-ui, sans-serif`, stroke: color("muted"), grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line") } };
    return new uPlot(
      {
        width,
        height: Number(figure.dataset.height) * scale,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
        scales: {
          x: { time: data.over === "time", ...(data.span ? { range: data.span } : {}) },
          y: {
            range: (u, low, high) => {
              if (low === null) return [0, 1];
              if (data.nominal) [low, high] = [Math.min(low, data.nominal.value), Math.max(high, data.nominal.value)];
              if (data.zero) low = Math.min(0, low);
              const room = (high - low || Math.abs(high) || 1) * 0.06;
              return [data.zero && low === 0 ? 0 : low - room, data.share && high <= 1 ? Math.min(1.02, high + room) : high + room];
            },
          },
        },
        axes: [
          { ...axis, space: 64 * scale, size: 50 * scale, values: data.over === "time" ? (u, ticks, axis, space, step) => once(ticks.map((x) => tick(x, step))) : undefined },
          { ...axis, space: 30 * scale, size: 58 * scale, values: (u, ticks) => ticks.map((y) => brief(y, data.share)) },
        ],
        cursor: { y: false, points: { size: 7 } },
        legend: { live: true, markers: { dash: (u, place) => borders[place] } },
        series,
        bands,
        hooks: { draw: [across(data)] },
      },
      columns,
      plot,
    );
  };

  const draw = (figure, data) => {
    const known = drawn.get(figure);
    if (known) known.chart.destroy();
    const bare = !data.x.length;
    figure.classList.toggle("bare", bare);
    figure.querySelector(".unit").textContent = data.unit && !bare ? `in ${data.unit}` : "";
    figure.querySelector(".title").textContent = data.title;
    if (bare) {
      figure.querySelector(".plot").textContent = "Nothing to show yet.";
      drawn.delete(figure);
      figure.dataset.ready = "yes";
      return;
    }
    drawn.set(figure, { chart: build(figure, data), data });
    figure.dataset.ready = "yes";
  };

  const read = async (figure) => {
    const said = figure.querySelector(".trouble");
    try {
      const headers = figure.dataset.tag ? { "If-None-Match": figure.dataset.tag } : {};
      const response = await fetch(figure.dataset.chart, { headers, cache: "no-store", credentials: "same-origin" });
      if (response.status === 304) {
        said.textContent = "";
        return;
      }
      if (!response.ok) throw new Error(await response.text());
      draw(figure, await response.json());
      figure.dataset.tag = response.headers.get("ETag") || "";
      said.textContent = "";
    } catch (error) {
      said.textContent = `▲ ${drawn.has(figure) ? "From before" : "Not there"}: ${error.message || error}. Asking again by itself.`;
      clearTimeout(figure.again);
      figure.again = setTimeout(() => read(figure), 5000);
    }
  };

  const all = () => document.querySelectorAll("figure[data-chart]");
  const again = () => drawn.forEach(({ data }, figure) => draw(figure, data));
  let width = innerWidth;
  let waiting = 0;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(again, 150);
  });
  document.addEventListener("headrace:theme", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  all().forEach(read);
  setInterval(() => {
    if (!document.hidden) all().forEach(read);
  }, REFRESH);
})();
