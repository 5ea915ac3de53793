"use strict";
// Makes a document together with the server: each change is sent there, and the parts of the page come back as markup
// in which the server has escaped everything that is not its own. What was not answered is kept and sent again.

for (const root of document.querySelectorAll("[data-draft]")) draft(root);

function draft(root) {
  const path = root.dataset.draft;
  const area = root.querySelector("[data-document]");
  const name = root.querySelector("[data-run-name]");
  const toast = document.querySelector("[data-toast]");
  const kept = "draft " + path;
  let shown = {};
  const waiting = [];
  let tried = "";
  let planned = "";
  let busy = false;
  let pause = 2000;
  let again = 0;

  function tell(text, retry) {
    toast.replaceChildren();
    if (!text) return;
    const line = document.createElement("p");
    line.textContent = text;
    toast.append(line);
    const button = document.createElement("button");
    button.textContent = retry ? "Try again" : "Close";
    button.addEventListener("click", () => { tell(""); if (retry) retry(); });
    toast.append(button);
  }

  async function ask(action, body) {
    let answer;
    try {
      answer = await fetch(path + "/" + action, {
        method: "POST",
        headers: { "X-Form-Token": root.dataset.token },
        body: JSON.stringify(body),
      });
    } catch {
      throw new Error("The console does not answer. Is it still running in its terminal?");
    }
    if (answer.status === 403) throw new Error("This console was started again. Open the address that its terminal shows; what you typed stays in this page.");
    if (!(answer.headers.get("content-type") || "").includes("json")) throw new Error("The console failed. Its terminal has the details.");
    const found = await answer.json();
    if (found.problem) throw Object.assign(new Error(found.problem), { wrong: answer.status < 500 });
    return found;
  }

  function show(parts) {
    for (const [part, markup] of Object.entries(parts)) {
      if (shown[part] === markup) continue;
      shown[part] = markup;
      const place = root.querySelector(`[data-part="${part}"]`);
      const active = place.contains(document.activeElement) ? document.activeElement : null;
      const typed = [...place.querySelectorAll("input, select, textarea")].filter((one) => one.id && isTyped(one));
      const opened = [...place.querySelectorAll("details")].map((one) => one.open);
      place.innerHTML = markup;
      place.querySelectorAll("details").forEach((one, i) => { if (i < opened.length) one.open = opened[i]; });
      for (const one of typed) carry(one, document.getElementById(one.id));
      const same = active && active.id && document.getElementById(active.id);
      if (same) same.focus({ preventScroll: true });
    }
  }

  const valueOf = (field) => field.type === "checkbox" ? String(field.checked) : field.value;

  // Whether a field has what no answer can have yet: no change was sent for it, or its change still waits.
  function isTyped(field) {
    if (waiting.some((one) => one.field === field.id)) return true;
    if (field.dataset.change) return field === document.activeElement && field.tagName === "INPUT" && field.dataset.sent !== valueOf(field);
    if (field.tagName !== "SELECT") return field.value !== field.defaultValue;
    return field.selectedIndex !== Math.max(0, [...field.options].findIndex((one) => one.defaultSelected));
  }

  function carry(from, to) {
    if (!to || (to.tagName === "SELECT" && ![...to.options].some((one) => one.value === from.value))) return;
    if (to.type === "checkbox") to.checked = from.checked;
    else to.value = from.value;
    if ("sent" in from.dataset) to.dataset.sent = from.dataset.sent;
  }

  function keep() {
    try {
      sessionStorage.setItem(kept, JSON.stringify({ document: area.value, name: name ? name.value : "", tried }));
    } catch { /* the page works without it */ }
  }

  function take(found, sent) {
    if (found.document !== undefined && area.value === sent) area.value = found.document;
    if (found.tried !== undefined) tried = found.tried;
    if (found.parts) show(found.parts);
    if (planned && planned !== area.value) { planned = ""; show({ plan: "" }); }
    keep();
  }

  // Changes wait for each other: each is one of the document that the change before it gave.
  async function pump() {
    clearTimeout(again);
    if (busy) return;
    busy = true;
    root.setAttribute("aria-busy", "true");
    const slow = setTimeout(() => tell("AWS answers slowly. What you typed stays here."), 4000);
    try {
      while (waiting.length) {
        const sent = area.value;
        const { field, back, said, then, ...asked } = waiting[0];
        const found = await ask("look", { document: sent, tried, row: row(), ...asked });
        if (area.value !== sent && asked.change) continue; // it was edited by hand meanwhile
        waiting.shift();
        take(found, sent);
        goTo(then);
        tell(said || "");
        pause = 2000;
      }
    } catch (failure) {
      if (failure.wrong) refuse(waiting.shift(), failure.message);
      else { again = setTimeout(pump, pause); pause = Math.min(pause * 2, 30000); }
      tell(failure.message, failure.wrong ? null : pump);
      if (failure.wrong && waiting.length) again = setTimeout(pump, 0);
    } finally {
      clearTimeout(slow);
      busy = false;
      root.removeAttribute("aria-busy");
    }
  }

  // A field of a refused change has what the document does not say, so all parts are shown again.
  function refuse(refused, message) {
    if (!refused.change) return;
    if (refused.back) refused.back();
    shown = {};
    if (!waiting.length) waiting.push({ said: message });
  }

  function row() {
    const chosen = root.querySelector("[data-row]");
    return chosen ? chosen.value : "";
  }

  // A change that is asked for: `field` is the id of its field, `back` puts back what was typed if it is refused, `then`
  // is the id of the button that has the focus after it.
  function change(kind, given, { field, back, then } = {}) {
    waiting.push({ change: kind, given, field, back, then });
    pump();
  }

  // The keyboard stays with a column that it moves. The button of the last place cannot be used: the other one then can.
  function goTo(id) {
    const button = id && document.getElementById(id);
    if (!button) return;
    const other = button.parentElement.querySelector("button:not([disabled])");
    (button.disabled ? other || button : button).focus();
  }

  // Empties fields, and gives a function that fills those that are empty again.
  function emptied(...fields) {
    const typed = fields.map((one) => [one.id, one.value]);
    for (const one of fields) one.value = "";
    return () => {
      for (const [id, value] of typed) { const one = document.getElementById(id); if (one && !one.value) one.value = value; }
    };
  }

  async function post(button, action) {
    const text = button.textContent;
    button.disabled = true;
    button.textContent = "Asking AWS …";
    tell("");
    try {
      const sent = area.value;
      const found = await ask(action, { document: sent, name: name ? name.value : "", row: row(), tried });
      if (found.location) { sessionStorage.removeItem(kept); location.assign(found.location); return; }
      if (action === "estimate") planned = sent;
      take(found, sent);
    } catch (failure) {
      tell(failure.message, failure.wrong ? null : () => post(button, action));
    }
    button.disabled = false;
    button.textContent = text;
  }

  // A file goes to the console first, then from there to S3. Only a request of this kind says how far it is.
  let uploading = null;
  function upload(file) {
    if (uploading) uploading.abort();
    const line = root.querySelector("[data-uploading]");
    const bar = root.querySelector("[data-upload-bar]");
    const request = uploading = new XMLHttpRequest();
    const found = () => JSON.parse(request.responseText.trim().split("\n").pop() || "{}");
    function shown(what, bytes) {
      bar.max = file.size || 1;
      bar.value = bytes;
      line.textContent = `${what} ${file.name}: ${Math.floor(100 * bytes / (file.size || 1))} %`;
    }
    function end(text, message, again) {
      if (uploading !== request) return;
      uploading = null;
      busyWith(false);
      line.textContent = text;
      if (message) tell(message, again ? () => upload(file) : null);
    }
    function busyWith(is) { for (const one of [bar, root.querySelector("[data-upload-cancel]")]) one.hidden = !is; }
    request.upload.onprogress = (event) => shown("Reading", event.loaded);
    request.onprogress = () => {
      const lines = request.responseText.split("\n");
      if (lines.length > 1 && lines.at(-2).includes('"sent"')) shown("Uploading", JSON.parse(lines.at(-2)).sent);
    };
    request.onabort = () => end(`${file.name} is not uploaded: you cancelled it.`);
    request.onerror = () => end(`${file.name} is not uploaded.`, "The console does not answer. Is it still running in its terminal?", true);
    request.onload = () => {
      let answer = {};
      try { answer = found(); } catch { /* it is no answer of ours */ }
      if (!answer.uri) { end(`${file.name} is not uploaded.`, answer.problem || "The console failed. Its terminal has the details.", true); return; }
      end(`${file.name} is uploaded.`);
      change("set", { path: "csv_s3_uri", value: answer.uri });
    };
    request.open("POST", path + "/file");
    request.setRequestHeader("X-Form-Token", root.dataset.token);
    request.setRequestHeader("X-File-Name", encodeURIComponent(file.name));
    request.setRequestHeader("Content-Type", "application/octet-stream");
    tell("");
    busyWith(true);
    shown("Reading", 0);
    request.send(file);
  }

  root.addEventListener("change", (event) => {
    const field = event.target;
    if (field.matches("[data-file]")) { if (field.files[0]) upload(field.files[0]); field.value = ""; return; }
    if (field === area || "look" in field.dataset) { waiting.push({}); pump(); return; }
    if (field === name) { keep(); return; }
    if (!field.dataset.change) return;
    const value = valueOf(field);
    field.dataset.sent = value;
    change(field.dataset.change, { ...field.dataset, value }, { field: field.id });
  });

  let typing = 0;
  area.addEventListener("input", () => {
    keep();
    clearTimeout(typing);
    typing = setTimeout(() => { waiting.push({}); pump(); }, 800);
  });

  root.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.change) change(button.dataset.change, { ...button.dataset }, { then: button.dataset.then });
    else if (button.dataset.post) post(button, button.dataset.post);
    else if ("copy" in button.dataset) copy(button);
    else if ("uploadCancel" in button.dataset) { if (uploading) uploading.abort(); }
    else if ("addField" in button.dataset) {
      const field = root.querySelector("[data-new-name]");
      const column = root.querySelector("[data-new-column]");
      if (!field.value.trim() || !column.value) { tell("Write the name of the field, and choose its column."); return; }
      change("map", { field: field.value, value: column.value }, { back: emptied(field, column) });
    } else if ("addPath" in button.dataset) {
      const field = root.querySelector("[data-new-path]");
      change("add_column", { value: field.value }, { back: emptied(field) });
    }
  });

  async function copy(button) {
    try { await navigator.clipboard.writeText(area.value); } catch { area.select(); document.execCommand("copy"); }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  // Columns of the file are dragged to fields, columns of the output to another place, and files to the page.
  let column = null;
  let moved = null;
  root.addEventListener("dragstart", (event) => {
    if (!event.target.closest) return;
    column = event.target.closest("[data-column]");
    moved = event.target.closest("[data-move]");
    if (column) event.dataTransfer.setData("text/plain", column.dataset.column);
    if (moved) event.dataTransfer.setData("text/plain", moved.dataset.move);
  });
  root.addEventListener("dragend", () => { column = moved = null; });
  function dropPlace(event) {
    if (column) return event.target.closest("[data-drop]");
    if (moved) return event.target.closest("[data-place]");
    return [...event.dataTransfer.types].includes("Files") ? root.querySelector("[data-drop-file]") : null;
  }
  root.addEventListener("dragover", (event) => {
    const place = dropPlace(event);
    root.querySelectorAll(".over").forEach((one) => { if (one !== place) one.classList.remove("over"); });
    if (!place) return;
    event.preventDefault();
    place.classList.add("over");
  });
  root.addEventListener("drop", (event) => {
    const place = dropPlace(event);
    if (!place) return;
    event.preventDefault();
    place.classList.remove("over");
    if (column) change("map", { field: place.dataset.drop, value: column.dataset.column });
    else if (moved) change("move_column", { value: moved.dataset.move, to: place.dataset.place });
    else if (event.dataTransfer.files[0]) upload(event.dataTransfer.files[0]);
  });

  // What was typed before is there again after the page is loaded again.
  let before = null;
  try { before = JSON.parse(sessionStorage.getItem(kept)); } catch { /* it is not ours */ }
  if (before && !location.search && before.document) {
    area.value = before.document;
    if (name && before.name) name.value = before.name;
    tried = before.tried || "";
  }
  if ((before && !location.search) || !root.querySelector('[data-part="problems"]').textContent.trim()) { waiting.push({}); pump(); }
}
