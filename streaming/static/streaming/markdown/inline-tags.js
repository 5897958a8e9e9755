// The supported HTML tags: <br>, <sub>, <sup> and <kbd>, without attributes. All other HTML is shown as text.

/** @typedef {import("../vendor/markdown-it.js").StateInline} StateInline */

const TAG = /<(?:(br)\s*\/?|(sub|sup|kbd))>/iy;

/**
 * @param {StateInline} state
 * @param {boolean} silent
 * @param {boolean} isOpen  whether the closing tag may still come
 */
export function readTag(state, silent, isOpen) {
  const { src, pos, posMax, md } = state;
  TAG.lastIndex = pos;
  const [tag, isBreak, name = "br"] = TAG.exec(src) ?? [];
  if (!tag) return false;
  const begin = pos + tag.length;
  const [inside, close = ""] = src.slice(begin, posMax).split(new RegExp(`(</${name}>)`, "i"), 2);
  if (!isBreak && !close && !isOpen) return false;
  state.pos = begin;
  // An incomplete tag is hidden, and its text is shown without it.
  if (silent || (!isBreak && !close)) return true;
  state.push("tag", name.toLowerCase(), isBreak ? 0 : 1);
  if (!isBreak) {
    state.posMax = begin + inside.length;
    md.inline.tokenize(state);
    state.push("tag", "", -1);
    state.posMax = posMax;
    state.pos += close.length;
  }
  return true;
}
