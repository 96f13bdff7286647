/* The questions of a case, and the answers that are ticked in them. */
const element = (name, attributes = {}, ...children) => {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...children);
  return made;
};

function choice(kind, name, value, label, key, hint = "") {
  const input = element("input", { type: kind, name, value: String(value) });
  const shown = element("kbd", { textContent: key.toUpperCase() });
  shown.setAttribute("aria-hidden", "true");
  return element("label", { className: "choice", title: hint }, input, element("span", { textContent: label }), shown);
}

function question(legend, choices, ends) {
  const set = element("fieldset", {}, element("legend", { textContent: legend }),
    element("div", { className: "choices" }, ...choices));
  if (ends) {
    set.className = "scale";
    set.append(element("div", { className: "ends" }, element("span", { textContent: `1 ${ends[0]}` }),
      element("span", { textContent: `${ends[1]} ${CONFIG.scale.at(-1)}` })));
  }
  return set;
}

function makeQuestions(form) {
  const scale = (name, shift) => CONFIG.scale.map((n) => choice("radio", name, n, n, String((n + shift) % 10)));
  const button = (id, label, key, main) => {
    const shown = element("kbd", { textContent: key });
    shown.setAttribute("aria-hidden", "true");
    return element("button", { id, type: main ? "submit" : "button", className: main ? "main" : "" }, label, shown);
  };
  form.append(
    question("Real or synthetic?", [choice("radio", "origin", "real", "Real", "r"),
      choice("radio", "origin", "synthetic", "Synthetic", "s")]),
    question("How sure are you?", scale("confidence", 0), CONFIG.confidence),
    question("Do the views belong together?", scale("consistency", 5), CONFIG.consistency),
    question("Artefacts, if you see any",
      CONFIG.artefacts.map((kind) => choice("checkbox", "artefacts", kind.name, kind.label, kind.key, kind.hint))),
    element("p", { id: "open", className: "error", role: "alert" }),
    element("div", { className: "nav" }, button("previous", "Previous", "P", false), button("next", "Next", "N", true)),
  );
}

const NUMBERS = ["confidence", "consistency"];

function readForm(form) {
  const data = new FormData(form), answer = { origin: data.get("origin") };
  for (const name of NUMBERS) answer[name] = data.get(name) ? Number(data.get(name)) : null;
  return { ...answer, artefacts: data.getAll("artefacts") };
}

function fillForm(form, answer = {}) {
  for (const input of form.querySelectorAll("input")) {
    const value = answer[input.name];
    input.checked = Array.isArray(value) ? value.includes(input.value) : String(value) === input.value;
  }
}

/* What a case still lacks, in words; empty when it is answered. */
function stillOpen(answer) {
  const words = { origin: "real or synthetic", confidence: "how sure you are", consistency: "whether the views match" };
  return Object.keys(words).filter((name) => !(answer && answer[name])).map((name) => words[name]);
}

/* The input that a key stands for, digits by their place, so that every keyboard layout has them. */
function inputOfKey(form, event) {
  const digit = /^(Digit|Numpad)(\d)$/.exec(event.code), key = event.key.toLowerCase();
  const find = (name, value) => form.querySelector(`input[name="${name}"][value="${value}"]`);
  if (digit) {
    const n = Number(digit[2]);
    return n >= 1 && n <= 5 ? find("confidence", n) : find("consistency", n === 0 ? 5 : n - 5);
  }
  const kind = CONFIG.artefacts.find((one) => one.key === key);
  if (kind) return find("artefacts", kind.name);
  return { r: find("origin", "real"), s: find("origin", "synthetic") }[key];
}
