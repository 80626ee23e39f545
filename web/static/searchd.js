// Comfort only; every page works without it. "/" focuses the box, j/k or arrows move between hits, Enter opens,
// selects submit when changed, a link to the passage can be copied, and the status page follows the work.
// It also tells the daemon which hit was opened and how long its document was looked at (POST /api/events).

const box = document.getElementById("q");
const links = [...document.querySelectorAll("[data-hit] h2 a")];

function typing(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

function step(by) {
  const hit = document.activeElement?.closest?.("[data-hit]");
  const now = hit ? links.findIndex((link) => hit.contains(link)) : -1;
  const next = now < 0 ? (by > 0 ? 0 : -1) : now + by;
  if (next < 0) {
    box?.focus();
    return;
  }
  const link = links[Math.min(next, links.length - 1)];
  link?.focus({ preventScroll: true });
  link?.closest("[data-hit]").scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const inBox = event.target === box;
  if (event.key === "/" && !typing(event.target)) {
    event.preventDefault();
    box?.focus();
    box?.select();
  } else if (event.key === "Escape" && inBox) {
    box.blur();
  } else if (!links.length) {
    return;
  } else if (event.key === "ArrowDown" && (inBox || (!typing(event.target) && event.target.closest?.("[data-hit] h2")))) {
    event.preventDefault();
    step(1);
  } else if (event.key === "ArrowUp" && !typing(event.target) && event.target.closest?.("[data-hit] h2")) {
    event.preventDefault();
    step(-1);
  } else if ((event.key === "j" || event.key === "k") && !typing(event.target)) {
    event.preventDefault();
    step(event.key === "j" ? 1 : -1);
  }
});

for (const select of document.querySelectorAll("select[data-submit]")) {
  select.addEventListener("change", () => {
    if (select.form.elements.q.value.trim() || location.pathname === "/") select.form.requestSubmit();
  });
}

if (links.length) document.querySelector("[data-keys]")?.removeAttribute("hidden");

const copy = document.querySelector("[data-copy]");
if (copy && navigator.clipboard) {
  const words = copy.textContent;
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    const here = new URL(location.href);
    for (const name of [...here.searchParams.keys()]) if (name !== "passage") here.searchParams.delete(name);
    await navigator.clipboard.writeText(here.href);
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = words), 1500);
  });
}

const OPENED = "searchd-opened";

function tell(event) {
  navigator.sendBeacon?.("/api/events", new Blob([JSON.stringify(event)], { type: "application/json" }));
}

function opened(event) {
  if (event.type === "auxclick" && event.button !== 1) return;
  const link = event.target.closest?.("[data-hit] a[href]");
  const hit = link?.closest("[data-hit]");
  const query_id = hit?.closest("[data-query]")?.dataset.query;
  if (!query_id) return;
  const seen = { query_id, document_id: hit.dataset.document, position: Number(hit.dataset.position) };
  tell(seen);
  // Not in the address: a link that is passed on carries nobody's query.
  if (link.origin === location.origin) remember({ path: link.pathname, ms: 0, ...seen });
}

function remember(kept) {
  try {
    if (kept) sessionStorage.setItem(OPENED, JSON.stringify(kept));
    else sessionStorage.removeItem(OPENED);
  } catch {
    // Storage is refused or full: then no dwell is told.
  }
}

function remembered() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(OPENED));
    return kept?.path === location.pathname ? kept : null;
  } catch {
    return null;
  }
}

document.addEventListener("click", opened);
document.addEventListener("auxclick", opened);

const reading = remembered();
if (reading) {
  const { path, ms, ...seen } = reading;
  let total = ms;
  let since = document.hidden ? null : performance.now();
  const pause = () => {
    if (since === null) return;
    total = Math.min(total + performance.now() - since, 86_400_000);
    since = null;
    remember({ path, ms: total, ...seen });
    tell({ ...seen, dwell_ms: Math.round(total) });
  };
  const go = () => (since ??= performance.now());
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : go()));
  addEventListener("pagehide", pause);
  addEventListener("pageshow", () => document.hidden || go());
} else {
  remember(null);
}

async function follow(live) {
  if (document.hidden || live.contains(document.activeElement)) return live;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) return live;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-live]");
  if (fresh) live.replaceWith(fresh);
  return fresh ?? live;
}

let live = document.querySelector("[data-live][data-working]");
if (live) {
  const every = setInterval(async () => {
    live = await follow(live).catch(() => live);
    if (!live.hasAttribute("data-working")) clearInterval(every);
  }, 2000);
}
