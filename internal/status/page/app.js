// The status page of byway. It is told a snapshot each second, and draws it. All text comes in as
// text: nothing that a hop or a file says is taken for markup.

const $ = (id) => document.getElementById(id);

function el(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props)) {
    if (k === "class") e.className = v;
    else if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else if (v !== undefined) e.setAttribute(k, v);
  }
  e.append(...children.filter((c) => c !== undefined && c !== ""));
  return e;
}

function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  while (n >= 1000 && i < units.length - 1) { n /= 1000; i++; }
  return [i === 0 ? String(Math.round(n)) : n.toPrecision(3), units[i]];
}

function span(seconds) {
  const d = Math.floor(seconds / 86400), h = Math.floor(seconds / 3600) % 24, m = Math.floor(seconds / 60) % 60;
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${m} min`;
  if (m) return `${m} min`;
  return `${seconds} s`;
}

const count = (n) => n.toLocaleString("en-US");

// Totals.

function total(id, value, unit) {
  $(id).replaceChildren(value, unit ? el("small", {}, " " + unit) : "");
}

// Plots: one value a second, 300 of them.

const seconds = 300;
let history = [];

// plot draws values, and bad ones over them, and tells the last one and the peak in words of say.
function plot(id, values, say, bad = []) {
  const svg = $("p" + id), ns = "http://www.w3.org/2000/svg";
  const peak = Math.max(0, ...values), top = Math.max(peak, ...bad) || 1;
  const x = (i) => seconds - values.length + i + 1, y = (v) => 58 - 54 * v / top;
  const draw = (all) => all.map((v, i) => `${i ? "L" : "M"}${x(i)} ${y(v).toFixed(2)}`).join("");
  const curve = draw(values);
  const part = (tag, attributes) => {
    const e = document.createElementNS(ns, tag);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    return e;
  };
  svg.replaceChildren(
    part("line", { x1: 0, x2: seconds, y1: 58, y2: 58 }),
    part("path", { class: "area", d: values.length ? `${curve}L${seconds} 58L${x(0)} 58Z` : "" }),
    part("path", { class: "curve", d: curve }),
    ...(bad.some((v) => v > 0) ? [part("path", { class: "curve bad", d: draw(bad) })] : []),
  );
  $("r" + id).textContent = `${say(values.at(-1) ?? 0)}, peak ${say(peak)}`;
}

// Chains, as paths. They are drawn anew when something other than numbers has changed, so that the
// focus stays where it is; the numbers are put in.

let shape = "";

function hopBox(h) {
  if (h.within) {
    const members = el("div", { class: "members" }, ...h.within.map(hopBox));
    return el("div", { class: "group" }, el("div", { class: "fact" }, `${h.name}: ${h.kind}${h.how ? ", " + h.how : ""}`), members);
  }
  const facts = el("div", { class: "fact" });
  const box = el("div", { class: "hop", "data-hop": h.name },
    el("div", { class: "name" }, el("span", {}, h.name),
      el("button", {
        type: "button", "aria-pressed": String(!!h.paused), "aria-label": (h.paused ? "Resume " : "Pause ") + h.name,
        title: h.paused ? "Let tunnels go through it again" : "Open no more tunnels through it",
        onclick: () => act(h.paused ? "resume" : "pause", h.name),
      }, h.paused ? "Resume" : "Pause")),
    facts);
  if (h.paused) box.classList.add("paused");
  if (!h.alive) {
    box.classList.add("dead");
    box.append(el("div", { class: "fact why" }, h.error ?? ""));
  }
  return box;
}

function wayBox(w) {
  const head = el("div", { class: "head" }, el("h3", {}, w.name), el("span", { class: "sum" }));
  const box = el("article", { class: "way", "aria-label": "Chain " + w.name, "data-way": w.name }, head);
  if (w.hops) {
    head.append(el("button", { type: "button", onclick: (e) => probe(w.name, e.target) }, "Probe"));
    box.append(el("ol", { class: "path" },
      el("li", {}, el("span", { class: "end" }, "apps\u2002")),
      ...w.hops.map((h) => el("li", {}, hopBox(h))),
      el("li", {}, el("span", { class: "end" }, "\u2002targets"))));
  }
  return box;
}

function shapeOf(h) {
  return [h.name, h.kind, h.how, h.paused, h.alive, h.error, (h.within ?? []).map(shapeOf)];
}

function eachHop(hops, f) {
  for (const h of hops ?? []) h.within ? eachHop(h.within, f) : f(h);
}

function drawWays(ways) {
  const now = JSON.stringify(ways.map((w) => [w.name, (w.hops ?? []).map(shapeOf)]));
  if (now !== shape) {
    shape = now;
    const focused = document.activeElement?.getAttribute("aria-label");
    $("chains").replaceChildren(...ways.map(wayBox));
    if (focused) document.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
  }
  for (const w of ways) {
    const box = document.querySelector(`[data-way="${CSS.escape(w.name)}"]`);
    const said = [`${count(w.total.open)} open`, `${count(w.total.opened)} opened`];
    if (w.total.failed) said.push(`${count(w.total.failed)} failed`);
    said.push(`${bytes(w.total.down).join(" ")} down`, `${bytes(w.total.up).join(" ")} up`);
    if (w.spares) said.push(`${w.spares} ready`);
    if (w.sessions) said.push(`${w.sessions} ${w.sessions === 1 ? "session" : "sessions"}`);
    box.querySelector(".sum").textContent = said.join(" · ");
    eachHop(w.hops, (h) => {
      const hop = box.querySelector(`[data-hop="${CSS.escape(h.name)}"] .fact`);
      const facts = [h.kind];
      if (h.latency) facts.push(`${h.latency.toPrecision(3)} ms`);
      if (h.judged) facts.push(`${h.live ?? 0} open`);
      if (h.paused) facts.push("paused");
      else if (!h.alive) facts.push("down, next try " + clock(h.retry));
      if (hop) hop.textContent = facts.join(" · ");
    });
  }
}

const clock = (at) => new Date(at).toLocaleTimeString([], { hour12: false });

// Failures.

let failed = "";

function drawFailures(all) {
  const now = JSON.stringify(all);
  if (now === failed) return;
  failed = now;
  $("none").hidden = all.length > 0;
  $("failures").hidden = all.length === 0;
  $("failures").tBodies[0].replaceChildren(...all.map((f) => el("tr", {},
    el("td", {}, el("time", { datetime: f.at }, clock(f.at))), el("td", {}, f.via), el("td", {}, f.hop ?? "–"),
    el("td", {}, f.phase || "–"), el("td", {}, f.text))));
}

function draw(s) {
  $("state").textContent = `up for ${span(s.uptime)}`;
  $("state").className = "";
  total("open", count(s.total.open));
  total("opened", count(s.total.opened));
  total("failed", count(s.total.failed));
  total("down", ...bytes(s.total.down));
  total("up", ...bytes(s.total.up));
  const told = s.history ?? [];
  history = told.length > 1 ? told : history.concat(told);
  history = history.slice(-seconds);
  const rate = (n) => bytes(n).join(" ") + "/s";
  plot("down", history.map((h) => h.down), rate);
  plot("up", history.map((h) => h.up), rate);
  plot("tunnels", history.map((h) => h.opened), (n) => `${n}/s`, history.map((h) => h.failed));
  let took = 0; // while none is opened, as it was
  plot("took", history.map((h) => took = h.opened ? h.micros / h.opened / 1000 : took), (ms) => ms ? `${ms.toPrecision(3)} ms` : "–");
  drawWays(s.ways ?? []);
  drawFailures(s.failures ?? []);
}

// Actions.

async function act(name, arg) {
  const r = await fetch("do/" + name, { method: "POST", body: arg });
  const text = await r.text();
  if (!r.ok) say("That failed", text);
  return r.ok ? text : undefined;
}

async function probe(way, button) {
  button.disabled = true;
  button.textContent = "Probing…";
  const text = await act("probe", way);
  button.disabled = false;
  button.textContent = "Probe";
  if (text !== undefined) say("Probe of " + way, text);
}

function say(title, text) {
  $("dialogtitle").textContent = title;
  $("dialogtext").textContent = text;
  $("dialog").showModal();
}

$("newid").addEventListener("click", async () => {
  const text = await act("newid", "");
  if (text !== undefined) say("New identity", text);
});

// Login: the address that byway prints has the token behind #, which is never sent with a request.

async function login(token) {
  const r = await fetch("login", { method: "POST", body: token });
  return r.ok;
}

$("login").addEventListener("submit", async (e) => {
  e.preventDefault();
  if (await login($("token").value)) return start();
  $("wrong").textContent = "That is not the token.";
});

let source;

async function start() {
  const r = await fetch("snapshot");
  if (r.status === 401) {
    $("login").hidden = false;
    $("main").hidden = $("newid").hidden = true;
    $("state").textContent = "";
    $("token").focus();
    return;
  }
  $("login").hidden = true;
  $("main").hidden = $("newid").hidden = false;
  source?.close();
  source = new EventSource("events");
  source.onmessage = (e) => draw(JSON.parse(e.data));
  source.onerror = () => {
    $("state").textContent = "no connection to byway; trying again";
    $("state").className = "lost";
    if (source.readyState === EventSource.CLOSED) setTimeout(start, 2000);
  };
}

const token = new URLSearchParams(location.hash.slice(1)).get("token");
if (token) {
  window.history.replaceState(null, "", location.pathname);
  await login(token);
}
start();
