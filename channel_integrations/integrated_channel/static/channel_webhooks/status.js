// SPDX-License-Identifier: AGPL-3.0-or-later
// Draws the status page's charts from the numbers in #status-charts. Without this script, each chart's table says it all.
"use strict";

(() => {
  const page = document.querySelector(".status-page");
  const data = JSON.parse(document.getElementById("status-charts").textContent);
  const drawn = [];

  function color(name) {
    return getComputedStyle(page).getPropertyValue(name).trim();
  }

  function axis(chart, isValue) {
    const text = color("--body-quiet-color");
    return {
      stacked: Boolean(chart.stacked),
      grid: { display: isValue, color: color("--hairline-color") },
      title: { display: isValue, text: chart.unit, color: text },
      ticks: { color: text, ...(isValue && chart.whole ? { precision: 0 } : {}) },
    };
  }

  function options(chart) {
    const [labels, values] = chart.horizontal ? ["y", "x"] : ["x", "y"];
    return {
      // Nothing moves, whoever looks: a figure that changes is loaded with the page.
      animation: false,
      indexAxis: labels,
      locale: document.documentElement.lang || undefined,
      maintainAspectRatio: false,
      plugins: { legend: { labels: { color: color("--body-fg") } } },
      scales: { [labels]: axis(chart, false), [values]: { ...axis(chart, true), beginAtZero: true } },
    };
  }

  function draw() {
    while (drawn.length) drawn.pop().destroy();
    for (const [id, chart] of Object.entries(data)) {
      const canvas = document.getElementById(id);
      canvas.closest("figure").hidden = false;
      const datasets = chart.series.map((series) => ({
        label: series.label,
        data: series.values,
        backgroundColor: color(`--status-${series.color}`),
      }));
      drawn.push(new Chart(canvas, { type: "bar", data: { labels: chart.labels, datasets }, options: options(chart) }));
    }
  }

  if (!window.Chart) return;
  draw();
  // The colours are read when a chart is drawn; the admin's switch and the system's change them.
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
