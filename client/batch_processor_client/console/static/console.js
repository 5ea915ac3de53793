"use strict";
// Everything from the server is put into the page as text, never as markup.

const problem = document.getElementById("problem");
let shownProblem = "";

function say(text) {
  if (text === shownProblem) return;
  shownProblem = text;
  problem.replaceChildren();
  if (!text) return;
  const line = document.createElement("p");
  line.className = "notice bad";
  line.textContent = text;
  problem.append(line);
}

function follow(section) {
  const bar = section.querySelector("[data-bar]");
  const charts = section.querySelector(".charts"); // a job has none
  const samples = charts ? JSON.parse(charts.dataset.history) : [];
  const every = 1000 * (section.dataset.every || 1);
  let pause = every;
  let waited = false;

  function show(progress) {
    for (const [name, text] of Object.entries(progress.texts)) {
      const place = section.querySelector(`[data-text="${name}"]`);
      if (place && place.textContent !== text) place.textContent = text;
    }
    bar.max = Math.max(1, progress.total || 1);
    bar.value = progress.done;
    samples.push([progress.rate, progress.in_flight, progress.failed]);
    draw();
  }

  // Each line has its own scale, from 0 to its highest value. The places are fixed: nothing moves when a number grows.
  function draw() {
    if (!charts) return;
    if (samples.length > 300) samples.splice(0, samples.length - 300);
    ["rate", "in_flight", "failed"].forEach((name, i) => {
      const values = samples.map((sample) => sample[i] || 0);
      const most = Math.max(...values, 0);
      const step = 300 / Math.max(values.length - 1, 1);
      const points = values.map((value, at) => `${(at * step).toFixed(1)},${(60 - 54 * value / (most || 1)).toFixed(1)}`);
      charts.querySelector(`[data-chart="${name}"] polyline`).setAttribute("points", points.join(" "));
      charts.querySelector(`[data-most="${name}"]`).textContent = most ? `most ${most.toLocaleString("en", { maximumFractionDigits: 1 })}` : "";
    });
  }
  draw();

  async function look() {
    const slow = setTimeout(() => say("AWS answers slowly. The counts are those of the last answer; this page goes on asking."), 4000);
    try {
      const answer = await fetch(section.dataset.follow, { headers: { Accept: "application/json" } });
      if (answer.status === 403) throw new Error("This console was started again. Open the address that its terminal shows.");
      if (!answer.headers.get("content-type").includes("json")) throw new Error("The console failed. Its terminal has the details.");
      const found = await answer.json();
      if (found.problem) throw new Error(found.problem);
      say("");
      pause = every;
      show(found);
      // The page of an ended or waiting run has other parts. What is being typed is not taken away.
      const typing = [...document.querySelectorAll("input:not([type=hidden]), textarea")].some((field) => field.value !== field.defaultValue);
      if (found.ended || (found.waits && !waited)) {
        waited = found.waits;
        if (!typing && (found.ended || !document.querySelector(".ask"))) { location.replace(location.pathname); return; }
        if (found.ended) return;
      }
    } catch (failure) {
      say(failure instanceof TypeError ? "The console does not answer. Is it still running in its terminal?" : failure.message);
      pause = Math.min(pause * 2, 15000);
    } finally {
      clearTimeout(slow);
    }
    setTimeout(look, document.hidden ? Math.max(pause, 5000) : pause);
  }
  setTimeout(look, pause);
}

document.querySelectorAll("[data-follow]").forEach(follow);

// One click sends a form once; the page says that it waits.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post" || event.defaultPrevented) return;
  const button = event.submitter;
  setTimeout(() => {
    event.target.querySelectorAll("button").forEach((one) => { one.disabled = true; });
    if (button) button.textContent = "Asking AWS …";
  });
});
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
