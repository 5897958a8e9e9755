// Formulas: \(...\), \[...\] and $$...$$ are read verbatim, without Markdown, and shown as MathML. The library for it
// (Temml) is loaded when the first formula appears; until then, and if it reports an error, the TeX source is shown.

/** @typedef {import("../vendor/markdown-it.js").StateInline} StateInline */
/** @typedef {import("../vendor/markdown-it.js").StateBlock} StateBlock */

/** @type {Record<string, string>} */
const CLOSING = { "\\(": "\\)", "\\[": "\\]", $$: "$$" };

/**
 * @param {StateInline} state
 * @param {boolean} silent
 * @param {boolean} isOpen  whether the closing mark may still come
 */
export function readFormula(state, silent, isOpen) {
  const { src, pos, posMax } = state;
  const mark = src.slice(pos, pos + 2);
  const end = closingOf(src.slice(0, posMax), pos + 2, CLOSING[mark]);
  if (end === null || (end < 0 && !isOpen)) return false;
  const tex = end < 0 ? src.slice(pos + 2, posMax).replace(/[\\$]$/, "") : src.slice(pos + 2, end);
  // Delimiters around text without a letter or number are more often escaped brackets.
  const isEmpty = !/[\p{L}\p{N}]/u.test(tex);
  if (isEmpty && end >= 0) return false;
  if (!silent && !isEmpty) {
    const formula = state.push("formula", "span", 0);
    formula.content = tex;
    formula.attrs = [["class", mark === "\\(" ? "math" : "math display"]];
    formula.info = end < 0 ? "open" : "";
  }
  state.pos = end < 0 ? posMax : end + 2;
  return true;
}

/**
 * After a line that only opens a formula, the paragraph continues up to the closing mark, even over lines that would
 * otherwise be a heading or a list, but not over a blank line.
 * @param {StateBlock} state
 * @param {number} startLine
 * @param {number} endLine
 * @param {boolean} silent
 */
export function readFormulaLines(state, startLine, endLine, silent) {
  const mark = state.getLines(startLine, startLine + 1, 0, false).trim();
  const isOpening = (mark === "$$" || mark === "\\[") && state.sCount[startLine] - state.blkIndent < 4;
  if (!isOpening || silent) return isOpening;
  let line = startLine + 1;
  for (let isClosed = false; !isClosed && line < endLine; line++) {
    if (state.isEmpty(line) || state.sCount[line] < state.blkIndent) break;
    isClosed = (closingOf(state.getLines(line, line + 1, 0, false), 0, CLOSING[mark]) ?? -1) >= 0;
  }
  state.line = line;
  state.push("paragraph_open", "p", 1).map = [startLine, line];
  const inline = state.push("inline", "", 0);
  inline.content = state.getLines(startLine, line, state.blkIndent, false).trim();
  inline.map = [startLine, line];
  inline.children = [];
  state.push("paragraph_close", "p", -1);
  return true;
}

/**
 * The index of the closing mark, or -1; an escaped backslash before it is not part of it.
 * @param {string} text
 * @param {number} from
 * @param {string | undefined} closing
 */
function closingOf(text, from, closing) {
  if (!closing) return null;
  for (let at = text.indexOf(closing, from); at !== -1; at = text.indexOf(closing, at + 1)) {
    let escapes = 0;
    while (text[at - escapes - 1] === "\\" && at - escapes > from) escapes++;
    if (escapes % 2 === 0) return at;
  }
  return -1;
}

/** Whether the last paragraph contains a formula without its closing mark. @param {string} text */
export function isInFormula(text) {
  const last = text.split(/\n[ \t>]*\n/).at(-1) ?? "";
  return last.split("$$").length % 2 === 0 || last.lastIndexOf("\\[") > last.lastIndexOf("\\]");
}

/** The source and the shown state of each formula. @type {WeakMap<Element, { tex: string, shown: string }>} */
const known = new WeakMap();
/** Formulas waiting for the library. @type {Set<Element>} */
const waiting = new Set();
/** @type {typeof import("../vendor/temml.js").default | null} */
let temml = null;
let isLoading = false;
// Milliseconds after which the library, if it could not be loaded, is requested again.
const RETRY_AFTER = 3000;

// Very long formulas and recursive macros take too long.
const LONGEST = 5000;
const MOST_EXPANSIONS = 500;

/**
 * Updates a formula's element only if it has changed.
 * @param {Element} element
 * @param {string} tex
 * @param {boolean} isOpen  incomplete: only its source can be shown
 */
export function showFormula(element, tex, isOpen) {
  const before = known.get(element);
  if (!isOpen && before?.tex === tex && before.shown === element.textContent) return;
  waiting.delete(element);
  known.delete(element);
  if (element.childElementCount || element.textContent !== tex) element.textContent = tex;
  if (isOpen || tex.length > LONGEST) return;
  if (temml) return render(element);
  waiting.add(element);
  if (!isLoading) void load();
}

/**
 * Removes the line break that browsers copy after each formula, as if it were a block.
 * @param {ClipboardEvent} event
 */
function copyWithoutBreaks(event) {
  const selection = getSelection();
  const range = selection?.rangeCount ? selection.getRangeAt(0) : null;
  const fragment = range?.cloneContents();
  const sources = fragment?.querySelectorAll(".math:not(.display) > .tex") ?? [];
  if (!fragment || !sources.length || !event.clipboardData) return;
  let text = String(selection);
  for (const { textContent } of sources) text = text.replace(`${textContent}\n`, () => textContent ?? "");
  event.clipboardData.setData("text/plain", text);
  event.clipboardData.setData("text/html", new XMLSerializer().serializeToString(fragment));
  event.preventDefault();
}

async function load() {
  isLoading = true;
  document.addEventListener("copy", copyWithoutBreaks);
  try {
    ({ default: temml } = await import("../vendor/temml.js"));
  } catch {
    // The network may be back when the next formula is shown.
    setTimeout(() => (isLoading = false), RETRY_AFTER);
    return;
  }
  for (const element of waiting) render(element);
  waiting.clear();
}

/** @param {Element} element */
function render(element) {
  const tex = element.textContent ?? "";
  const isDisplayed = element.classList.contains("display");
  const shown = document.createElement("span");
  const source = document.createElement("span");
  try {
    temml?.render(tex, shown, { displayMode: isDisplayed, throwOnError: true, maxExpand: MOST_EXPANSIONS });
  } catch {
    return;
  }
  // The source is present at zero size, so that selecting and copying gives TeX.
  source.className = "tex";
  source.ariaHidden = "true";
  source.textContent = isDisplayed ? `\\[${tex}\\]` : `\\(${tex}\\)`;
  element.replaceChildren(source, ...shown.childNodes);
  known.set(element, { tex, shown: element.textContent ?? "" });
}
