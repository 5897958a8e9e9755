// Footnotes: [^1] in the text is a button, not a link: a label is no address. `MarkdownView` answers it.

/** @typedef {import("./dialect.js").Env} Env */
/** @typedef {import("../vendor/markdown-it.js").StateInline} StateInline */

const REFERENCE = /\[(\^([^\s[\]]+))\]/y;

/**
 * @param {StateInline} state
 * @param {boolean} silent
 */
export function readNoteReference(state, silent) {
  const { env, md, src, pos, linkLevel } = state;
  const { references = {}, bracketed } = /** @type {Env} */ (env);
  REFERENCE.lastIndex = pos;
  const [text, name = "", label = ""] = REFERENCE.exec(src) ?? [];
  const key = md.utils.normalizeReference(name);
  // While text comes, a number is taken for a note, whose definition stands at the end; a word is not, and stays.
  if (!text || linkLevel || !(bracketed || references[key])) return false;
  const isText = bracketed && (bracketed.has(key) || (!references[key] && /\D/.test(label) && bracketed.add(key)));
  if (isText) state.pending += silent ? "" : text;
  else if (!silent) {
    state.push("note", "sup", 1);
    state.push("note", "button", 1).attrs = [
      ["type", "button"],
      ["data-note", label],
    ];
    state.push("text", "", 0).content = label;
    state.push("note", "", -1);
    state.push("note", "", -1);
  }
  state.pos += text.length;
  return true;
}
