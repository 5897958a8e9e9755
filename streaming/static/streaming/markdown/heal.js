// Shows half-typed Markdown as what it will most likely become, so that nothing flickers and nothing shown is taken
// back. It works on markdown-it's own delimiters, only in the last inline text of an open tail (`env.open`): what is
// finished looks exactly as without it.

/** @typedef {import("./dialect.js").Markdown} Markdown */
/** @typedef {import("../vendor/markdown-it.js").StateInline} StateInline */
/** @typedef {import("../vendor/markdown-it.js").Delimiter} Delimiter */

const ASTERISK = 0x2a;
/** A character of a script that writes no spaces between words. */
export const IDEOGRAPH = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u;

/** @param {Markdown} md */
export function heal(md) {
  md.core.ruler.before("inline", "open_inline", ({ env, tokens }) => {
    if (env.open) env.openInline = tokens.findLast(({ type, content }) => type === "inline" && content !== "");
  });
  md.inline.ruler.before("backticks", "open_code", openCode);
  md.inline.ruler.before("link", "open_link", (state, silent) => openLink(state, silent, md));
  md.inline.ruler2.after("balance_pairs", "open_pairs", closeOpenPairs);
}

/** @param {StateInline} state */
function isOpen({ env, tokens }) {
  const inline = /** @type {import("./dialect.js").Token | undefined} */ (env.openInline);
  return inline !== undefined && inline.children === tokens;
}

/**
 * `code without its closing backticks.
 * @param {StateInline} state
 * @param {boolean} silent
 */
function openCode(state, silent) {
  if (!isOpen(state)) return false;
  const text = state.src.slice(state.pos, state.posMax);
  const [ticks] = /^`+/.exec(text) ?? [];
  if (!ticks) return false;
  const code = text.slice(ticks.length);
  if (new RegExp(`(?<!\`)${ticks}(?!\`)`).test(code)) return false;
  if (!silent && code) state.push("code_inline", "code", 0).content = withoutLastTicks(code);
  state.pos = state.posMax;
  return true;
}

/**
 * The closing backticks may be coming one by one.
 * @param {string} code
 */
function withoutLastTicks(code) {
  let end = code.length;
  while (code[end - 1] === "`") end--;
  return end === code.length ? code : code.slice(0, end).trimEnd();
}

/**
 * [label](half a target. An image is not shown until it is complete, nor what may become a task's box or a definition.
 * @param {StateInline} state
 * @param {boolean} silent
 * @param {Markdown} md
 */
function openLink(state, silent, md) {
  if (!isOpen(state) || state.linkLevel) return false;
  const found = /^(!?)\[([^[\]]*)(?:\](?:\([^)]*)?)?$/.exec(state.src.slice(state.pos, state.posMax));
  if (!found) return false;
  const [text, image, label = ""] = found;
  if (text.endsWith("]") && state.env.references?.[md.utils.normalizeReference(label)]) return false;
  const isUndecided = state.pos === 0 && !text.includes("](");
  const { pos, posMax } = state;
  if (!silent && !image && !isUndecided) {
    state.push("link_open", "a", 1);
    state.linkLevel++;
    state.pos = pos + 1;
    state.posMax = state.pos + label.length;
    md.inline.tokenize(state);
    state.linkLevel--;
    state.push("link_close", "a", -1);
  }
  state.pos = state.posMax = posMax;
  return true;
}

/**
 * **bold, *emphasis and ~~strike without their closing marks: marks at the very end are not shown, for nobody knows
 * what they will be; those with text behind them get the mark that is missing.
 * @param {StateInline} state
 */
function closeOpenPairs(state) {
  if (!isOpen(state)) return;
  hideLastMarks(state);
  for (const delimiter of openDelimiters(state).reverse()) {
    const before = state.tokens[delimiter.token - 1]?.content ?? "";
    // 2*3 is more often a product than the beginning of emphasis.
    if (delimiter.marker === ASTERISK && /[\p{L}\p{N}]$/u.test(before) && !IDEOGRAPH.test(before.slice(-1))) continue;
    state.push("text", "", 0).content = state.tokens[delimiter.token]?.content ?? "";
    const closer = { marker: delimiter.marker, length: delimiter.length, token: state.tokens.length - 1, end: -1, open: false, close: true };
    delimiter.end = state.delimiters.push(closer) - 1;
  }
}

/** @param {StateInline} state */
function hideLastMarks({ delimiters, tokens }) {
  const end = tokens.at(-1);
  // One ~ is text to markdown-it until the second comes.
  if (end?.type === "text" && delimiters.at(-1)?.token !== tokens.length - 1) end.content = end.content.replace(/~$/, "");
  for (let n = delimiters.length - 1, last = tokens.length - 1; n >= 0; n--, last--) {
    const delimiter = delimiters[n];
    const token = delimiter && tokens[delimiter.token];
    if (!token || delimiter.token !== last || delimiter.end !== -1 || isCloser(delimiters, n)) return;
    token.content = "";
  }
}

/** Those that nothing closes, and that no closed pair holds. @param {StateInline} state */
function openDelimiters({ delimiters, tokens }) {
  let closed = -1;
  return delimiters.filter((delimiter, n) => {
    if (delimiter.end > n) closed = Math.max(closed, delimiter.end);
    return n > closed && delimiter.open && delimiter.end === -1 && tokens[delimiter.token]?.content && !isCloser(delimiters, n);
  });
}

/**
 * @param {Delimiter[]} delimiters
 * @param {number} n
 */
function isCloser(delimiters, n) {
  return delimiters.some(({ end }) => end === n);
}

// A last line that is only marks so far: it may become a heading, a list, a rule, a fence or a table, or text.
// No two neighbours here match the same character: a thousand spaces must not take a million steps.
const MARKS_ONLY = /(^|\n)[ \t>]*(?:\d+[.)][ \t]+)*(?:[-=+*_#`~|:][-=+*_#`~|: \t]*|\d+[.)]?[ \t]*)?$/;
// A link definition, which is never shown.
const DEFINITION = /((?:^|\n[ \t]*\n|\n {0,3}\[[^[\]\n]+\]:[^\n]*\n))(?: {0,3}\[[^[\]\n]+\]:[^\n]*)$/;
// The first line of what will be a table: the line above it, if there is one, is no row.
const TABLE_HEAD = /(?:^|(?:^|\n)(?![ \t]*\|)[^\n]*\n)(\|[^\n]*)(\n?)$/;
const BLANK_END = /\n[ \t]*\n[ \t]*$/;
const FENCE = /^[ \t>]*(?:(?:[-+*]|\d+[.)])[ \t]+)*(?:`{3,}|~{3,})/gm;

/**
 * What of an open tail to show, and whether its last inline text is open.
 * @param {string} tail
 * @returns {{ text: string, open: boolean }}
 */
export function presentable(tail) {
  const text = tail.replace(MARKS_ONLY, "$1").replace(DEFINITION, "$1");
  if (BLANK_END.test(text) || isInFence(text)) return { text, open: false };
  const [row, line = "", newline = ""] = TABLE_HEAD.exec(text) ?? [];
  if (row === undefined) return { text, open: true };
  const cells = Math.max(1, line.replace(/\|\s*$/, "").split("|").length - 1);
  const head = line.trimEnd().endsWith("|") ? line : `${line}|`;
  return { text: `${text.slice(0, text.length - line.length - newline.length)}${head}\n${"|-".repeat(cells)}|`, open: true };
}

/** Code is shown as it comes. @param {string} text */
function isInFence(text) {
  return (text.match(FENCE)?.length ?? 0) % 2 === 1;
}
