/* The session: where the reader is, what was answered, and how it is kept and handed over. */
const byId = (id) => document.getElementById(id);
const content = (id) => byId(id).textContent;
const CONFIG = JSON.parse(content("config"));
const IMAGES = content("images").split("\n");
const OF_IMAGES = sha256(content("images"));
const PAGE = sha256([content("style"), content("script"), content("config"), OF_IMAGES].join("\n"));
const STORE = `mammorgb-reader-${CONFIG.study}-${PAGE.slice(0, 8)}`;
const FORMAT = "mammorgb-reader-result/1";
const N = CONFIG.cases.length;
const fresh = () => ({ reader: "", at: 0, furthest: 0, answers: {}, keys: true });
let state = fresh(), since = null;

const shared = {
  ...CONFIG.window, dragMoves: false,
  change(centre, width) {
    shared.centre = Math.max(0, Math.min(100, centre));
    shared.width = Math.max(5, Math.min(150, width));
    showWindow();
  },
  zoomed(zoom) { byId("zoom").value = Math.round(10 * zoom); },
};
const views = ["cc", "mlo"].map((id) => new View(byId(id), CONFIG.height, CONFIG.width, shared));
const form = byId("questions");

function showWindow() {
  byId("centre").value = 100 - shared.centre;
  byId("width").value = 155 - shared.width;
  views.forEach((view) => view.window());
}

function resetViews() {
  Object.assign(shared, CONFIG.window);
  showWindow();
  views.forEach((view) => view.reset());
  shared.zoomed(1);
}

function alarm(text) {
  byId("alert").hidden = !text;
  byId("alert").textContent = text;
}

function keep() {
  try {
    localStorage.setItem(STORE, JSON.stringify(state));
  } catch {
    alarm("This browser keeps no progress for this page. Don't close it before the end, or save your answers " +
      "so far from the instructions.");
  }
}

function recall() {
  try {
    state = { ...fresh(), ...JSON.parse(localStorage.getItem(STORE) || "{}") };
  } catch {
    state = fresh();
  }
}

const done = () => CONFIG.cases.filter((name) => !stillOpen(state.answers[name]).length).length;

function show(section) {
  for (const id of ["start", "reading", "finish"]) byId(id).hidden = id !== section;
  byId("where").hidden = section === "start";
  byId("bar").value = done();
  document.body.classList.toggle("no-keys", !state.keys);
  window.scrollTo(0, 0);
  byId("title").focus({ preventScroll: true });
}

function showStart() {
  countTime();
  byId("title").textContent = "Reader study";
  byId("reader").value = state.reader;
  byId("reader").readOnly = Boolean(state.reader);
  byId("keys").checked = state.keys;
  byId("go").textContent = state.reader ? `Continue (${done()} of ${N} answered)` : "Begin";
  byId("save-part").disabled = byId("clear").disabled = !state.reader;
  show("start");
}

function showCase() {
  const name = CONFIG.cases[state.at], side = CONFIG.height * CONFIG.width;
  const bytes = Uint8Array.from(atob(IMAGES[state.at]), (character) => character.charCodeAt(0));
  byId("title").textContent = `Case ${state.at + 1} of ${N}`;
  byId("open").textContent = "";
  byId("previous").disabled = state.at === 0 || state.at < state.furthest;
  byId("next").firstChild.textContent = state.at === N - 1 ? "Finish" : "Next";
  fillForm(form, state.answers[name]);
  show("reading");
  views.forEach((view, i) => view.show(bytes.subarray(i * side, (i + 1) * side)));
  resetViews();
  byId("live").textContent = `Case ${state.at + 1} of ${N}`;
  since = Date.now();
}

/* Seconds that a case was on the screen, with pauses cut at five minutes. */
function countTime() {
  const answer = state.answers[CONFIG.cases[state.at]];
  if (since && answer) answer.seconds = (answer.seconds || 0) + Math.round(Math.min(Date.now() - since, 300000) / 1000);
  since = null;
}

function answered() {
  const name = CONFIG.cases[state.at], seconds = (state.answers[name] || {}).seconds || 0;
  state.answers[name] = { ...readForm(form), seconds };
  keep();
  byId("bar").value = done();
}

function go(step) {
  answered();
  const missing = step > 0 ? stillOpen(state.answers[CONFIG.cases[state.at]]) : [];
  byId("open").textContent = missing.length ? `Still to be answered: ${missing.join(", ")}.` : "";
  if (missing.length) return;
  countTime();
  state.at += step;
  state.furthest = Math.max(state.furthest, state.at);
  keep();
  if (state.at < N) showCase();
  else showFinish();
}

/* The same with the keys of every object sorted, so that a digest doesn't depend on their order. */
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}

const digestOf = (value) => sha256(JSON.stringify(sorted(value)));

function result() {
  const answers = CONFIG.cases.filter((name) => !stillOpen(state.answers[name]).length).map((name) => {
    const { origin, confidence, consistency, artefacts, seconds } = state.answers[name];
    return { case: name, origin, confidence, consistency, artefacts, seconds };
  });
  const whole = { format: FORMAT, study: CONFIG.study, page: PAGE, reader: state.reader, simulated: false, answers };
  return JSON.stringify({ ...whole, digest: digestOf(whole) });
}

function offer(link, text) {
  if (link.href.startsWith("blob:")) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = `reader_${state.reader}_${CONFIG.study}.json`;
}

function showFinish() {
  const text = result();
  byId("title").textContent = "Reader study";
  byId("text").value = text;
  byId("copied").textContent = "";
  offer(byId("download"), text);
  show("finish");
}

/* Take over answers that were saved on another device; they must be of this very page and unchanged. */
function load(text) {
  const { digest, ...whole } = JSON.parse(text);
  if (whole.format !== FORMAT || whole.page !== PAGE) throw new Error("It belongs to another page.");
  if (digest !== digestOf(whole)) throw new Error("It was edited after it was saved.");
  state = { ...fresh(), reader: whole.reader, keys: state.keys };
  for (const { case: name, ...answer } of whole.answers) state.answers[name] = answer;
  const next = CONFIG.cases.findIndex((name) => stillOpen(state.answers[name]).length);
  state.at = state.furthest = next < 0 ? N : next;
  keep();
}

function start(event) {
  event.preventDefault();
  const reader = byId("reader").value.trim(), valid = /^[A-Za-z0-9][A-Za-z0-9_-]{0,23}$/.test(reader);
  byId("reader-error").textContent = valid ? "" : "Type a name of letters, digits, - and _, such as R1.";
  if (!valid) return byId("reader").focus();
  state.reader = reader;
  state.keys = byId("keys").checked;
  keep();
  return state.at < N ? showCase() : showFinish();
}

function pressed(event) {
  const typing = event.target.matches("input:not([type]), textarea, input[type=range]");
  if (!state.keys || byId("reading").hidden || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase(), input = inputOfKey(form, event);
  const zoom = { "+": 1.25, "=": 1.25, "-": 0.8 }[key];
  if (input) {
    input.checked = input.type === "radio" || !input.checked;
    answered();
  } else if (key === "n") go(1);
  else if (key === "p" && !byId("previous").disabled) go(-1);
  else if (key === "x") resetViews();
  else if (zoom) views.forEach((view) => view.zoomBy(zoom));
  else return;
  event.preventDefault();
}

function listen() {
  byId("begin").addEventListener("submit", start);
  byId("to-start").addEventListener("click", showStart);
  form.addEventListener("change", answered);
  form.addEventListener("submit", (event) => { event.preventDefault(); go(1); });
  byId("previous").addEventListener("click", () => go(-1));
  byId("back").addEventListener("click", () => { state.at = N - 1; showCase(); });
  byId("reset").addEventListener("click", resetViews);
  byId("centre").addEventListener("input", () => shared.change(100 - byId("centre").value, shared.width));
  byId("width").addEventListener("input", () => shared.change(shared.centre, 155 - byId("width").value));
  byId("zoom").addEventListener("input", () => {
    const zoom = byId("zoom").value / 10;
    views.forEach((view) => view.zoomBy(zoom / view.zoom));
  });
  byId("drag").addEventListener("click", () => {
    shared.dragMoves = !shared.dragMoves;
    byId("drag").setAttribute("aria-pressed", String(shared.dragMoves));
  });
  document.addEventListener("keydown", pressed);
  document.addEventListener("visibilitychange", () => {
    if (byId("reading").hidden) return;
    if (document.hidden) countTime();
    else since = Date.now();
    keep();
  });
  listenToFiles();
}

function listenToFiles() {
  byId("copy").addEventListener("click", async () => {
    byId("text").select();
    const copied = await navigator.clipboard?.writeText(byId("text").value).then(() => true, () => false);
    byId("copied").textContent = copied || document.execCommand("copy") ? "Copied." : "Select the text and copy it.";
  });
  byId("save-part").addEventListener("click", () => {
    const link = element("a");
    offer(link, result());
    link.click();
  });
  byId("load").addEventListener("change", async (event) => {
    try {
      load(await event.target.files[0].text());
      alarm("");
      showStart();
    } catch (error) {
      alarm(`These answers can't be used. ${error instanceof SyntaxError ? "The file isn't one of this page." : error.message}`);
    }
  });
  byId("clear").addEventListener("click", () => {
    if (!window.confirm("Remove all answers of this study from this device?")) return;
    state = fresh();
    keep();
    showStart();
  });
}

makeQuestions(form);
listen();
recall();
if (!OF_IMAGES.startsWith(CONFIG.study)) {
  alarm("This page is damaged: its images aren't those it was built with. Ask for a new copy.");
  byId("go").disabled = true;
}
showStart();
