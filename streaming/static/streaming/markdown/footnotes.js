// Footnotes: [^1] in the text becomes a button rather than a link, as a label is not a URL. `MarkdownView` handles it.

/** @typedef {import("./dialect.js").Env} Env */
/** @typedef {import("../vendor/markdown-it.js").StateInline} StateInline */

const REFERENCE = /\[(\^([^\s[\]]+))\]/y;

/**
 * @param {StateInline} state
 * @param {boolean} silent
 */
export function readNoteReference(state, silent) {
  const { env, md, src, pos, linkLevel } = state;
  const { references = {}, bracketed, noteLabel } = /** @type {Env} */ (env);
  REFERENCE.lastIndex = pos;
  const [text, name = "", label = ""] = REFERENCE.exec(src) ?? [];
  const key = md.utils.normalizeReference(name);
  // While streaming, a number is assumed to be a footnote whose definition comes at the end; a word stays as text.
  if (!text || linkLevel || !(bracketed || references[key])) return false;
  const isText = bracketed && (bracketed.has(key) || (!references[key] && /\D/.test(label) && bracketed.add(key)));
  if (isText) state.pending += silent ? "" : text;
  else if (!silent) {
    state.push("note", "sup", 1);
    state.push("note", "button", 1).attrs = [
      ["type", "button"],
      ["data-note", label],
      ...(noteLabel ? [/** @type {[string, string]} */ (["aria-label", `${noteLabel} ${label}`])] : []),
    ];
    state.push("text", "", 0).content = label;
    state.push("note", "", -1);
    state.push("note", "", -1);
  }
  state.pos += text.length;
  return true;
}
