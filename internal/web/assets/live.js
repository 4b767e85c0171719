// Keeps the page as it is on the server: each fragment that changed is sent
// whole. Without this script the page reloads itself.
"use strict";
(() => {
  let ahead = 0; // the server's clock before ours, in ms
  let last = "";

  const brief = (s) =>
    s < 60 ? `${s}s` :
    s < 3600 ? `${Math.floor(s / 60)}m` :
    s < 86400 ? `${Math.floor(s / 3600)}h${Math.floor(s / 60) % 60}m` :
    `${Math.floor(s / 86400)}d${Math.floor(s / 3600) % 24}h`;

  const ages = () => {
    for (const e of document.querySelectorAll("time.age")) {
      const s = (Date.now() + ahead - Date.parse(e.dateTime)) / 1000;
      const text = brief(Math.max(0, Math.floor(s)));
      if (e.textContent !== text) e.textContent = text;
    }
  };

  const source = new EventSource("stream");
  source.onopen = () => {
    document.body.classList.add("live");
    document.body.classList.remove("stale");
    document.getElementById("lost").hidden = true;
  };
  source.onerror = () => {
    document.body.classList.remove("live");
    document.body.classList.add("stale");
    document.getElementById("lost-at").textContent = last;
    document.getElementById("lost").hidden = false;
    if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
  };
  source.addEventListener("part", (m) => {
    const part = JSON.parse(m.data);
    document.getElementById(part.id).innerHTML = part.html;
    if (part.title) document.title = part.title;
    if (part.id === "clock") {
      const time = document.querySelector("#clock time");
      ahead = Date.parse(time.dateTime) - Date.now();
      last = time.textContent;
    }
    ages();
  });
  setInterval(ages, 1000);
})();
