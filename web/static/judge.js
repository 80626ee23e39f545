// Judging by keyboard, on the judge's page and beside hits: 0-3 grade the document in focus, and are saved at once.
// Without it the same forms go to the server one by one. What could not be saved stays marked, and can be sent again.

const desk = document.querySelector("[data-judging]");
const cards = [...document.querySelectorAll("[data-card]")];
const alarm = document.querySelector("[data-alert]");
const unsaved = new Map();
const saved = new Set();
let queue = Promise.resolve();

const formOf = (card) => card.querySelector("[data-grades]");
const pressed = (form) => form.querySelector("[aria-pressed=true]");

function typing(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

async function send(action, fields) {
  let answer;
  try {
    answer = await fetch(action, {
      method: "POST", headers: { Accept: "application/json" }, body: new URLSearchParams(fields),
    });
  } catch {
    throw Object.assign(new Error("the daemon does not answer"), { status: 0 });
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(said.detail ?? answer.statusText), { status: answer.status });
  return said;
}

function show(form, grade) {
  for (const button of form.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.value === grade));
  if (!desk) return;
  const done = cards.filter((card) => pressed(formOf(card))).length;
  desk.querySelector("[data-here]").textContent = done;
  desk.querySelector("[data-bar]").value = done;
  desk.querySelector("[data-judged]").textContent = (Number(desk.dataset.others) + (done ? 1 : 0)).toLocaleString("en");
}

function say(words) {
  const said = desk?.querySelector("[data-said]");
  if (said) said.textContent = words;
}

function complain(error) {
  for (const card of cards) card.classList.toggle("unsaved", unsaved.has(formOf(card)));
  alarm.hidden = !error;
  if (!error) return;
  const count = unsaved.size;
  alarm.textContent = `${count ? `${count} grade${count > 1 ? "s are" : " is"} not saved` : "That did not work"}: ${error.message}. `;
  if (error.status === 401) {
    const link = Object.assign(document.createElement("a"), { href: "/sign-in", target: "_blank", textContent: "Sign in" });
    alarm.append(link, " ");
  }
  if (!count) return;
  const again = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: "Send again" });
  again.addEventListener("click", () => [...unsaved].forEach(([form, grade]) => save(form, grade)));
  alarm.append(again);
}

// One after the other, so that "the last grade" is the one that was given last.
function save(form, grade) {
  show(form, grade);
  const fields = [...new FormData(form), ["grade", grade]];
  queue = queue.then(async () => {
    try {
      await send(form.action, fields);
      unsaved.delete(form);
      complain(unsaved.size ? new Error("send them again") : null);
    } catch (error) {
      unsaved.set(form, grade);
      complain(error);
    }
  });
}

function focusOn(card) {
  card?.focus({ preventScroll: true });
  card?.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const now = cards.indexOf(document.activeElement?.closest?.("[data-card]"));
  focusOn(cards[now < 0 ? 0 : Math.min(Math.max(now + by, 0), cards.length - 1)]);
}

function goOn(card) {
  const now = cards.indexOf(card);
  const next = [...cards.slice(now + 1), ...cards.slice(0, now)].find((one) => !pressed(formOf(one)));
  if (next) return focusOn(next);
  desk.querySelector("[data-next]").focus();
  say("Every document here has a grade. Press n for the next query.");
}

// Leaving waits for what is being saved; what is not saved keeps the page.
async function leave(go) {
  await queue;
  if (!unsaved.size) setTimeout(go); // a form that is still being submitted cannot be submitted again
}

function undo(form) {
  queue = queue.then(async () => {
    const last = [...unsaved.keys()].pop();
    if (last) {
      unsaved.delete(last);
      show(last, null);
      complain(unsaved.size ? new Error("send them again") : null);
      return focusOn(last.closest("[data-card]"));
    }
    try {
      const said = await send(form.action, new FormData(form));
      if (!said.document) return say("There is no grade of yours in this set to take back.");
      const card = said.query === desk.dataset.query && cards.find((one) => one.dataset.document === said.document);
      if (!card) return location.assign(said.href);
      complain(null);
      show(formOf(card), said.grade === null ? null : String(said.grade));
      focusOn(card);
      say(said.grade === null ? "The grade was taken back." : "The grade was taken back; the one before it is there again.");
    } catch (error) {
      complain(error);
    }
  });
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("[data-grades]")) {
    event.preventDefault();
    save(form, event.submitter.value);
  } else if (form.matches("[data-undo]")) {
    event.preventDefault();
    undo(form);
  } else if (form.matches("[data-skip]") && !saved.delete(form)) {
    event.preventDefault();
    leave(() => {
      saved.add(form);
      form.requestSubmit(form.querySelector("button"));
    });
  }
});

const next = desk?.querySelector("[data-next]");
next?.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  leave(() => location.assign(next.href));
});

const keys = desk?.querySelector("[data-judge-keys]");
const OF_DESK = {
  j: () => step(1),
  ArrowDown: () => step(1),
  k: () => step(-1),
  ArrowUp: () => step(-1),
  u: () => undo(desk.querySelector("[data-undo]")),
  s: () => desk.querySelector("[data-skip]").requestSubmit(),
  n: () => next.click(),
  o: () => document.activeElement?.closest?.("[data-card]")?.querySelector("[data-open]").click(),
  "?": () => (keys.hidden = !keys.hidden),
};

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const card = document.activeElement?.closest?.("[data-card]");
  if (/^[0-3]$/.test(event.key) && card && formOf(card)) {
    event.preventDefault();
    save(formOf(card), event.key);
    if (desk) goOn(card);
  } else if (desk && Object.hasOwn(OF_DESK, event.key)) {
    event.preventDefault();
    OF_DESK[event.key]();
  }
});

addEventListener("beforeunload", (event) => {
  if (unsaved.size) event.preventDefault();
});

if (desk) {
  keys.hidden = false;
  const first = cards.find((card) => !pressed(formOf(card)));
  if (!location.hash || location.hash === "#pool") first?.focus({ preventScroll: !location.hash });
}
