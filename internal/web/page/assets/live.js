// Keeps the page as it is on the server: each part that changed is sent whole. When nothing
// comes for three seconds, it says so, and goes to the page of another controller that
// answers. Without this script the page reloads itself.
"use strict";
(() => {
  const silence = 3000; // ms without a word, after which the controller counts as lost
  const answerTime = 2000; // ms in which another controller's page has to answer
  const self = document.body.dataset.self;
  const $ = (id) => document.getElementById(id);

  let source = null;
  let ahead = 0; // the server's clock before ours, in ms
  let word = performance.now(); // when something came last
  let told = $("clock").textContent; // the server's clock then
  let lost = false;

  const brief = (s) =>
    s < 60 ? `${s}s` :
    s < 3600 ? `${Math.floor(s / 60)}m` :
    s < 86400 ? `${Math.floor(s / 3600)}h${Math.floor(s / 60) % 60}m` :
    `${Math.floor(s / 86400)}d${Math.floor(s / 3600) % 24}h`;

  // Ages are counted on here, as long as what is shown is so.
  const ages = () => {
    if (lost) return;
    for (const e of document.querySelectorAll("time.age")) {
      const s = (Date.now() + ahead - Date.parse(e.dateTime)) / 1000;
      const text = brief(Math.max(0, Math.floor(s)));
      if (e.textContent !== text) e.textContent = text;
    }
  };

  // A part is replaced, and what the reader had opened or stood on stays so.
  const fill = (part, html) => {
    const open = [...part.querySelectorAll("details[open]")].map((d) => d.id);
    const at = part.contains(document.activeElement) ? place(document.activeElement) : "";
    part.innerHTML = html;
    for (const id of open) if (id && $(id)) $(id).open = true;
    if (at) part.querySelector(at)?.focus({ preventScroll: true });
  };
  const place = (e) =>
    e.matches("summary") && e.parentElement.id ? `#${CSS.escape(e.parentElement.id)} > summary` :
    e.matches("a[href]") ? `a[href="${CSS.escape(e.getAttribute("href"))}"]` : "";

  const heard = () => {
    word = performance.now();
    document.body.classList.add("live");
    if (!lost) return;
    lost = false;
    document.body.classList.remove("stale");
    $("lost").hidden = true;
    $("lost-why").textContent = $("lost-now").textContent = "";
  };

  const listen = () => {
    if (source) source.close();
    source = new EventSource("stream");
    source.addEventListener("beat", heard);
    source.addEventListener("part", (m) => {
      const part = JSON.parse(m.data);
      const into = $(part.id);
      heard();
      if (into) fill(into, part.html);
      if (part.title) document.title = part.title;
      if (part.id === "clock") {
        const time = document.querySelector("#clock time");
        ahead = Date.parse(time.dateTime) - Date.now();
        told = time.textContent;
      }
      ages();
    });
  };

  const others = () => {
    const all = [...document.querySelectorAll("a[data-controller]")].map((a) => ({ name: a.dataset.controller, url: a.href }));
    return all.filter((o, i) => o.name !== self && all.findIndex((p) => p.name === o.name) === i);
  };

  // An image is all that another controller's page lets us have of it.
  const answers = (url) => new Promise((resolve) => {
    const image = new Image();
    const end = setTimeout(() => { image.src = ""; resolve(false); }, answerTime);
    const say = (yes) => { clearTimeout(end); resolve(yes); };
    image.onload = () => say(true);
    image.onerror = () => say(false);
    image.src = `${url}assets/icon.svg?${Date.now()}`;
  });
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  const fallSilent = async () => {
    lost = true;
    document.body.classList.remove("live");
    document.body.classList.add("stale");
    $("lost").hidden = false;
    $("lost-why").textContent = `No word from ${self} since ${told}: this is what was known then.`;
    while (lost) {
      listen(); // what was open may be silent for ever
      for (const o of others()) {
        $("lost-now").textContent = `Trying ${o.name}…`;
        const there = await answers(o.url);
        if (!lost) return;
        if (there) {
          location.replace(`${o.url}#from=${encodeURIComponent(self)}&since=${encodeURIComponent(told)}`);
          return;
        }
      }
      $("lost-now").textContent = `Trying ${self} again…`;
      await pause(answerTime);
    }
  };

  // Who comes from a page that fell silent is told so, and when that one answers again.
  const arrive = async () => {
    const from = new URLSearchParams(location.hash.slice(1));
    const origin = others().find((o) => o.name === from.get("from"));
    if (!origin) return;
    history.replaceState(null, "", location.pathname);
    const since = /^\d\d:\d\d:\d\d UTC$/.test(from.get("since")) ? ` since ${from.get("since")}` : "";
    $("came").hidden = false;
    $("came-why").textContent = `No word from ${origin.name}${since}: this is the view of ${self}.`;
    do await pause(5000); while (!(await answers(origin.url)));
    $("came-back").href = origin.url;
    $("came-back").textContent = `${origin.name} answers again: go back`;
  };

  let looked = performance.now();
  setInterval(() => {
    const now = performance.now();
    if (now - looked > 2000) word = Math.max(word, now - 1000); // it was this browser that slept
    looked = now;
    if (!lost && now - word > silence) fallSilent();
    ages();
  }, 250);
  listen();
  arrive();
})();
